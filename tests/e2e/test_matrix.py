"""What a user can do, on each server: a table of commands, where every cell says what comes of it.

A cell is a check of the finished command: `prints`, `rows`, `brings`, … where it works, `refuses(code, words)` where
the server can't and the user is told so. A picture says who made it, the server or `dw` in its place.
"""

import csv
import io
import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from servers import images, wire
from servers.dw import Run
from servers.inside import Inside
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

Server = Orthanc | TinyPacs

HEAD_FILES = (59, 60, 61)  # slices of the CT, counted from 0
CINE = ("2.25.41", "2.25.42", "2.25.43")  # study, series, instance
WORDS = {
    "S": images.CRANIUM_STUDY,
    "R": f"{images.CRANIUM_STUDY}/{images.CRANIUM_SERIES}",
    "I": f"{images.CRANIUM_STUDY}/{images.CRANIUM_SERIES}/2.25.108001061",
    "CINE": "/".join(CINE),
    "SERIES": images.CRANIUM_SERIES,
}


@dataclass(frozen=True, slots=True)
class Site:
    """A server that holds three slices of the CT and one instance of six frames, and a `dw` whose profile it is.

    `files`: what was stored, by SOP Instance UID.
    """

    server: Server
    dw: Inside
    files: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished command: `out` is the folder it could write to."""

    site: Site
    run: Run
    out: Path


Check = Callable[[Ran], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One command line and what comes of it; `{S}` and the like are WORDS, `{out}` a folder."""

    line: str
    orthanc: Check
    tiny_pacs: Check
    stdin: str | None = None


# What a cell can say


def prints(*words: str, says: str = "") -> Check:
    """Exit 0; every word is on stdout, and `says` on stderr."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        for word in words:
            assert word.format(**WORDS) in ran.run.out
        assert says in ran.run.err

    return check


def rows(*firsts: str, says: str = "") -> Check:
    """Exit 0; a header, then rows that begin so (`*` for any), as many and in this order; `says` is on stderr."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        found = [line.split("\t")[0] for line in ran.run.lines[1:]]
        assert [first if want != "*" else "*" for want, first in zip(firsts, found, strict=True)] == list(firsts)
        assert says in ran.run.err
        if not says:
            assert ran.run.err == ""

    return check


def dicom_json(count: int, tag: str, value: object) -> Check:
    """Exit 0; so many DICOM JSON objects, one a line, the first of which has this value."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        found = [json.loads(line) for line in ran.run.lines]
        assert len(found) == count
        assert found[0][tag]["Value"] == [value]

    return check


def table(*columns: str, count: int) -> Check:
    """Exit 0; CSV with these columns and so many rows, without an empty cell."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        head, *found = csv.reader(io.StringIO(ran.run.out))
        assert tuple(head) == columns
        assert len(found) == count
        assert all(all(line) for line in found)

    return check


def brings(*paths: str, exactly: bool = True) -> Check:
    """Exit 0; these files and no others in the folder. `exactly`: byte for byte what was stored.

    tiny-pacs writes its own file meta information, so there only the data set counts.
    """

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        found = sorted(str(path.relative_to(ran.out)) for path in ran.out.rglob("*.dcm"))
        assert found == sorted(path.format(**WORDS) for path in paths)
        for path in found:
            data = (ran.out / path).read_bytes()
            sent = ran.site.files[Path(path).stem]
            if not exactly:
                continue
            if isinstance(ran.site.server, TinyPacs):
                data, sent = (whole[whole.index(b"\x08\x00\x05\x00CS") :] for whole in (data, sent))
            assert data == sent
        assert not [line for line in ran.run.lines[1:] if not line.startswith("received\t")]

    return check


def syntax(uid: str) -> Check:
    """Exit 0; the one file that came is in this transfer syntax."""

    def check(ran: Ran) -> None:
        import pydicom

        assert ran.run.code == 0, ran.run.err
        (path,) = (path for path in ran.out.rglob("*") if path.is_file())
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == uid

    return check


