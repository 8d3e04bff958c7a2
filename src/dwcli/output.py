"""What `dw` prints: data on stdout, talk on stderr. The only importer of rich.

On a terminal: tables, trees, colour, progress. Into a pipe: full values, no colour, no progress, always
UTF-8. Nothing that a server sent reaches a terminal raw: `visible` shows control characters instead.
"""

import io
import json
import math
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, TextIO
from unicodedata import bidirectional
from urllib.parse import quote

from dwcli.dicomweb import dicomjson, dictionary, nativexml
from dwcli.dicomweb.dicomjson import Row
from dwcli.errors import DwError, UsageError

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

FORMATS = ("table", "tsv", "csv", "json", "jsonl", "flat", "xml", "uids")

SOP_INSTANCE_UID = "00080018"

# C0, DEL, C1, line and paragraph separators, bidirectional overrides and isolates, halves of surrogate pairs
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_HIDDEN_BUT_LINES = re.compile("(?![\t\r\n])" + _HIDDEN.pattern)
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}
_QUOTED = re.compile('[",\r\n]')
_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)")
_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(\.\d+)?")

# Left-to-right mark: without it a terminal that reorders text puts the next column before an Arabic name
_LRM = "\u200e"

_TITLES = {
    "00080020": "Date",
    "00080021": "Date",
    "00080030": "Time",
    "00080031": "Time",
    "00080050": "Accession",
    "00080060": "Mod.",
    "00080061": "Mod.",
    "00080090": "Referrer",
    "00081030": "Description",
    "0008103E": "Description",
    "00100010": "Patient",
    "00100020": "ID",
    "00100030": "Born",
    "00100040": "Sex",
    "00200010": "Study ID",
    "00200011": "No.",
    "00200013": "No.",
    "00201206": "Series",
    "00201208": "Inst.",
    "00201209": "Inst.",
    "00280008": "Frames",
    "0020000D": "Study UID",
    "0020000E": "Series UID",
    "00080018": "Instance UID",
    "00080016": "SOP Class UID",
}


def visible(text: str) -> str:
    """`text` with control characters, bidirectional overrides, lone surrogates spelt out (`\\t`, `\\x1b`)."""
    if text.isprintable():
        return text
    return _HIDDEN.sub(_spell, text)


