"""References to studies, series, instances and frames: how people write them, and their paths (PS3.18 10.1.1).

A UID is an opaque, untrusted string: it is percent-encoded into a path, never checked and never a path itself.
Where it is typed, `/` separates study, series and instance; a `/` or `%` within a UID is written `%2F` or `%25`.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from dwcli.dicomweb import tags
from dwcli.dicomweb.dicomjson import text
from dwcli.errors import UsageError

STUDY_UID = tags.StudyInstanceUID
SERIES_UID = tags.SeriesInstanceUID
INSTANCE_UID = tags.SOPInstanceUID


class Level(StrEnum):
    """A level of the query/retrieve information model."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"

    @property
    def resource(self) -> str:
        """The path segment of PS3.18: studies, series or instances."""
        return {"study": "studies", "series": "series", "instance": "instances"}[self]

    @property
    def uid_tag(self) -> str:
        """The tag of the UID that identifies an object of this level."""
        return {"study": STUDY_UID, "series": SERIES_UID, "instance": INSTANCE_UID}[self]


class StudyRef(NamedTuple):
    """One study."""

    study: str

    @property
    def series(self) -> str:
        """Empty: it stands for all of them."""
        return ""

    @property
    def instance(self) -> str:
        """Empty: it stands for all of them."""
        return ""

    @property
    def level(self) -> Level:
        """What it is."""
        return Level.STUDY

    @property
    def known(self) -> bool:
        """Whether the path can be built; where not, a search finds the UIDs above."""
        return bool(self.study)


class SeriesRef(NamedTuple):
    """One series; `study` is empty where only the series' own UID is known."""

    study: str
    series: str

    @property
    def instance(self) -> str:
        """Empty: it stands for all of them."""
        return ""

    @property
    def level(self) -> Level:
        """What it is."""
        return Level.SERIES

    @property
    def known(self) -> bool:
        """Whether the path can be built; where not, a search finds the UIDs above."""
        return bool(self.study)


class InstanceRef(NamedTuple):
    """One instance; `study` and `series` are empty where only its own UID is known."""

    study: str
    series: str
    instance: str

    @property
    def level(self) -> Level:
        """What it is."""
        return Level.INSTANCE

    @property
    def known(self) -> bool:
        """Whether the path can be built; where not, a search finds the UIDs above."""
        return bool(self.study and self.series)


class FrameRef(NamedTuple):
    """Frames of one instance, numbered from 1."""

    instance: InstanceRef
    frames: tuple[int, ...]


Ref = StudyRef | SeriesRef | InstanceRef

_LEVELS = (Level.STUDY, Level.SERIES, Level.INSTANCE)
_WORDS = {
    "study": Level.STUDY,
    "studies": Level.STUDY,
    "series": Level.SERIES,
    "instance": Level.INSTANCE,
    "instances": Level.INSTANCE,
}


def parse_level(word: str) -> Level | None:
    """The level that a word names (`study`, `studies`, `series`, …), None where it names none."""
    return _WORDS.get(word.lower())


def segment(uid: str) -> str:
    """A UID as one path segment, percent-encoded. Raises UsageError for `.` and `..`, which servers walk even so."""
    if uid in (".", ".."):
        raise UsageError(
            f"a UID of {uid} cannot be requested: servers treat it as a folder",
            "search for its series or instances instead",
        )
    # What is no text at all (half a surrogate pair) becomes a question mark, which names nothing.
    return quote(uid, safe="", errors="replace")


def is_segment(uid: str) -> bool:
    """Whether every server takes a UID in a path for one segment: many decode `%2F` before they look."""
    return "/" not in uid and uid not in (".", "..")


def word(uid: str) -> str:
    """A UID as it is typed in a reference: one shell word in which `/` and `%` are escaped."""
    return "".join(
        quote(c, safe="", errors="replace") if c in "%/" or c.isspace() or not c.isprintable() else c for c in uid
    )