def frames(*numbers: int) -> Check:
    """Exit 0; these frames as files, each with its own pixels."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        pixels = ran.site.files["2.25.43"][-6 * 16 * 16 * 2 :]
        found = {path.name: path.read_bytes() for path in ran.out.iterdir()}
        assert found == {f"2.25.43.frame{n:04}.raw": pixels[(n - 1) * 512 : n * 512] for n in numbers}

    return check


def pixels(ran: Ran) -> None:
    """Exit 0; the file is the slice's PixelData."""
    assert ran.run.code == 0, ran.run.err
    assert (ran.out / "pixels.bin").read_bytes() == ran.site.files["2.25.108001061"][-256 * 256 * 2 :]


def picture(name: str, form: str, size: tuple[int, int], by: str) -> Check:
    """Exit 0; a picture of that format and size which is not of one grey; `by` says who made it."""

    def check(ran: Ran) -> None:
        from PIL import Image

        assert ran.run.code == 0, ran.run.err
        assert f"rendered {by}" in ran.run.err
        with Image.open(ran.out / name) as image:
            assert (image.format, image.size) == (form, size)
            levels = [level for level, count in enumerate(image.convert("L").histogram()) if count]
            assert levels[-1] - levels[0] > 100

    return check


def stored(count: int, *, skipped: int = 0) -> Check:
    """Exit 0; so many files stored, the others skipped."""

    def check(ran: Ran) -> None:
        assert ran.run.code == 0, ran.run.err
        outcomes = [line.split("\t")[0] for line in ran.run.lines[1:]]
        assert sorted(outcomes) == sorted(["stored"] * count + ["skipped"] * skipped)
        assert f"{count} stored" in ran.run.err

    return check


def refuses(code: int, *words: str) -> Check:
    """That exit code, with the words on stderr or in the reason on stdout; no file is written."""

    def check(ran: Ran) -> None:
        assert ran.run.code == code, (ran.run.out, ran.run.err)
        for word in words:
            assert word in ran.run.err + ran.run.out
        assert "Traceback" not in ran.run.err
        assert not [path for path in ran.out.rglob("*") if path.is_file()]

    return check


# The table

SLICES = [f"{{R}}/2.25.1080010{number}.dcm" for number in (60, 61, 62)]
SLICE = SLICES[1]
DATED = [f"CRANIUM1/20240315/2.25.1080010{number}.dcm" for number in (60, 61, 62)]
MATCHED_HERE = "this server knows no wildcards"
NO_METADATA = refuses(1, "this server has no metadata resource", "dw retrieve instance REF")
NO_FRAMES = refuses(1, "this server has no frames resource", "dw retrieve instance REF")
NO_BULKDATA = refuses(1, "this server has no bulkdata resource", "dw retrieve instance REF")
HERE = "here (this server has no rendered resource"

