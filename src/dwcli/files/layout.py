"""Names for retrieved files: a template of DICOM keywords -> a safe relative path."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from dwcli.dicomweb import dictionary, tags
from dwcli.errors import UsageError

DEFAULT = "{StudyInstanceUID}/{SeriesInstanceUID}/{SOPInstanceUID}.dcm"
OWN_PREFIX = ".dw-"
"""How the names of `dw`'s own files in a folder begin (drafts, locks, index); no layout makes such a name."""

_UID = re.compile(r"[0-9][0-9.]{0,62}[0-9]")
_EXAMPLE = '--layout "{PatientID}/{StudyDate}/{SOPInstanceUID}.dcm"'
_UIDS = {
    "StudyInstanceUID": tags.StudyInstanceUID,
    "SeriesInstanceUID": tags.SeriesInstanceUID,
    "SOPInstanceUID": tags.SOPInstanceUID,
}
_EMPTY = "_empty_"
_LONGEST = 200
_PLAIN = r"[0-9A-Za-z._ ^+=,@-]*"
_FIELD = re.compile(r"\{([^{}/]*)\}")
_RESERVED = r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\.|$)"
_TEXT_VRS = frozenset(
    {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
)


class _Field(NamedTuple):
    keyword: str


_Tokens = tuple[str | _Field, ...]


class _Segment(NamedTuple):
    """One folder or file name. `only`: the keyword of one that is just a field and `ending`; empty for others."""

    tokens: _Tokens
    only: str
    ending: str


class Layout:
    """How the files in an output folder are named.

    `template` has DICOM keywords of the top level in braces and `/` between folders; `{SOPInstanceUID}` must
    be among them, else two instances would get one name. `keywords` maps each keyword used to its tag
    (`"00100020"`). Raises UsageError for a template that names an unknown or unfit keyword, or could leave
    the folder.
    """

    def __init__(self, template: str = DEFAULT) -> None:
        self.template = template
        keywords: dict[str, str] = {}
        segments = [_segment(tuple(_tokens(text, keywords))) for text in _split(template)]
        if "SOPInstanceUID" not in keywords:
            raise UsageError(
                f"the layout {self.template!r} has no {{SOPInstanceUID}}: files would overwrite each other",
                hint=_EXAMPLE,
            )
        self.keywords: Mapping[str, str] = keywords
        self._segments = segments

    def relative(self, values: Mapping[str, str]) -> str:
        """The path below the output folder, with `/`, for instance values by keyword; an absent one counts as empty.

        Every value becomes (part of) one path segment of at most 200 bytes of UTF-8: it never holds a
        separator, is never `.` or `..`, and works on Windows too. Different UIDs give different names.
        """
        names = []
        for segment in self._segments:
            uid = values.get(segment.only, "")
            # Nearly always it is a UID, and nothing of that needs an escape.
            names.append(uid + segment.ending if _UID.fullmatch(uid) else _name(segment.tokens, values))
        return "/".join(names)


def uids(study: str, series: str, instance: str) -> dict[str, str]:
    """The three UIDs as the values that every layout can take."""
    return {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": instance}


def unescape(name: str) -> str | None:
    """The value that one path segment was made of; None where the name was cut for its length."""
    if "~" in name:
        return None
    if name == _EMPTY:
        return ""
    return unquote_to_bytes(name).decode("utf-8", "surrogatepass") if "%" in name else name


def _split(template: str) -> list[str]:
    if template.startswith("/") or re.match(r"[A-Za-z]:", template):
        raise UsageError(f"the layout {template!r} is an absolute path", hint=f"-o DIR {_EXAMPLE}")
    texts = template.split("/")
    for text in texts:
        if text in ("", ".", ".."):
            raise UsageError(f"the layout {template!r} has an empty, '.' or '..' folder name", hint=_EXAMPLE)
        if text[0] in ".~- " or text[-1] in ". ":
            raise UsageError(
                f"in the layout {template!r}, {text!r} begins or ends with a character that is unsafe there",
                hint=_EXAMPLE,
            )
    return texts


def _tokens(text: str, keywords: dict[str, str]) -> Iterator[str | _Field]:
    for index, piece in enumerate(_FIELD.split(text)):
        if index % 2 == 0:
            if piece and _escape(piece) != piece:
                raise UsageError(
                    f"{piece!r} in the layout can't be part of a file name on every system",
                    hint=_EXAMPLE,
                )
            if piece:
                yield piece
            continue
        keyword = piece
        if piece in _UIDS:  # spares most runs the dictionary
            keywords[piece] = _UIDS[piece]
        else:
            tag = dictionary.parse_tag(piece)
            keyword = dictionary.keyword(tag)
            if not keyword or dictionary.vr(tag) not in _TEXT_VRS or tag.startswith("0002"):
                raise UsageError(f"{{{piece}}} can't be part of a file name", hint=_EXAMPLE)
            keywords[keyword] = tag
        yield _Field(keyword)


def _segment(tokens: _Tokens) -> _Segment:
    match tokens:
        case (_Field(keyword), *rest) if rest in ([], [".dcm"]):
            return _Segment(tokens, keyword, "".join(rest))  # type: ignore[arg-type]  # rest holds texts alone
    return _Segment(tokens, "", "")


def _name(tokens: _Tokens, values: Mapping[str, str]) -> str:
    text = "".join(
        token if isinstance(token, str) else _escape(values.get(token.keyword, "")) or _EMPTY for token in tokens
    )
    # What a shell, a program's options, Windows or a directory listing would read as something else.
    if text[0] in ".~- " or re.match(_RESERVED, text, flags=re.IGNORECASE):
        text = f"%{ord(text[0]):02X}{text[1:]}"
    if text[-1] in ". ":
        text = f"{text[:-1]}%{ord(text[-1]):02X}"
    raw = text.encode()
    if len(raw) <= _LONGEST:
        return text
    last = tokens[-1]
    ending = last if isinstance(last, str) and len(last.encode()) <= 20 else ""
    from hashlib import sha256

    # "~" is never left in a value, so a cut name can't be mistaken for a whole one.
    ending = f"~{sha256(raw).hexdigest()[:24]}{ending}"
    return raw[: _LONGEST - len(ending.encode())].decode(errors="ignore") + ending


def _escape(value: str) -> str:
    if re.fullmatch(_PLAIN, value):
        return value if value != _EMPTY else f"%{ord(value[0]):02X}{value[1:]}"
    return "".join(
        char
        if re.fullmatch(_PLAIN, char) or (char > "\x7f" and unicodedata.category(char)[0] in "LMN")
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in unicodedata.normalize("NFC", value)
    )
