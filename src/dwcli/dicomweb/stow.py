"""The store response (PS3.18 section 10.5.3 and annex I.2): the outcome of every instance that was sent.

The body decides, not the status: a 200 may hide failures and a 409 may list successes. What the response does
not name is `Unknown`.
"""

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from dwcli.dicomweb import nativexml, tags
from dwcli.dicomweb.dicomjson import Row, RowReader, excerpt, number, text, values
from dwcli.errors import ProtocolError, TruncatedError

_STORED = tags.ReferencedSOPSequence
_FAILED = tags.FailedSOPSequence
_OTHER_FAILURES = tags.OtherFailuresSequence
_INSTANCE = tags.ReferencedSOPInstanceUID
_RETRIEVE_URL = tags.RetrieveURL
_WARNING_REASON = tags.WarningReason
_FAILURE_REASON = tags.FailureReason
_ERROR_COMMENT = tags.ErrorComment
_FAILED_ATTRIBUTES = tags.FailedAttributesSequence
_FAILURE_DETAIL = ("00090097", "00091097")  # of private creator GOOGLE, as written and as it should be

# Failures that may only mean that the server has the instance already: asking it shows.
MAYBE_PRESENT = frozenset({0x0110, 0x0111, 0xB00E})


@dataclass(frozen=True, slots=True)
class Stored:
    """The server says that it has the instance; `retrieve_url` is its word and may be ""."""

    instance: str
    retrieve_url: str


@dataclass(frozen=True, slots=True)
class Warned:
    """Stored, but changed or with a complaint: Warning Reason (0008,1196), 0 where only words came."""

    instance: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Not stored: Failure Reason (0008,1197), 0 where none came. `instance` is "" where none was named."""

    instance: str
    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The store response does not report the instance's outcome."""

    instance: str
    reason: str


Outcome = Stored | Warned | Failed | Unknown


@dataclass(frozen=True, slots=True)
class Reply:
    """A parsed store response.

    `outcomes` holds one outcome for every SOP Instance UID that was sent, in that order; `strays` what was
    said about instances that were not sent or not named; `notes` remarks for the user on the response itself.
    """

    outcomes: Mapping[str, Outcome]
    strays: tuple[Outcome, ...]
    notes: tuple[str, ...]


def read(status: int, content_type: str, body: bytes, sent: Sequence[str]) -> Reply:
    """Read the outcomes of the instances `sent` from a store response in JSON or XML; never raises.

    One data set, a list of them (one a study) and a list of one are read alike; so is a body under a wrong or
    no Content-Type. An instance both stored and failed counts as failed. A failure without a UID belongs to
    the only instance sent, if it was one.
    """
    data_sets, notes = _data_sets(content_type, body)
    ours = frozenset(sent)
    found: dict[str, Outcome] = {}
    strays: list[Outcome] = []
    # The worst that is said of an instance comes last and stays.
    for outcome in sorted(_outcomes(data_sets), key=_weight):
        if outcome.instance in ours:
            found[outcome.instance] = outcome
        else:
            strays.append(outcome)
    match sent, strays:
        case [only], [Failed("", code, words)] if not found:
            found[only] = Failed(only, code, words)
            strays = []
    others = [stray.instance for stray in strays if stray.instance]
    silence = "the store response does not list it" if found or others else "the store response lists no instance"
    if len(sent) == 1 and len(others) == 1 and not found:
        silence = f"the store response lists {others[0]} instead"
    if not 200 <= status < 300:
        silence = f"HTTP {status}, and {silence}"
    outcomes = {uid: found.get(uid) or Unknown(uid, silence) for uid in sent}
    return Reply(outcomes, tuple(strays), tuple(notes))