def path(ref: Ref | FrameRef) -> str:
    """The resource path below the service's base URL, without a leading slash (PS3.18 table 10.1-1)."""
    match ref:
        case StudyRef(study):
            return f"studies/{segment(study)}"
        case SeriesRef(study, series):
            return f"studies/{segment(study)}/series/{segment(series)}"
        case InstanceRef(study, series, instance):
            return f"studies/{segment(study)}/series/{segment(series)}/instances/{segment(instance)}"
        case FrameRef(instance, frames):
            return f"{path(instance)}/frames/{','.join(map(str, frames))}"


def covers(ref: Ref, instance: InstanceRef) -> bool:
    """Whether an instance is meant by a reference: one by its own UID, others by their series and study.

    What the reference leaves empty may be any.
    """
    if ref.instance:
        return instance.instance == ref.instance
    return ref.study in ("", instance.study) and ref.series in ("", instance.series)


def own_path(ref: Ref) -> str:
    """The path by the object's own UID alone, for servers that have such (no part of PS3.18)."""
    match ref:
        case StudyRef():
            return path(ref)
        case SeriesRef(_, series):
            return f"studies/series/{segment(series)}"
        case InstanceRef(_, _, instance):
            return f"studies/series/instances/{segment(instance)}"


def show(ref: Ref) -> str:
    """A reference as it can be typed again."""
    return "/".join(word(uid) for uid in (ref.study, ref.series, ref.instance) if uid)


def make(study: str, series: str = "", instance: str = "") -> Ref:
    """The reference of the deepest UID that is given."""
    if instance:
        return InstanceRef(study, series, instance)
    return SeriesRef(study, series) if series else StudyRef(study)


def parse(typed: str, level: Level | None = None) -> Ref:
    """Read a reference in any form that CLI users write (a UID, a UID path, a DICOMweb path, a RetrieveURL).

    `level` is the level word, where one was typed. Raises UsageError when the two disagree.
    """
    given = typed.strip()
    if not given:
        raise UsageError("the reference is empty", "give a UID, STUDY/SERIES/INSTANCE or a RetrieveURL")
    if "://" in given and not origin(given):
        raise UsageError(f"not an HTTP URL: {given}", "a RetrieveURL begins with http:// or https://")
    uids = _dicomweb_path(given)
    if uids is None:
        if origin(given):
            raise UsageError(f"no study in this URL: {given}", "a RetrieveURL contains …/studies/UID")
        uids = [unquote(part) for part in given.split("/")]
        if len(uids) == 1 and level in (Level.SERIES, Level.INSTANCE):
            uids = [""] * _LEVELS.index(level) + uids
        elif len(uids) > 3 or not all(uids):
            raise UsageError(
                f"not a reference: {given}",
                "write STUDY, STUDY/SERIES or STUDY/SERIES/INSTANCE; a slash within a UID is written %2F",
            )
    own = _LEVELS[len(uids) - 1]
    if level is not None and own is not level:
        raise UsageError(
            f"{given} names {_article(own)}, not {_article(level)}",
            f"say `{own}`, or omit the level",
        )
    return make(*uids)


def _dicomweb_path(given: str) -> list[str] | None:
    """The UIDs in `[https://host/base/]studies/S[/series/E[/instances/I]][/…]`, None where it is not such a path.

    Raises UsageError where the path goes on in a way that is not understood: it would name a level too high.
    """
    raw = urlsplit(given).path if origin(given) else given
    parts = [part for part in raw.split("/") if part]
    if "studies" not in parts[:-1]:
        return None
    # The last `studies` counts: a base URL may hold the word too.
    at = len(parts) - 1 - parts[::-1].index("studies")
    if at == len(parts) - 1:
        return None
    parts = parts[at:]
    uids: list[str] = []
    for name, uid in zip(parts[::2], parts[1::2], strict=False):
        if len(uids) >= 3 or name != _LEVELS[len(uids)].resource:
            break
        uids.append(unquote(uid))
    if len(uids) < 3 and len(parts) > 2 * len(uids) + 1:
        raise UsageError(
            f"not a DICOMweb path: {given}", "write studies/STUDY, …/series/SERIES and …/instances/INSTANCE after it"
        )
    return uids


