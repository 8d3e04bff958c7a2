"""References on the command line: words, stdin, and the level word before them."""

import json
import shlex
import sys
from collections.abc import Iterable, Iterator

from dwcli.context.run import DwContext
from dwcli.dicomweb import refs
from dwcli.dicomweb.refs import InstanceRef, Level, Ref
from dwcli.errors import UsageError


def split_level(words: Iterable[str] | None) -> tuple[Level | None, list[str]]:
    """Return the leading level word, if any, and the rest."""
    rest = list(words or [])
    level = refs.parse_level(rest[0]) if rest else None
    return (level, rest[1:]) if level else (None, rest)


def read(dw: DwContext, words: Iterable[str], level: Level | None, *, verb: str = "") -> Iterator[Ref]:
    """Yield the references of `words`, each once; `-` reads them from stdin, one per line or JSON lines.

    `verb`: the name of a command that changes data. It refuses URLs of another server than the profile's, and
    wildcards; a command that only reads uses the profile's own URL, and stderr says so once. Raises UsageError.
    """
    seen: set[Ref] = set()
    for word in words:
        for ref in _stdin(dw, level, verb) if word == "-" else [parse(dw, word, level, verb=verb)]:
            if ref not in seen:
                seen.add(ref)
                yield ref


def one(dw: DwContext, words: list[str] | None) -> Ref:
    """Return exactly one reference, after an optional level word. Raises UsageError."""
    level, rest = split_level(words)
    found = list(read(dw, rest, level))
    if len(found) != 1:
        raise UsageError(
            f"expected one reference, got {len(found)}",
            "write STUDY, STUDY/SERIES or STUDY/SERIES/INSTANCE",
        )
    return found[0]


def one_instance(dw: DwContext, word: str) -> InstanceRef:
    """Return one reference to an instance. Raises UsageError."""
    ref = parse(dw, word, Level.INSTANCE)
    assert isinstance(ref, InstanceRef)
    return ref


def parse(dw: DwContext, word: str, level: Level | None, *, verb: str = "") -> Ref:
    """Parse one word; see `read`."""
    ref = refs.parse(word, level)
    _at_home(dw, [refs.home(word.strip())], verb)
    _exact(ref, verb)
    return ref


def tell(dw: DwContext, typed: Iterable[str]) -> None:
    """Say once that a URL of another server is read as the profile's own."""
    for word in typed:
        if refs.origin(word.strip()):
            _at_home(dw, [refs.home(word.strip())], "")


def _at_home(dw: DwContext, addresses: Iterable[str], verb: str, *, row: bool = False) -> None:
    """Refuse URLs if none is the profile's, or say once that `dw` replaces them. Raises UsageError."""
    named = list(addresses)
    if not named or any(refs.is_at(address, dw.profile.url) for address in named):
        return
    foreign = named[0]
    if not verb:
        if not dw.replaces_addresses:
            dw.replaces_addresses = True
            dw.out.info(f"using {dw.profile.url} instead of {foreign}")
        return
    is_folder = dw.profile.place is not None and dw.profile.place.kind == "folder"
    own = f"profile {dw.profile.name!r}" if dw.profile.name and not is_folder else dw.profile.url
    owner = dw.profile_at(foreign)
    if owner:
        hint = f"that is profile {owner!r}: dw -p {shlex.quote(owner)} {verb} …"
    else:
        hint = "no profile has that address: dw profile add NAME URL"
    if row:
        hint += "; if the server's RetrieveURL is wrong, search with -f uids"
    raise UsageError(f"{foreign} does not belong to {own}; nothing was sent", hint)


def _exact(ref: Ref, verb: str) -> None:
    """Refuse what a server may read as more than one UID. Raises UsageError."""
    for uid in ref if verb else ():
        if any(sign in uid for sign in "*?,\\"):
            raise UsageError(
                f"{verb} accepts single UIDs, not wildcards or lists: {uid}",
                f"dw search … -f uids | dw {verb} study -",
            )


def _stdin(dw: DwContext, level: Level | None, verb: str) -> Iterator[Ref]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads references from a pipe, but stdin is a terminal", "dw search -f refs … | dw … -")
    for number, line in enumerate(sys.stdin, 1):
        text = line.strip().removeprefix("\ufeff")  # some programs write it before the first line
        if not text:
            continue
        try:
            if not text.startswith("{"):
                yield parse(dw, text, level, verb=verb)
                continue
            row = json.loads(text)
            ref = refs.from_row(row, level)
            _at_home(dw, refs.row_homes(row), verb, row=True)
            _exact(ref, verb)
            yield ref
        except ValueError as error:
            raise UsageError(
                f"line {number} of stdin is not JSON: {error}", "search with -f jsonl, or -f refs"
            ) from None
        except UsageError as error:
            raise UsageError(f"line {number} of stdin: {error.message}", error.hint) from None