def size(count: float) -> str:
    """A number of bytes in words, decimal units: 999 B, 1.5 kB, 64.0 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


class Progress:
    """Counts of one running transfer; any thread may add. Drawn, if at all, by a thread of its own.

    `done_bytes` and `done_items` are what was added so far.
    """

    def __init__(self, label: str, total_bytes: int | None, total_items: int | None) -> None:
        self.label = label
        self.total_bytes = total_bytes
        self.total_items = total_items
        self.done_bytes = 0
        self.done_items = 0
        self._lock = Lock()
        self._samples: deque[tuple[float, int, int]] = deque([(time.monotonic(), 0, 0)])

    def add(self, count: int) -> None:
        """`count` more bytes came or went; cheap enough for every chunk."""
        with self._lock:
            self.done_bytes += count

    def item(self) -> None:
        """One more item is finished."""
        with self._lock:
            self.done_items += 1

    def total(self, bytes: int | None = None, items: int | None = None) -> None:
        """Set the totals that are known by now; None leaves one as it is."""
        with self._lock:
            self.total_bytes = self.total_bytes if bytes is None else bytes
            self.total_items = self.total_items if items is None else items

    def expect(self, items: int = 0, bytes: int = 0) -> None:
        """So many more items and bytes will come; any thread may say so."""
        with self._lock:
            self.total_items = (self.total_items or 0) + items
            if bytes:
                self.total_bytes = (self.total_bytes or 0) + bytes

    def fraction(self) -> tuple[int, int | None]:
        """(done, total) in bytes where their total is known, else in items; total None: not known at all."""
        if self.total_bytes:
            return min(self.done_bytes, self.total_bytes), self.total_bytes
        return self.done_items, self.total_items or None

    def status(self, now: float) -> str:
        """Counts, rate over the last seconds and time left in words; `now` in seconds of `time.monotonic`."""
        bytes_now, items_now = self.done_bytes, self.done_items
        while len(self._samples) > 1 and now - self._samples[0][0] > 5:
            self._samples.popleft()
        then, bytes_then, items_then = self._samples[0]
        self._samples.append((now, bytes_now, items_now))
        seconds = max(now - then, 1e-6)
        rate = (bytes_now - bytes_then) / seconds
        words = []
        if items_now or self.total_items:
            words.append(f"{items_now}/{self.total_items}" if self.total_items else str(items_now))
        if bytes_now or self.total_bytes:
            words.append(size(bytes_now) + (f" of {size(self.total_bytes)}" if self.total_bytes else ""))
            words.append(f"{size(rate)}/s")
        done, total = self.fraction()
        speed = rate if self.total_bytes else (items_now - items_then) / seconds
        if total is not None and speed > 0 and done < total:
            left = round((total - done) / speed)
            if left < 360_000:
                words.append(f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}")
        return "  ".join(words)


class Out:
    """Both streams of one run of `dw`, in the format chosen.

    `format`: one of FORMATS, None for the default (table on a terminal, tsv elsewhere), else UsageError.
    `verbosity`: -1 only errors, 0, 1 (-v), 2 (-vv). `color` False: never colour; otherwise on terminals only.
    `width`: columns of the terminal, None to ask it.
    A BrokenPipeError of stdout is let through; then call `close_quietly`.
    """

    def __init__(
        self,
        *,
        format: str | None = None,
        verbosity: int = 0,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
        stdin: TextIO | None = None,
        color: bool | None = None,
        width: int | None = None,
    ) -> None:
        if format is not None and format not in FORMATS:
            raise UsageError(f"there is no format {visible(format)!r}", "one of: " + ", ".join(FORMATS))
        self.format = format
        self.verbosity = verbosity
        # A process can start with any of the three closed; then Python has None in their place
        self._stdout = stdout or sys.stdout or _nowhere()
        self._stderr = stderr or sys.stderr or _nowhere()
        self._stdin = stdin or sys.stdin
        self.terminal = _isatty(self._stdout)
        self.stderr_terminal = _isatty(self._stderr)
        self._color = self.terminal and color is not False
        self._stderr_color = self.stderr_terminal and color is not False
        self._width = width
        if isinstance(self._stdout, io.TextIOWrapper):
            # Data is UTF-8 whatever the locale says, with the line ends that each format defines
            encoding = None if self.terminal else "utf-8"
            self._stdout.reconfigure(encoding=encoding, errors="backslashreplace", newline="\n")
        if isinstance(self._stderr, io.TextIOWrapper):
            self._stderr.reconfigure(errors="backslashreplace")
        unicode = (self._stdout.encoding or "utf-8").lower().startswith("utf")
        self._ellipsis = "…" if unicode else "~"
        self._encode = json.JSONEncoder(
            ensure_ascii=not unicode, separators=(",", ":"), allow_nan=False, default=str
        ).encode
        self._flushed = -math.inf
        self._talking = Lock()
        self._bars: Bars | None = None

    @property
    def width(self) -> int:
        """Columns of the terminal on stdout, 80 where it does not say."""
        if self._width:
            return self._width
        try:
            return os.get_terminal_size(self._stdout.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    # Data

    def rows(
        self,
        rows: Iterable[Row],
        *,
        columns: Sequence[str],
        uid_tag: str,
        more: Callable[[], str | None] | None = None,
    ) -> int:
        """Print DICOM JSON objects (PS3.18 F.2) as they come; returns how many.

        `columns`: the tags shown by table, tsv and csv. `uid_tag`: the tag of the UID of the level searched,
        printed by `uids` percent-encoded as one shell word. `more` is called at the end and may return a line
        for stderr. Only the table holds its rows (as text), since its widths depend on all of them; it shows
        what came before an error.
        """
        match self._chosen():
            case "table":
                shape = [_column_of(tag, keep=tag == uid_tag) for tag in columns]
                count = self._table(([_cell(row, tag) for tag in columns] for row in rows), shape)
            case "tsv" | "csv" as form:
                heads = [dictionary.keyword(tag) or tag for tag in columns]
                cells = ([dicomjson.text(row, tag) for tag in columns] for row in rows)
                count = self._delimited(form, heads, cells)
            case "uids":
                count = self._uids(rows, uid_tag)
            case form:
                count = self._json(form, rows)
        self._ended(count)
        if more is not None and (line := more()):
            self.info(line)
        return count

    def metadata(self, rows: Iterable[Row], *, tags: Sequence[str] | None = None) -> int:
        """Print metadata, one DICOM JSON object (PS3.18 F.2) an instance; returns how many.

        `tags`: only these, at the top level. A tree on a terminal (format table); in a pipe (tsv) a line an
        element: SOP Instance UID, tag, VR, keyword, value, where `00400275[2].00400007` is the tag within the
        second item. csv is the same with a header, or with `tags` a line an instance with these as columns.
        """
        wanted = None if tags is None else {tag.upper() for tag in tags}

        def chosen() -> Iterator[tuple[str, Row]]:
            for row in rows:
                uid = dicomjson.text(row, SOP_INSTANCE_UID)
                if wanted is not None:
                    row = {tag: element for tag, element in row.items() if tag.upper() in wanted}
                yield uid, row

        count = 0

        def leaves() -> Iterator[Sequence[str]]:
            nonlocal count
            for uid, row in chosen():
                count += 1
                for leaf in _leaves(row):
                    yield uid, *leaf

        match self._chosen():
            case "table":
                count = self._trees(chosen())
            case "tsv":
                self._delimited("tsv", (), leaves())
            case "csv" if tags is None:
                self._delimited("csv", ("SOPInstanceUID", "Tag", "VR", "Keyword", "Value"), leaves())
            case "csv":
                shown = [tag for tag in tags or () if tag.upper() != SOP_INSTANCE_UID]
                heads = ["SOPInstanceUID", *(dictionary.keyword(tag) or tag for tag in shown)]
                cells = ([uid, *(dicomjson.text(row, tag) for tag in shown)] for uid, row in chosen())
                count = self._delimited("csv", heads, cells)
            case "uids":
                count = self._uids(rows, SOP_INSTANCE_UID)
            case form:
                count = self._json(form, (row for _, row in chosen()))
        self._ended(count)
        return count

    def table(
        self,
        records: Iterable[Mapping[str, object]],
        *,
        columns: Sequence[str],
        titles: Mapping[str, str] | None = None,
        empty: str = "no match",
    ) -> int:
        """Print plain records (profiles, reports); returns how many. `empty` is said where there are none.

        `columns`: the keys shown, `titles` their headings in a table. json, jsonl and flat print every key;
        xml and uids are a UsageError.
        """
        match self._chosen():
            case "table":
                held = list(records)
                shape = [
                    _Column((titles or {}).get(key, key), "number" if _numeric(held, key) else "text")
                    for key in columns
                ]
                count = self._table(([visible(_plain(r.get(key))) for key in columns] for r in held), shape)
            case "tsv" | "csv" as form:
                cells = ([_plain(record.get(key)) for key in columns] for record in records)
                count = self._delimited(form, columns, cells)
            case "uids" | "xml" as form:
                raise UsageError(
                    f"the format {form} is for searches and metadata", "one of: " + ", ".join(FORMATS[:-2])
                )
            case form:
                count = self._json("jsonl" if form == "flat" else form, records)
        self._ended(count, empty)
        return count

    def line(self, text: str) -> None:
        """One line of data."""
        self._put(visible(text) + "\n")

    def write(self, data: bytes) -> None:
        """Binary data, unchanged."""
        self._stdout.flush()
        self._stdout.buffer.write(data)

    def flush(self) -> None:
        """Hand everything to stdout's reader; an OSError here means that data was lost."""
        self._stdout.flush()

    def close_quietly(self) -> None:
        """After a BrokenPipeError: what is still buffered goes nowhere, so the interpreter ends silently."""
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stdout.fileno())
            os.close(null)

    # Talk

    def info(self, text: str) -> None:
        """One line about what happens, unless quiet."""
        if self.verbosity >= 0:
            self._talk(visible(text))

    def detail(self, text: str) -> None:
        """One line for -v."""
        if self.verbosity >= 1:
            self._talk(self._paint(visible(text), "2"))

    def debug(self, text: str) -> None:
        """One line for -vv."""
        if self.verbosity >= 2:
            self._talk(self._paint(visible(text), "2"))

    def warn(self, text: str) -> None:
        """One line about something that may be wrong, unless quiet."""
        if self.verbosity >= 0:
            self._talk(f"{self._paint('warning:', '33')} {visible(text)}")

    def error(self, error: DwError) -> None:
        """What went wrong, and below it what to do next; also when quiet."""
        lines = [f"{self._paint('error:', '1;31')} {visible(error.message)}"]
        if error.hint:
            lead = "try:" if error.hint.startswith("dw ") else "hint:"
            lines.append(f"{self._paint(lead, '36')} {visible(error.hint)}")
        self._talk("\n".join(lines))

    def confirm(self, question: str) -> bool:
        """Ask on stderr; True only for y or yes typed on a terminal."""
        if self._stdin is None or not _isatty(self._stdin):
            return False
        with suppress(OSError):
            self._stderr.write(f"{visible(question)} [y/N] ")
            self._stderr.flush()
        return self._stdin.readline().strip().lower() in ("y", "yes")

    @contextmanager
    def progress(
        self, label: str, *, total_bytes: int | None = None, total_items: int | None = None
    ) -> Iterator[Progress]:
        """A bar with bytes, rate and time left while the block runs, gone after it.

        Only on a terminal, not when quiet; within another progress it only counts. Totals may come later.
        """
        progress = Progress(label, total_bytes, total_items)
        if not self.stderr_terminal or self.verbosity < 0 or self._bars is not None:
            yield progress
            return
        bars = _bars(progress, self._stderr, color=self._stderr_color)
        with bars:
            self._bars = bars
            try:
                yield progress
            finally:
                self._bars = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No bar while the block runs, so that a question can be read."""
        bars = self._bars
        if bars is None:
            yield
            return
        bars.stop()
        try:
            yield
        finally:
            bars.start()

    # Formats

    def _chosen(self) -> str:
        self._begin()
        return self.format or ("table" if self.terminal else "tsv")

    def _ended(self, count: int, empty: str = "no match") -> None:
        if not count and empty and (self.terminal or self.format == "table"):
            self.info(empty)

    def _table(self, lines: Iterable[Sequence[str]], columns: Sequence["_Column"]) -> int:
        held: list[Sequence[str]] = []
        try:
            held.extend(lines)
        finally:
            # Also when the answer breaks off: what came is shown, then the error
            if held:
                self._put_table(held, columns)
        return len(held)

    def _put_table(self, lines: Sequence[Sequence[str]], columns: Sequence["_Column"]) -> None:
        widths = [max(_width(line[i]) for line in lines) for i in range(len(columns))]
        fitted = _fit(columns, widths, self.width if self.terminal else None)
        last = max(fitted, default=0)

        def laid(cells: Sequence[str]) -> str:
            parts = []
            for i, width in fitted.items():
                text = _cut(cells[i], width, self._ellipsis, middle=columns[i].kind == "uid")
                gap = " " * (width - _width(text))
                if self.terminal and _reordered(text):
                    text = _LRM + text + _LRM
                parts.append(gap + text if columns[i].kind == "number" else text if i == last else text + gap)
            return "  ".join(parts).rstrip()

        head = laid([column.title for column in columns])
        self._put((f"\x1b[1m{head}\x1b[0m" if self._color else head) + "\n")
        for line in lines:
            self._put(laid(line) + "\n")
        self.flush()
        if any(columns[i].kind == "uid" and width < widths[i] for i, width in fitted.items()):
            self.info("UIDs are cut to fit; -f uids, or a pipe, has them whole")
        dropped = [column.title for i, column in enumerate(columns) if i not in fitted]
        if dropped:
            self.info(f"too narrow for: {', '.join(dropped)}")

    def _delimited(self, form: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> int:
        def laid(cells: Sequence[str]) -> str:
            if form == "tsv":
                return "\t".join(map(visible, cells)) + "\n"
            return _csv(cells, raw_lines=not self.terminal)

        count = 0
        head = laid(heads) if heads else ""
        for cells in lines:
            count += 1
            self._put(head + laid(cells))
            head = ""
        self._put(head)
        self.flush()
        return count

    def _json(self, form: str, rows: Iterable[Mapping[str, Any]]) -> int:
        if form == "xml":
            return self._xml(rows)
        count = 0
        array = form == "json"
        lead = "[\n" if array else ""
        for row in rows:
            count += 1
            text = self._dumps(dicomjson.flat(dict(row)) if form == "flat" else row)
            self._put(lead + text + ("" if array else "\n"))
            lead = ",\n" if array else ""
        # Where the answer breaks off, the array stays open: half an answer must not parse as a whole one
        if array:
            self._put("\n]\n" if count else "[]\n")
        self.flush()
        return count

    def _xml(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """One Native DICOM Model document a line, as the standard has one for each match, never a list of them."""
        count = 0
        for row in rows:
            count += 1
            self._put(_HIDDEN.sub(lambda match: f"&#{ord(match[0])};", nativexml.write(dict(row))) + "\n")
        self.flush()
        return count

    def _dumps(self, value: object) -> str:
        try:
            text = self._encode(value)
        except ValueError:
            text = self._encode(_finite(value))
        if not text.isascii() or "\x7f" in text:
            text = _HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
        return text

    def _uids(self, rows: Iterable[Row], tag: str) -> int:
        count = 0
        missing = 0
        for row in rows:
            count += 1
            if uid := dicomjson.text(row, tag):
                self._put(_word(uid) + "\n")
            else:
                missing += 1
        self.flush()
        if missing:
            self.warn(f"left out, without {dictionary.keyword(tag) or tag}: {missing}")
        return count

    def _trees(self, rows: Iterable[tuple[str, Row]]) -> int:
        count = 0
        width = self.width if self.terminal else None
        for count, (uid, row) in enumerate(rows, 1):
            lead = "\n" if count > 1 else ""
            head = f"# {visible(uid)}\n" if uid else ""
            lines = []
            for depth, tag, about, value in _branches(row, 0):
                start = "  " * depth + f"{tag} {about}".rstrip()
                line = f"{start}  {value}" if value else start
                if width is not None:
                    line = _cut(line, width, self._ellipsis)
                if self._color and line.startswith(start):
                    indent = 2 * depth
                    tagged = indent + len(tag)
                    line = f"{line[:indent]}\x1b[2m{line[indent:tagged]}\x1b[0m{line[tagged:]}"
                lines.append(line + "\n")
            self._put(lead + head + "".join(lines))
        self.flush()
        return count

    # Streams

    def _begin(self) -> None:
        self._flushed = -math.inf

    def _put(self, text: str) -> None:
        """`text` to stdout; the first goes out at once, then at least one a second that brings any."""
        if not text:
            return
        if self.terminal and self._bars is not None:
            # The bar is on the same screen: only its own console can write above it
            self._bars.console.out(text, end="", highlight=False)
            return
        self._stdout.write(text)
        now = time.monotonic()
        if self.terminal or now - self._flushed >= 1:
            self._stdout.flush()
            self._flushed = now

    def _talk(self, text: str) -> None:
        # One file for both streams shows things in their order. A failure is met again at the next flush
        with suppress(OSError, ValueError):
            self._stdout.flush()
        with self._talking, suppress(OSError, ValueError):
            if self._bars is not None:
                self._bars.console.out(text, highlight=False)
            else:
                self._stderr.write(text + "\n")
                self._stderr.flush()

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._stderr_color else text


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    kind: Literal["text", "uid", "number", "date"] = "text"
    keep: bool = False


def _column_of(tag: str, *, keep: bool) -> _Column:
    title = _TITLES.get(tag.upper()) or dictionary.keyword(tag) or tag
    match dictionary.vr(tag):
        case "UI":
            return _Column(title, "uid", keep)
        case "DA" | "TM":
            return _Column(title, "date", keep)
        case "IS" | "US" | "UL" | "UV" | "SS" | "SL" | "SV":
            return _Column(title, "number", keep)
    return _Column(title, "text", keep)


def _cell(row: Row, tag: str) -> str:
    text = dicomjson.text(row, tag)
    match dictionary.vr(tag):
        case "DA" if found := _DATE.fullmatch(text):
            return "-".join(found.groups())
        case "TM" if found := _TIME.fullmatch(text):
            return ":".join(found.groups()[:3])
    return visible(text)


def _fit(columns: Sequence[_Column], widths: Sequence[int], room: int | None) -> dict[int, int]:
    """Index -> width of the columns shown within `room` screen columns (None: no bound), two apart.

    The widest give first, down to what is still of use (dates and numbers: all of it); before they would give
    more, columns fall from the right, but not the first nor one to keep.
    """
    fitted = {i: max(widths[i], _width(column.title)) for i, column in enumerate(columns)}
    if room is None:
        return fitted
    least = {"uid": 13, "text": 8}
    floors = {i: min(least.get(columns[i].kind, max(widths[i], 1)), width) for i, width in fitted.items()}
    droppable = [i for i in fitted if i and not columns[i].keep]
    while sum(floors[i] + 2 for i in fitted) - 2 > room and droppable:
        del fitted[droppable.pop()]
    while sum(fitted.values()) + 2 * (len(fitted) - 1) > room:
        loose = [i for i in fitted if fitted[i] > floors[i]] or [i for i in fitted if fitted[i] > 1]
        if not loose:
            break
        fitted[max(loose, key=lambda i: fitted[i])] -= 1
    return fitted


def _width(text: str) -> int:
    """Screen columns of `text`: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _cut(text: str, width: int, ellipsis: str, *, middle: bool = False) -> str:
    """`text` within `width` screen columns; `middle` keeps the tail, by which UIDs of one root differ."""
    if _width(text) <= width:
        return text
    if middle and text.isascii() and width >= 5:
        head = (width - 1) // 3
        return text[:head] + ellipsis + text[head + 1 - width :]
    end = used = 0
    for character in text:
        used += _width(character)
        if used > width - 1:
            break
        end += 1
    return text[:end] + ellipsis