def reason(code: int) -> str:
    """A Failure or Warning Reason in words with its hexadecimal code: "transfer syntax not supported (C122)".

    The codes are those of PS3.18 annex I.2, PS3.4 annex B.2 and PS3.7 annex C, and a few that servers added.
    """
    if not code:
        return "no reason given"
    words = _REASONS.get(code) or next((words for codes, words in _RANGES if code in codes), "unknown reason")
    return f"{words} ({code:04X})"


_REASONS = {
    0x0001: "stored with attributes that do not conform",  # Azure
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such SOP instance",
    0x0117: "invalid SOP instance",
    0x0118: "no such SOP class",
    0x0119: "SOP class and instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0131: "duplicate transaction UID",
    0x0210: "duplicate invocation",
    0x0211: "unrecognized operation",
    0x0212: "mistyped argument",
    0x0213: "resource limitation",
    0xA901: "the data set belongs to another study",  # Azure
    0xA922: "bulk data missing",  # dcm4chee
    0xB000: "stored with elements coerced",
    0xB006: "stored with elements discarded",
    0xB007: "stored, but the data set does not match its SOP class",
    0xB00E: "the instance already exists",  # Azure
    0xB00F: "the instance is being stored by another request",  # Azure
    0xC122: "transfer syntax not supported",
}

_RANGES = (
    (range(0xA700, 0xA800), "out of resources"),
    (range(0xA900, 0xAA00), "the data set does not match its SOP class"),
    (range(0xB000, 0xC000), "stored with a warning"),
    (range(0xC000, 0xD000), "cannot understand the data set"),
)


def _data_sets(content_type: str, body: bytes) -> tuple[list[Row], list[str]]:
    """The data sets of the body, and what there is to say where it is not only data sets."""
    rows: list[Row] = []
    start = body.removeprefix(BOM_UTF8).lstrip(b" \t\r\n\0")
    try:
        if start.startswith(b"<"):
            rows.append(nativexml.parse(start))
        else:
            reader = RowReader()
            rows += reader.feed(start)
            rows += reader.finish()
    except TruncatedError:
        return rows, ["the store response was truncated"]
    except ProtocolError:
        kind = excerpt(content_type.partition(";")[0]) or "no Content-Type"
        return rows, [f"the server responded ({kind}): {excerpt(start, 200)}"]
    return rows, []


def _outcomes(data_sets: Iterable[Row]) -> Iterator[Outcome]:
    for data_set in data_sets:
        for item in _items(data_set, _STORED):
            yield _stored(item)
        for sequence in (_FAILED, _OTHER_FAILURES):
            for item in _items(data_set, sequence):
                code = _code(item, _FAILURE_REASON)
                yield Failed(text(item, _INSTANCE), code, _in_words(code, item))


def _stored(item: Row) -> Outcome:
    instance = text(item, _INSTANCE)
    code = _code(item, _WARNING_REASON)
    if code or _comments(item):
        return Warned(instance, code, _in_words(code, item))
    return Stored(instance, text(item, _RETRIEVE_URL))


def _items(row: Row, tag: str) -> list[Row]:
    return [item for item in values(row, tag) if isinstance(item, dict)]


def _code(item: Row, tag: str) -> int:
    code = number(text(item, tag), "US")
    return code if isinstance(code, int) and code > 0 else 0


def _in_words(code: int, item: Row) -> str:
    comments = _comments(item)
    if not code and comments:
        return "; ".join(comments)
    return f"{reason(code)}: {'; '.join(comments)}" if comments else reason(code)


def _comments(item: Row) -> list[str]:
    """What the server says in words: Error Comment of the instance or its attributes, FailureDetail."""
    said = [text(part, _ERROR_COMMENT) for part in [item, *_items(item, _FAILED_ATTRIBUTES)]]
    said += [text(item, tag) for tag in _FAILURE_DETAIL]
    return [excerpt(comment, 200) for comment in said if comment]


def _weight(outcome: Outcome) -> int:
    match outcome:
        case Failed():
            return 2
        case Warned():
            return 1
        case _:
            return 0
