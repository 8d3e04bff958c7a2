"""What can be said of a finished command: each function gives a check that fails where it is not so."""

import csv
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dwcli.dicomweb import nativexml
from dwcli.dicomweb.part10 import data_set_offset
from matrix.sites import CINE, SLICES, WORDS, Site
from servers.dw import Run


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command. `out` is the folder it could write to, `lacks` what its server can't do."""

    site: Site
    run: Run
    out: Path
    lacks: frozenset[str]


Check = Callable[[Ran], None]

META = "keeps the file meta information"


def prints(*words: str) -> Check:
    """Every word is on stdout."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        for word in words:
            assert word.format(**WORDS) in ran.run.out

    return check


def exactly(text: str) -> Check:
    """Stdout is this and no more."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        assert ran.run.out == text.format(**WORDS)

    return check


def rows(*firsts: str) -> Check:
    """A header, then rows that begin so, as many and in this order; `*` is any beginning."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        found = [line.split("\t")[0] for line in ran.run.lines[1:]]
        assert [first if want != "*" else "*" for want, first in zip(firsts, found, strict=True)] == list(firsts)

    return check


def dicom_json(count: int, tag: str, *values: object) -> Check:
    """So many DICOM JSON objects, one a line, the first of which has these values."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        found = [json.loads(line) for line in ran.run.lines]
        assert len(found) == count
        assert found[0][tag]["Value"] == list(values)

    return check


def documents(count: int, tag: str, *values: object) -> Check:
    """So many Native DICOM Model documents, one a line, the first of which has these values."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        found = [nativexml.parse(line.encode()) for line in ran.run.lines]
        assert len(found) == count
        assert found[0][tag]["Value"] == list(values)

    return check


def table(*columns: str, count: int) -> Check:
    """CSV with these columns and so many rows, without an empty cell."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        head, *found = csv.reader(io.StringIO(ran.run.out))
        assert tuple(head) == columns
        assert len(found) == count
        assert all(all(line) for line in found)

    return check


def _as_stored(ran: Ran, uid: str, data: bytes) -> bool:
    """Whether these are the bytes that were stored; their data set where the server writes its own head."""
    sent = ran.site.files[uid]
    if META in ran.lacks:
        data, sent = data[data_set_offset(data) :], sent[data_set_offset(sent) :]
    return data == sent


def brings(*paths: str, syntax: str = "") -> Check:
    """These files and no others in the folder, as they were stored; or in that transfer syntax."""

    def check(ran: Ran) -> None:
        import pydicom

        assert ran.run.code == 0, (ran.run.out, ran.run.err)
        found = {str(path.relative_to(ran.out)): path for path in ran.out.rglob("*.dcm")}
        assert sorted(found) == sorted(path.format(**WORDS) for path in paths)
        for path in found.values():
            if syntax:
                assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
            elif path.stem in ran.site.files:
                assert _as_stored(ran, path.stem, path.read_bytes())
        assert not [line for line in ran.run.lines[1:] if not line.startswith("received\t")]

    return check


def zipped(name: str, *paths: str) -> Check:
    """One zip file of these members as they were stored, and nothing else in the folder."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        assert [path.name for path in ran.out.iterdir()] == [name]
        with zipfile.ZipFile(ran.out / name) as archive:
            assert sorted(archive.namelist()) == sorted(path.format(**WORDS) for path in paths)
            for member in archive.namelist():
                assert _as_stored(ran, Path(member).stem, archive.read(member))

    return check


def frames(*numbers: int) -> Check:
    """These frames as files, each with its own pixels."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        pixels = ran.site.files[CINE[2]][-6 * 512 :]
        found = {path.name: path.read_bytes() for path in ran.out.iterdir()}
        assert found == {f"{CINE[2]}.frame{n:04}.raw": pixels[(n - 1) * 512 : n * 512] for n in numbers}

    return check


def pixels(path: str) -> Check:
    """That file holds the slice's PixelData."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        assert (ran.out / path.format(**WORDS)).read_bytes() == ran.site.files[SLICES[1]][-256 * 256 * 2 :]

    return check


def picture(name: str, form: str, side: int) -> Check:
    """A square picture of that format and size, not of one grey."""

    def check(ran: Ran) -> None:
        from PIL import Image

        assert ran.run.code == 0, ran.run.err
        with Image.open(ran.out / name) as image:
            assert (image.format, image.size) == (form, (side, side))
            levels = [level for level, count in enumerate(image.convert("L").histogram()) if count]
            assert levels[-1] - levels[0] > 100

    return check


def alike(one: str, other: str) -> Check:
    """Two pictures whose greys differ by one level at most."""

    def check(ran: Ran) -> None:
        import numpy as np
        from PIL import Image

        assert ran.run.code == 0, ran.run.err
        greys = [np.asarray(Image.open(ran.out / name).convert("L")).astype(int) for name in (one, other)]
        assert greys[0].shape == greys[1].shape
        assert abs(greys[0] - greys[1]).max() <= 1

    return check


def outcomes(**counts: int) -> Check:
    """One row for each file or instance, with so many of each outcome: `outcomes(stored=3, skipped=1)`."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, (ran.run.out, ran.run.err)
        found = [line.split("\t")[0] for line in ran.run.lines[1:]]
        assert {outcome: found.count(outcome) for outcome in found} == counts

    return check


def report(name: str, **counts: int) -> Check:
    """A report of so many lines of each outcome, and a summary that says the same with exit 0."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        *items, last = map(json.loads, (ran.out / name).read_text().splitlines())
        found = [item["outcome"] for item in items]
        assert {outcome: found.count(outcome) for outcome in found} == counts == last["summary"]
        assert last["exit"] == 0

    return check


def refuses(code: int, *words: str) -> Check:
    """That exit code; every word on stderr, or as a reason on stdout; nothing was written."""

    def check(ran: Ran) -> None:
        assert ran.run.code == code, (ran.run.out, ran.run.err)
        for word in words:
            assert word in ran.run.err + ran.run.out
        assert "Traceback" not in ran.run.err
        assert not [path for path in ran.out.rglob("*") if path.is_file()]

    return check


def keeps(uid: str, code: int, *words: str) -> Check:
    """Refused, and the server still holds this instance as it was stored."""

    def check(ran: Ran) -> None:
        refuses(code, *words)(ran)
        run = ran.site.dw("retrieve", "instance", WORDS["I"], "-o", ran.out)
        assert run.code == 0, run.err
        (path,) = ran.out.rglob("*.dcm")
        assert _as_stored(ran, uid.format(**WORDS), path.read_bytes())

    return check
