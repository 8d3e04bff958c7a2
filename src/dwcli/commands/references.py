"""References on the command line: words, stdin, and the level word before them."""

import json
import sys
from collections.abc import Iterable, Iterator

from dwcli.context import DwContext
from dwcli.dicomweb import refs
from dwcli.dicomweb.refs import InstanceRef, Level, Ref
from dwcli.errors import UsageError


def split_level(words: Iterable[str] | None) -> tuple[Level | None, list[str]]:
    """A level word at the front, and the rest."""
    rest = list(words or [])
    level = refs.parse_level(rest[0]) if rest else None
    return (level, rest[1:]) if level else (None, rest)


def read(dw: DwContext, words: Iterable[str], level: Level | None) -> Iterator[Ref]:
    """The references of `words`, each once; `-` reads them from stdin, one a line or JSON lines. Raises UsageError."""
    seen: set[Ref] = set()
    for word in words:
        for ref in _stdin(dw, level) if word == "-" else [parse(dw, word, level)]:
            if ref not in seen:
                seen.add(ref)
                yield ref


def one(dw: DwContext, words: list[str] | None) -> Ref:
    """Exactly one reference, after an optional level word. Raises UsageError."""
    level, rest = split_level(words)
    found = list(read(dw, rest, level))
    if len(found) != 1:
        raise UsageError(
            f"one reference is wanted, {len(found)} were given",
            "write STUDY, STUDY/SERIES or STUDY/SERIES/INSTANCE",
        )
    return found[0]


def one_instance(dw: DwContext, word: str) -> InstanceRef:
    """One reference to an instance. Raises UsageError."""
    ref = parse(dw, word, Level.INSTANCE)
    assert isinstance(ref, InstanceRef)
    return ref


def parse(dw: DwContext, word: str, level: Level | None) -> Ref:
    """One word; where it is a URL of another host, the profile's own address is used, and stderr says so."""
    origin = refs.origin(word.strip())
    ref = refs.parse(word, level)
    if origin and origin != refs.origin(dw.profile.url):
        dw.out.info(f"{origin} is replaced by {dw.profile.url}")
    return ref


def _stdin(dw: DwContext, level: Level | None) -> Iterator[Ref]:
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("- reads references from a pipe, and stdin is a terminal", "dw search -f refs … | dw … -")
    for number, line in enumerate(sys.stdin, 1):
        text = line.strip().removeprefix("\ufeff")  # which some programs write before the first line
        if not text:
            continue
        try:
            if not text.startswith("{"):
                yield parse(dw, text, level)
                continue
            row = json.loads(text)
            yield refs.from_row(row, level)
        except ValueError as error:
            raise UsageError(
                f"line {number} of stdin is no JSON: {error}", "search with -f jsonl, or -f refs"
            ) from None
        except UsageError as error:
            raise UsageError(f"line {number} of stdin: {error.message}", error.hint) from None