def _reordered(text: str) -> bool:
    return not text.isascii() and any(bidirectional(character) in ("R", "AL") for character in text)


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _NAMED.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def _csv(cells: Sequence[str], *, raw_lines: bool) -> str:
    """One record of RFC 4180. Tabs and line ends within a value stay as they are where `raw_lines`."""
    clean = [_HIDDEN_BUT_LINES.sub(_spell, cell) if raw_lines else visible(cell) for cell in cells]
    quoted = ['"' + cell.replace('"', '""') + '"' if _QUOTED.search(cell) else cell for cell in clean]
    return (",".join(quoted) or '""') + "\r\n"


def _word(uid: str) -> str:
    # A word "-" would be stdin, and one that starts with it an option
    word = quote(uid, safe="", errors="surrogatepass")
    return "%2D" + word[1:] if word.startswith("-") else word


def _finite(value: Any) -> Any:
    """`value` with NaN and infinities as the strings that other DICOM JSON writers use for them."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value


def _plain(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(_plain, value))
    return str(value)


def _numeric(records: Sequence[Mapping[str, object]], key: str) -> bool:
    found = [record[key] for record in records if record.get(key) is not None]
    return bool(found) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in found)


def _elements(row: Row) -> Iterator[tuple[str, str, str, Mapping[str, Any]]]:
    """(tag as received, VR, keyword or "", element) in the order of the tags."""
    for tag in sorted(row, key=str.upper):
        element = row[tag] if isinstance(row[tag], dict) else {}
        number = tag.upper()
        yield tag, str(element.get("vr") or dictionary.vr(number)), dictionary.keyword(number), element


def _value(row: Row, tag: str, element: Mapping[str, Any]) -> str:
    if "BulkDataURI" in element:
        return f"<bulk {element['BulkDataURI']}>"
    if "InlineBinary" in element:
        coded = "".join(str(element["InlineBinary"]).split())
        return f"<{len(coded) * 3 // 4 - coded[-2:].count('=')} bytes>"
    return dicomjson.text(row, tag)


def _items(row: Row, tag: str) -> list[Row]:
    return [item if isinstance(item, dict) else {} for item in dicomjson.values(row, tag)]


def _leaves(row: Row, path: str = "") -> Iterator[tuple[str, str, str, str]]:
    """(path of tags, VR, keyword, value) of every element that is no sequence with items."""
    for tag, vr, keyword, element in _elements(row):
        here = path + tag.upper()
        items = _items(row, tag) if vr == "SQ" else []
        if not items:
            yield here, vr, keyword, "" if vr == "SQ" else _value(row, tag, element)
        for number, item in enumerate(items, 1):
            yield from _leaves(item, f"{here}[{number}].")


def _branches(row: Row, depth: int) -> Iterator[tuple[int, str, str, str]]:
    """(depth, tag as dcmdump writes it, VR and keyword, value) of every line of the tree, all visible."""
    for tag, vr, keyword, element in _elements(row):
        number = tag.upper()
        shown = f"({number[:4]},{number[4:]})" if len(number) == 8 else number
        about = visible(f"{vr} {keyword or _nameless(number)}")
        if vr != "SQ":
            yield depth, visible(shown), about, visible(_value(row, tag, element))
            continue
        items = _items(row, tag)
        yield depth, visible(shown), about, f"{len(items)} item{'' if len(items) == 1 else 's'}"
        for count, item in enumerate(items, 1):
            yield from chain([(depth + 1, f"Item {count}", "", "")], _branches(item, depth + 2))


def _nameless(tag: str) -> str:
    """What stands for a keyword. Private creators: elements 0010 to 00FF of an odd group (PS3.5 7.8.1)."""
    if not re.fullmatch("[0-9A-F]{3}[13579BDF][0-9A-F]{4}", tag):
        return "Unknown"
    return "PrivateCreator" if "0010" <= tag[4:] <= "00FF" else "Private"


def _isatty(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except ValueError:
        return False


def _nowhere() -> TextIO:
    return io.TextIOWrapper(io.BufferedWriter(io.FileIO(os.devnull, "w")))


def _bars(progress: Progress, stderr: TextIO, *, color: bool) -> "Bars":
    """The drawing of `progress` on a terminal, which reads its counts some eight times a second."""
    from rich.console import Console, RenderableType
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as RichProgress

    class Drawn(RichProgress):
        def get_renderables(self) -> Iterable[RenderableType]:
            done, total = progress.fraction()
            for task in self.tasks:
                self.update(task.id, completed=done, total=total, status=progress.status(time.monotonic()))
            yield from super().get_renderables()

    bars = Drawn(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[status]}", markup=False),
        console=Console(file=stderr, force_terminal=True, no_color=not color, highlight=False),
        refresh_per_second=8,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=stderr is sys.stderr,
    )
    bars.add_task(visible(progress.label), total=None, status="")
    return bars
