"""`out`: what a command prints, in the selected format."""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO
from urllib.parse import quote

from dwcli.dicomweb import dicomjson, dictionary, tags
from dwcli.dicomweb.dicomjson import Row
from dwcli.errors import UsageError
from dwcli.output.columns import LRM, Column, cell_of, column_of, cut, fit, numeric, reordered, width_of
from dwcli.output.elements import branches_of, leaves_of
from dwcli.output.streams import Streams
from dwcli.output.text import HIDDEN, plain, spell, visible

_OF_RECORDS = ("table", "tsv", "csv", "json", "jsonl", "flat")
FORMATS = (*_OF_RECORDS, "xml", "uids", "refs")

SOP_INSTANCE_UID = tags.SOPInstanceUID
_UIDS = (tags.StudyInstanceUID, tags.SeriesInstanceUID, SOP_INSTANCE_UID)  # from the study downwards

_HIDDEN_BUT_LINES = "(?![\t\r\n])" + HIDDEN
_QUOTED = '[",\r\n]'


class Out(Streams):
    """Both streams of one run of `dw`, in the selected format.

    `format`: one of FORMATS, None for the default (table on a terminal, tsv elsewhere), else UsageError.
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
            raise UsageError(f"unknown format {visible(format)!r}", "one of: " + ", ".join(FORMATS))
        super().__init__(verbosity=verbosity, stdout=stdout, stderr=stderr, stdin=stdin, color=color, width=width)
        self.format = format
        self._ellipsis = "…" if self._unicode else "~"
        self._encode = json.JSONEncoder(
            ensure_ascii=not self._unicode, separators=(",", ":"), allow_nan=False, default=str
        ).encode

    def rows(
        self,
        rows: Iterable[Row],
        *,
        columns: Sequence[str],
        uid_tag: str,
        more: Callable[[], str | None] | None = None,
    ) -> int:
        """Print DICOM JSON objects (PS3.18 F.2) as they arrive; returns their number.

        `columns`: the tags shown by table, tsv and csv. `uid_tag`: the tag of the searched level's UID, which `uids`
        prints percent-encoded as one shell word; `refs` adds the UIDs of the levels above, as in STUDY/SERIES.
        `more` is called at the end and may return a line for stderr. Only the table buffers its rows (as text), because
        its widths depend on all of them; it shows the rows received before an error.
        """
        match self._chosen():
            case "table":
                shape = [column_of(tag, keep=tag == uid_tag) for tag in columns]
                count = self._table(([cell_of(row, tag) for tag in columns] for row in rows), shape)
            case "tsv" | "csv" as form:
                heads = [dictionary.keyword(tag) or tag for tag in columns]
                cells = ([dicomjson.text(row, tag) for tag in columns] for row in rows)
                count = self._delimited(form, heads, cells)
            case "uids":
                count = self._uids(rows, [uid_tag])
            case "refs":
                count = self._uids(rows, _UIDS[: _UIDS.index(uid_tag) + 1])
            case form:
                count = self._json(form, rows)
        self._ended(count)
        if more is not None and (line := more()):
            self.info(line)
        return count

    def metadata(self, rows: Iterable[Row], *, tags: Sequence[str] | None = None) -> int:
        """Print metadata, one DICOM JSON object (PS3.18 F.2) per instance; returns their number.

        `tags`: print only these, at the top level. A tree on a terminal (format table); in a pipe (tsv) one line per
        element: SOP Instance UID, tag, VR, keyword, value, where `00400275[2].00400007` is the tag within the second
        item. csv adds a header, or with `tags` prints one line per instance with these as columns.
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
                for leaf in leaves_of(row):
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
                count = self._uids(rows, [SOP_INSTANCE_UID])
            case "refs":
                count = self._uids(rows, _UIDS)
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
        """Print plain records (profiles, reports); returns their number. `empty`: the message if there are none.

        `columns`: the keys shown, `titles` their headings in a table. json, jsonl and flat print every key;
        xml, uids and refs are a UsageError.
        """
        match self._chosen():
            case "table":
                held = list(records)
                shape = [
                    Column((titles or {}).get(key, key), "number" if numeric(held, key) else "text") for key in columns
                ]
                count = self._table(([visible(plain(r.get(key))) for key in columns] for r in held), shape)
            case "tsv" | "csv" as form:
                cells = (
                    [value if type(value := record.get(key)) is str else plain(value) for key in columns]
                    for record in records
                )
                count = self._delimited(form, columns, cells)
            case "uids" | "refs" | "xml" as form:
                raise UsageError(
                    f"format {form} is only for searches and metadata", "one of: " + ", ".join(_OF_RECORDS)
                )
            case form:
                count = self._json("jsonl" if form == "flat" else form, records)
        self._ended(count, empty)
        return count

    # Formats

    def _chosen(self) -> str:
        self._begin()
        return self.format or ("table" if self.terminal else "tsv")

    def _ended(self, count: int, empty: str = "no match") -> None:
        if not count and empty and (self.terminal or self.format == "table"):
            self.info(empty)

    def _table(self, lines: Iterable[Sequence[str]], columns: Sequence[Column]) -> int:
        held: list[Sequence[str]] = []
        try:
            held.extend(lines)
        finally:
            # Also if the response is truncated: show the rows received, then the error
            if held:
                self._put_table(held, columns)
        return len(held)

    def _put_table(self, lines: Sequence[Sequence[str]], columns: Sequence[Column]) -> None:
        widths = [max(width_of(line[i]) for line in lines) for i in range(len(columns))]
        fitted = fit(columns, widths, self.width if self.terminal else None)
        last = max(fitted, default=0)

        def laid(cells: Sequence[str]) -> str:
            parts = []
            for i, width in fitted.items():
                text = cut(cells[i], width, self._ellipsis, middle=columns[i].kind == "uid")
                gap = " " * (width - width_of(text))
                if self.terminal and reordered(text):
                    text = LRM + text + LRM
                parts.append(gap + text if columns[i].kind == "number" else text if i == last else text + gap)
            return "  ".join(parts).rstrip()

        head = laid([column.title for column in columns])
        self._put((f"\x1b[1m{head}\x1b[0m" if self._color else head) + "\n")
        for line in lines:
            self._put(laid(line) + "\n")
        self.flush()
        if any(columns[i].kind == "uid" and width < widths[i] for i, width in fitted.items()):
            self.info("UIDs are shortened to fit; use -f uids or a pipe for full UIDs")
        dropped = [column.title for i, column in enumerate(columns) if i not in fitted]
        if dropped:
            self.info(f"terminal too narrow for: {', '.join(dropped)}")

    def _delimited(self, form: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> int:
        def laid(cells: Sequence[str]) -> str:
            if form == "tsv":
                line = "\t".join(cells)
                # Escaping is rarely needed: check all cells at once.
                return f"{line}\n" if "".join(cells).isprintable() else "\t".join(map(visible, cells)) + "\n"
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
        # If the response is truncated, the array stays open: half a response must not parse as a complete one
        if array:
            self._put("\n]\n" if count else "[]\n")
        self.flush()
        return count

    def _xml(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Print one Native DICOM Model document per line: the standard defines one per match, not a list."""
        from dwcli.dicomweb import nativexml

        count = 0
        for row in rows:
            count += 1
            self._put(re.sub(HIDDEN, lambda match: f"&#{ord(match[0])};", nativexml.write(dict(row))) + "\n")
        self.flush()
        return count

    def _dumps(self, value: object) -> str:
        try:
            text = self._encode(value)
        except ValueError:
            text = self._encode(_finite(value))
        if not text.isascii() or "\x7f" in text:
            text = re.sub(HIDDEN, lambda match: f"\\u{ord(match[0]):04x}", text)
        return text

    def _uids(self, rows: Iterable[Row], tags: Sequence[str]) -> int:
        """Print one shell word per row: the UIDs of these tags, separated by slashes."""
        count = 0
        missing: Counter[str] = Counter()
        for row in rows:
            count += 1
            uids = {tag: dicomjson.text(row, tag) for tag in tags}
            if all(uids.values()):
                self._put("/".join(map(_word, uids.values())) + "\n")
            else:
                missing.update([tag for tag, uid in uids.items() if not uid][-1:])
        self.flush()
        for tag, rows_without in missing.items():
            self.warn(f"skipped rows without {dictionary.keyword(tag) or tag}: {rows_without}")
        return count

    def _trees(self, rows: Iterable[tuple[str, Row]]) -> int:
        count = 0
        width = self.width if self.terminal else None
        for count, (uid, row) in enumerate(rows, 1):
            lead = "\n" if count > 1 else ""
            head = f"# {visible(uid)}\n" if uid else ""
            lines = []
            for depth, tag, about, value in branches_of(row, 0):
                start = "  " * depth + f"{tag} {about}".rstrip()
                line = f"{start}  {value}" if value else start
                if width is not None:
                    line = cut(line, width, self._ellipsis)
                if self._color and line.startswith(start):
                    indent = 2 * depth
                    tagged = indent + len(tag)
                    line = f"{line[:indent]}\x1b[2m{line[indent:tagged]}\x1b[0m{line[tagged:]}"
                lines.append(line + "\n")
            self._put(lead + head + "".join(lines))
        self.flush()
        return count


def _csv(cells: Sequence[str], *, raw_lines: bool) -> str:
    """Return one record of RFC 4180. With `raw_lines`, tabs and line ends within a value stay unescaped."""
    clean = [re.sub(_HIDDEN_BUT_LINES, spell, cell) if raw_lines else visible(cell) for cell in cells]
    quoted = ['"' + cell.replace('"', '""') + '"' if re.search(_QUOTED, cell) else cell for cell in clean]
    return (",".join(quoted) or '""') + "\r\n"


def _word(uid: str) -> str:
    # The word "-" means stdin, and a word that starts with "-" is an option
    word = quote(uid, safe="", errors="surrogatepass")
    return "%2D" + word[1:] if word.startswith("-") else word


def _finite(value: Any) -> Any:
    """Return `value` with NaN and infinities as the strings that other DICOM JSON writers use."""
    match value:
        case float() if not math.isfinite(value):
            return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        case Mapping():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
    return value
