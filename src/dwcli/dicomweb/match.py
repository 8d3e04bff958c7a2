"""Whether a row matches a query. Servers silently ignore attributes that they do not support (PS3.18 8.3.4.1).

The comparison is lenient, as it accuses a server: names in any case and accent and as a part, text in any case.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator

from dwcli.dicomweb.dicomjson import INTEGERS, NUMBERS, Row, text, values
from dwcli.dicomweb.query import Term

_SEPARATORS = re.compile(r"[\s^,=]+")


def fits(term: Term, row: Row, *, exact: bool = False) -> bool | None:
    """Whether a row matches a key; None if the attribute is missing from the row or empty.

    `exact`: as a server would take a text and its wildcards (PS3.4 C.2.2.2.4), the whole of it and in its own case; a
    name is taken in any case, and by any of its groups.
    """
    wanted = term.value.strip()
    if wanted.strip("*") == "":
        return True
    found = _found(row, term.path.split("."))
    if not found:
        return None
    compare = _whole(term) if exact else _comparison(term, wanted)
    return any(compare(value) for value in found)


def _found(row: Row, path: list[str]) -> list[str]:
    """The single values at the end of a path of sequences, as text; empty ones left out."""
    if len(path) > 1:
        items = (item for item in values(row, path[0]) if isinstance(item, dict))
        return [value for item in items for value in _found(item, path[1:])]
    return [value for value in text(row, path[0]).split("\\") if value.strip()]


def _comparison(term: Term, wanted: str) -> Callable[[str], bool]:
    """A function of one value as text."""
    match vr := term.vr:
        case "UI":
            return lambda value: value.strip() in term.uids
        case "DA" | "DT":
            return lambda value: _in_range(re.sub(r"\D", "", value), wanted, "9")
        case "TM":
            return lambda value: _in_range(value.replace(":", "").strip(), wanted.replace(":", ""), "9")
        case "PN":
            pattern = _pattern(_plain_name(wanted))
            return lambda value: bool(pattern.search(_plain_name(value)))
        case _ if vr in NUMBERS | INTEGERS:
            return lambda value: _same_number(value, wanted)
        case _:
            pattern = _pattern(_folded(wanted))
            return lambda value: bool(pattern.fullmatch(_folded(value)))


def _whole(term: Term) -> Callable[[str], bool]:
    """The same for a text that stands for a whole value."""
    if term.vr == "PN":
        pattern = re.compile(_pattern(term.value).pattern, re.DOTALL | re.IGNORECASE)
        return lambda value: any(pattern.fullmatch(group) for group in value.split("="))
    pattern = _pattern(term.value)
    return lambda value: bool(pattern.fullmatch(value))


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile("".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in words), re.DOTALL)


def _folded(words: str) -> str:
    return unicodedata.normalize("NFC", words).strip().casefold()


def _plain_name(words: str) -> str:
    bare = "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c))
    return _SEPARATORS.sub(" ", bare).strip().casefold()


def _in_range(value: str, wanted: str, last: str) -> bool:
    """Whether a date or time lies in `A`, `A-B`, `A-` or `-B`; a shorter one stands for all that begin with it."""
    first, dash, final = wanted.partition("-")
    if not dash:
        return value.startswith(first) or first.startswith(value)
    return (not first or value >= first[: len(value)]) and (not final or value <= final.ljust(len(value), last))


def _same_number(value: str, wanted: str) -> bool:
    try:
        return float(value) == float(wanted)
    except ValueError:
        return value.strip() == wanted


class IgnoredKeyError(Exception):
    """The server ignores a key that its rows have not contained so far; no row was given."""

    def __init__(self, term: Term) -> None:
        super().__init__(term.name)
        self.term = term


class Questions:
    """The keys of one search, checked against each row. `here`: keys that were not sent at all.

    A row without the attribute that was asked for may match all the same, as servers need not show what they search
    by: `ignores(term)` is asked, and finds out once, before such a row is given.
    """

    def __init__(
        self,
        sent: Iterable[Term],
        here: Iterable[Term] = (),
        *,
        fuzzy: bool = False,
        ignores: Callable[[Term], bool] = lambda _term: False,
    ) -> None:
        self._sent = list(sent)
        self._here = list(here)
        self._fuzzy = fuzzy
        self._ignores = ignores
        self._told: set[Term] = set()
        self._shown: set[Term] = set()
        self.ignored: list[Term] = []

    def answered_by(self, row: Row) -> bool:
        """Whether the row is to be given: it fits what is matched here, and nothing sent that the server ignores.

        Raises IgnoredKeyError before the first row is given of a server that ignores a key which no row has shown.
        """
        for term in self._sent:
            if term in self.ignored:
                continue
            # What a server finds fuzzily no comparison here can judge.
            fit = None if self._fuzzy and term.vr == "PN" else fits(term, row)
            if fit is not None:
                self._shown.add(term)
            if fit is False:
                self.ignored.append(term)
            elif fit is None and self._ignores(term):
                if term not in self._shown:
                    raise IgnoredKeyError(term)
                self.ignored.append(term)
        here = all(fits(term, row, exact=term.is_pattern) for term in self._here)
        return here and all(fits(term, row) for term in self.ignored)

    def look_ahead(self) -> None:
        """Before rows are passed over unseen: raises IgnoredKeyError where the server ignores a key."""
        for term in self._sent:
            if fits(term, {}) is None and self._ignores(term):
                raise IgnoredKeyError(term)

    def complaints(self) -> Iterator[str]:
        """What the user should know since the last call."""
        for term in self.ignored:
            if term not in self._told:
                self._told.add(term)
                yield f"this server ignores {term.name}={term.value}; filtering its rows locally"


def impossible(term: Term) -> Term:
    """The same key with a value that nothing has: a server that finds something then does not look at it."""
    vr = term.vr
    if vr in NUMBERS:
        return Term(term.path, "-2147483647")
    value = {"DA": "18000101", "DT": "18000101", "TM": "000000.000001", "UI": "2.25.17071979", "CS": "DW NO SUCH"}
    return Term(term.path, value.get(vr, "DWNOSUCHVALUE"))