MATRIX = (
    # profiles
    Row(
        "profile add other {url} --dialect {dialect} --user alice",
        orthanc=prints(says="profile other added"),
        tiny_pacs=prints(says="profile other added"),
    ),
    Row(
        "profile test pacs",
        orthanc=prints("search\tok\tstudies can be searched"),
        tiny_pacs=prints("search\tok\tstudies can be searched"),
    ),
    # search, level by level; hierarchical, then relational
    Row("search --sort PatientID", orthanc=rows("20240315", "20240315"), tiny_pacs=rows("20240315", "20240315")),
    Row("search --patient Cran*", orthanc=rows("20240315"), tiny_pacs=rows("20240315", says=MATCHED_HERE)),
    Row("search --patient Cranium^T?st", orthanc=rows("20240315"), tiny_pacs=rows("20240315", says=MATCHED_HERE)),
    Row("search --patient Bellona* --modality CT", orthanc=rows(), tiny_pacs=rows(says=MATCHED_HERE)),
    Row("search --modality CT,OT", orthanc=rows("20240315", "20240315"), tiny_pacs=rows("20240315", "20240315")),
    Row("search --date 2024-03 PatientID=CRANIUM1", orthanc=rows("20240315"), tiny_pacs=rows("20240315")),
    Row("search 00100020=CRANIUM1", orthanc=rows("20240315"), tiny_pacs=rows("20240315")),
    Row("search --date 2025..", orthanc=rows(), tiny_pacs=rows()),
    Row("search --count", orthanc=prints("2\n"), tiny_pacs=prints("2\n")),
    Row(
        "search series --study {S} -f jsonl",
        orthanc=dicom_json(1, "0020000E", images.CRANIUM_SERIES),
        tiny_pacs=dicom_json(1, "0020000E", images.CRANIUM_SERIES),
    ),
    Row("search series --sort Modality", orthanc=rows("1", "1"), tiny_pacs=rows("1", "1")),
    Row("search series --modality OT", orthanc=rows("1"), tiny_pacs=rows("1")),
    Row(
        "search instances --study {S} --series {SERIES} --sort -InstanceNumber",
        orthanc=rows("62", "61", "60"),
        tiny_pacs=rows("62", "61", "60"),
    ),
    Row("search instances --study {S} --sort InstanceNumber", orthanc=rows("60", "61", "62"), tiny_pacs=rows(*"***")),
    Row("search instances --modality CT --count", orthanc=prints("3\n"), tiny_pacs=prints("3\n")),
    Row("search instances --count", orthanc=prints("4\n"), tiny_pacs=prints("4\n")),
    Row("search series --series {SERIES} -f uids", orthanc=prints("{SERIES}"), tiny_pacs=prints("{SERIES}")),
    Row("search -f flat PatientID=CRANIUM1", orthanc=prints("Cranium^Test"), tiny_pacs=prints("Cranium^Test")),
    Row("search PatientNam=x", orthanc=refuses(2, "did you mean PatientName"), tiny_pacs=refuses(2, "PatientName")),
    # metadata
    Row(
        "metadata {I} --tag PatientName --tag PixelSpacing", orthanc=prints("0.957031\\0.957031"), tiny_pacs=NO_METADATA
    ),
    Row("metadata {R} --tag InstanceNumber -f csv", table("SOPInstanceUID", "InstanceNumber", count=3), NO_METADATA),
    Row("metadata {S} -f jsonl", orthanc=dicom_json(3, "00100020", "CRANIUM1"), tiny_pacs=NO_METADATA),
    Row("metadata 1.2.3", orthanc=refuses(5, "(404)"), tiny_pacs=NO_METADATA),
    # retrieve
    Row("retrieve study {S} -o {out}", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES)),
    Row("retrieve series {R} -o {out}", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES)),
    Row("retrieve instance {I} -o {out}", orthanc=brings(SLICE), tiny_pacs=brings(SLICE)),
    Row(
        "retrieve series {SERIES} -o {out}",
        orthanc=brings(*SLICES),
        tiny_pacs=refuses(2, "cannot find a series by its own UID", "write STUDY/SERIES"),
    ),
    Row("retrieve {CINE} -o {out}", orthanc=brings("{CINE}.dcm"), tiny_pacs=brings("{CINE}.dcm")),
    Row("retrieve study {S} -o {out} -j 1", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES)),
    Row("retrieve study {S} -o {out} --verify", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES)),
    Row("retrieve --modality CT -o {out}", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES)),
    Row("retrieve --patient Cran* -o {out}", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES)),
    Row("retrieve study - -o {out}", orthanc=brings(*SLICES), tiny_pacs=brings(*SLICES), stdin="{S}\n{S}\n\n"),
    Row(
        "retrieve - -o {out}",
        orthanc=brings(SLICE),
        tiny_pacs=brings(SLICE),
        stdin='{{"0020000D":{{"Value":["{S}"]}},"0020000E":{{"Value":["{SERIES}"]}},"00080018":{{"Value":["2.25.108001061"]}}}}\n',
    ),
    Row(
        "retrieve study {S} -o {out} --layout {{PatientID}}/{{StudyDate}}/{{SOPInstanceUID}}.dcm",
        orthanc=brings(*DATED),
        tiny_pacs=brings(*DATED),
    ),
    Row("retrieve study {S} -o {out} --dry-run", orthanc=prints(says="would retrieve 3 of 3"), tiny_pacs=prints()),
    Row(
        "retrieve instance {I} -o {out} --wado-uri",
        orthanc=brings(SLICE),
        tiny_pacs=refuses(2, "names no WADO-URI address", "dialect.wado_uri"),
    ),
    Row(
        "retrieve instance {I} -o {out} --transfer-syntax jpeg-lossless",
        orthanc=syntax("1.2.840.10008.1.2.4.70"),
        tiny_pacs=refuses(1, "refused (406)"),
    ),
    Row(
        "retrieve instance {I} -o {out} --transfer-syntax jpeg2000-lossless",
        orthanc=refuses(1, "refused (500)"),
        tiny_pacs=refuses(1, "refused (406)"),
    ),
    Row("retrieve study 1.2.3 -o {out}", orthanc=refuses(5, "(404)"), tiny_pacs=refuses(5, "(404)")),
    Row("retrieve instance {S}/1/2 -o {out}", orthanc=refuses(5, "(404)"), tiny_pacs=refuses(5, "(404)")),
    Row("retrieve frames {CINE} 1,3-5 -o {out}", orthanc=frames(1, 3, 4, 5), tiny_pacs=NO_FRAMES),
    Row("retrieve frames {I} 2 -o {out}", orthanc=refuses(1, "refused (400)"), tiny_pacs=NO_FRAMES),
    Row("retrieve bulkdata {I} 7FE00010 -o {out}/pixels.bin", orthanc=pixels, tiny_pacs=NO_BULKDATA),
    Row("retrieve bulkdata {I} PatientID -o {out}/x", orthanc=refuses(5, "is no bulk data"), tiny_pacs=NO_BULKDATA),
    # store, after the searches that count
    Row("store {new}", orthanc=stored(3, skipped=1), tiny_pacs=stored(3, skipped=1)),
    Row("store {new} --study 2.25.9", orthanc=stored(3, skipped=1), tiny_pacs=stored(3, skipped=1)),
    Row("store {new} --verify", orthanc=stored(3, skipped=1), tiny_pacs=stored(3, skipped=1)),
    Row("store {new} --study 1.2.3", orthanc=refuses(1, "belongs to study"), tiny_pacs=refuses(1, "belongs to study")),
    Row("store {new} --dry-run", orthanc=prints(says="would send 3 instances"), tiny_pacs=prints("offered\t")),
    Row("store {known}", orthanc=stored(4), tiny_pacs=prints("present\t", says="0 stored (0 B")),
    # render
    Row(
        "render {I} -o {out}/slice.png --window 40,400 --viewport 512,512",
        orthanc=picture("slice.png", "PNG", (512, 512), "by the server"),
        tiny_pacs=picture("slice.png", "PNG", (512, 512), HERE),
    ),
    Row(
        "render {I} -o {out}/slice.jpg --quality 80",
        orthanc=picture("slice.jpg", "JPEG", (256, 256), "by the server"),
        tiny_pacs=picture("slice.jpg", "JPEG", (256, 256), HERE),
    ),
    Row(
        "render {CINE} -o {out}/frame.png --frame 3",
        orthanc=picture("frame.png", "PNG", (16, 16), "by the server"),
        tiny_pacs=picture("frame.png", "PNG", (16, 16), HERE),
    ),
    Row(
        "render {I} -o {out}/slice.png --local",
        orthanc=picture("slice.png", "PNG", (256, 256), "here (asked for with --local)"),
        tiny_pacs=picture("slice.png", "PNG", (256, 256), "here (asked for with --local)"),
    ),
    Row(
        "render {I} -o {out}/slice.png --frame 2",
        orthanc=refuses(2, "frame 2 is not there"),
        tiny_pacs=refuses(2, "frame 2 is not there"),
    ),
    Row(
        "render study {S} -o {out}/study.jpg",
        orthanc=picture("study.jpg", "JPEG", (256, 256), "by the server"),
        tiny_pacs=refuses(1, "does not render a study", "render an instance"),
    ),
    Row("render 1.2/3/4 -o {out}/x.png", orthanc=refuses(5, "(404)"), tiny_pacs=refuses(5, "(404)")),
    # request
    Row(
        'request GET /studies --param limit=1 -H "Accept: application/dicom+json"',
        orthanc=prints('"0020000D"'),
        tiny_pacs=prints('"0020000D"'),
    ),
    Row("request GET /nothing", orthanc=refuses(5, "(404)"), tiny_pacs=refuses(5, "(404)")),
    Row("request DELETE /studies/{S}", orthanc=refuses(1, "refused (405)"), tiny_pacs=refuses(1, "refused (405)")),
)