def origin(given: str) -> str:
    """`scheme://host[:port]` of a URL in lower case, empty where the text is no http URL; never a login in it."""
    try:
        split = urlsplit(given)
        host, port = split.hostname, split.port
    except ValueError:
        return ""
    if split.scheme not in ("http", "https") or not host:
        return ""
    named = f"[{host}]" if ":" in host else host
    shown = f":{port}" if port is not None and port != {"http": 80, "https": 443}[split.scheme] else ""
    return f"{split.scheme}://{named}{shown}"


def home(given: str) -> str:
    """The base address that a URL, or a path before `studies/`, names; empty where it is a reference alone."""
    start = origin(given)
    parts = [part for part in (urlsplit(given).path if start else given).split("/") if part]
    if "studies" not in parts[:-1]:
        return start
    above = parts[: len(parts) - 1 - parts[::-1].index("studies")]
    return "/".join([start, *above]) if start or given.startswith("/") else "/".join(above)


def is_at(address: str, base: str) -> bool:
    """Whether an address, as `home` gives it, is that of the server at `base`, as far as it says."""
    if not address:
        return True
    parts = [unquote(part) for part in urlsplit(base).path.split("/") if part]
    start = origin(address)
    if start:
        own = [unquote(part) for part in urlsplit(address).path.split("/") if part]
        return start == origin(base) and own == parts
    named = [unquote(part) for part in address.split("/") if part]
    # A path alone may begin with the host.
    return named == parts or (not address.startswith("/") and named == [origin(base).partition("://")[2], *parts])


def row_homes(row: Mapping[str, Any]) -> list[str]:
    """The base addresses in the RetrieveURL (0008,1190) of a DICOM JSON object or a `flat` one."""
    element = row.get(tags.RetrieveURL, row.get("RetrieveURL"))
    named = element.get("Value") if isinstance(element, Mapping) else element
    named = named if isinstance(named, list) else [named]
    return [home(url.strip()) for url in named if isinstance(url, str) and url.strip()]


def uid_row(tag: str, uid: str) -> dict[str, Any]:
    """A DICOM JSON object of one UID; an empty one where there is none."""
    return {tag: {"vr": "UI", "Value": [uid]}} if uid else {}


def from_row(row: Mapping[str, Any], level: Level | None = None) -> Ref:
    """The reference in a DICOM JSON object or a `flat` one; `level` cuts it there. Raises UsageError without UIDs."""
    keywords = {
        STUDY_UID: "StudyInstanceUID",
        SERIES_UID: "SeriesInstanceUID",
        INSTANCE_UID: "SOPInstanceUID",
    }
    uids = [text(dict(row), tag) or str(row.get(keyword) or "") for tag, keyword in keywords.items()]
    depth = _LEVELS.index(level) + 1 if level else 3
    uids = uids[:depth]
    while uids and not uids[-1]:
        uids.pop()
    if not uids or (level and len(uids) < depth):
        raise UsageError(f"a row without a {level or 'study'}'s UID", "search with -f jsonl, or -f uids")
    return make(*uids)


def parse_frames(typed: str) -> tuple[int, ...]:
    """`1,3-5` as (1, 3, 4, 5): ascending, each once, from 1. Raises UsageError."""
    frames: set[int] = set()
    for part in typed.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise UsageError(f"not a list of frames: {typed}", "write 1 or 1,3-5; the first frame is 1")
        low, high = int(first), int(last) if dash else int(first)
        if not 1 <= low <= high or high - low > 1_000_000:
            raise UsageError(f"not a range of frames: {part}", "frames are numbered from 1 upwards")
        frames.update(range(low, high + 1))
    return tuple(sorted(frames))


def _article(level: Level) -> str:
    return f"an {level}" if level is Level.INSTANCE else f"a {level}"