@pytest.fixture(scope="module")
def orthanc_site(
    orthanc_server: Orthanc, cranium: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    yield _site(orthanc_server, cranium, tmp_path_factory.mktemp("home"))
    orthanc_server.wipe()


@pytest.fixture(scope="module")
def tiny_pacs_site(
    tiny_pacs_server: TinyPacs, cranium: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    yield _site(tiny_pacs_server, cranium, tmp_path_factory.mktemp("home"))
    tiny_pacs_server.wipe()


def _site(server: Server, cranium: list[Path], home: Path) -> Site:
    server.wipe()
    files = {f"2.25.108001{index + 1:03}": cranium[index].read_bytes() for index in HEAD_FILES}
    files[CINE[2]] = images.instance(*CINE, frames=6)
    assert wire.stow(server.url, files.values(), headers=server.headers).status == 200
    known = home / "known"
    known.mkdir()
    for number, data in enumerate(files.values()):
        (known / f"{number}.dcm").write_bytes(data)
    dw = Inside(home)
    login = (
        ["--user", "alice", "--password-env", "SECRET"] if isinstance(server, Orthanc) else ["--token-env", "SECRET"]
    )
    run = dw("profile", "add", "pacs", server.url, "--dialect", server.dialect, *login)
    assert run.code == 0, run.err
    secret = server.password if isinstance(server, Orthanc) else server.token
    dw.environment["SECRET"] = secret or ""
    return Site(server, dw, files)


def _new(folder: Path) -> Path:
    """Three instances that no server has seen, in the study 2.25.9, and a file that is none."""
    new = folder / "new"
    new.mkdir()
    for number in (1, 2, 3):
        sop = images.uid(folder, number)
        (new / f"{number}.dcm").write_bytes(images.instance("2.25.9", "2.25.91", sop, number=number))
    (new / "notes.txt").write_text("no image")
    return new


@pytest.mark.parametrize("row", MATRIX, ids=[row.line for row in MATRIX])
@pytest.mark.parametrize("column", ["orthanc", "tiny_pacs"])
def test_matrix(column: str, row: Row, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    site: Site = request.getfixturevalue(f"{column}_site")
    out = tmp_path / "out"
    out.mkdir()
    words = {
        **WORDS,
        "out": out,
        "url": site.server.url,
        "dialect": site.server.dialect,
        "known": site.dw.home / "known",
        "new": _new(tmp_path),
    }
    stdin = row.stdin.format(**words) if row.stdin else None
    run = site.dw(*shlex.split(row.line.format(**words)), stdin=stdin)
    check: Check = getattr(row, column)
    check(Ran(site, run, out))
