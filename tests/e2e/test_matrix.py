"""What a user can do, on each of four servers: a table of command lines, and one of what a server can't do.

A row is a line as it is typed (`&&` as in a shell), what comes of it on every server, and the ability it needs beyond
searching, retrieving and storing. What comes of it on a server without that ability stands in CANNOT, and nowhere else.
The rows run in this order on one server each; those that store come last, so that the others can count.
"""

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from matrix import sites
from matrix.checks import (
    META,
    Check,
    Ran,
    alike,
    brings,
    dicom_json,
    documents,
    exactly,
    frames,
    keeps,
    outcomes,
    picture,
    pixels,
    prints,
    refuses,
    report,
    rows,
    table,
    zipped,
)
from matrix.sites import SLICES, WORDS, Site
from servers import images
from servers.dw import Dw, Run

COLUMNS = ("orthanc", "tiny_pacs", "local", "serve")


@dataclass(frozen=True, slots=True)
class Row:
    """A command line and what comes of it. `{S}` and the like are WORDS of the sites; `says` is on stderr."""

    line: str
    check: Check
    needs: str = ""
    says: str = ""
    stdin: str | None = None


@dataclass(frozen=True, slots=True)
class Otherwise:
    """The same comes of it, since `dw` does it in another way; `words` on stderr say so, where a user should know."""

    words: str = ""


def _no(resource: str) -> Check:
    return refuses(1, f"this server has no {resource} resource", "dw retrieve ", " -o DIR")


_NO_DELETE = "this server does not delete over DICOMweb"
_FOLDER = refuses(1, _NO_DELETE, "delete its files: the archive is a folder on this disk")
_LOCAL = refuses(1, _NO_DELETE, "delete its files: they are in ")
_SYNTAX = refuses(1, "refused (406)")
_WADO_URI = refuses(2, "has no WADO-URI address", "dialect.wado_uri")
_ONE_BY_ONE = refuses(1, "does not render a study", "render an instance")

CANNOT: dict[str, dict[str, Check | Otherwise]] = {
    META: {"tiny_pacs": Otherwise()},
    "wildcards": {"tiny_pacs": Otherwise("this server does not support wildcards")},
    "counts": {"tiny_pacs": prints('"PatientID"')},
    "a search across studies": {
        "tiny_pacs": refuses(2, "by its own UID", "write STUDY/SERIES"),
    },
    "metadata": {"tiny_pacs": _no("metadata")},
    "frames": {"tiny_pacs": _no("frames")},
    "404 for a frame that is not there": {"orthanc": refuses(1, "refused (400)"), "tiny_pacs": _no("frames")},
    "bulk data": {"tiny_pacs": _no("bulkdata")},
    "rendering": {"tiny_pacs": Otherwise("rendered locally (this server has no rendered resource")},
    "rendering of a study": {"tiny_pacs": _ONE_BY_ONE, "local": _ONE_BY_ONE, "serve": _ONE_BY_ONE},
    "thumbnails": {"tiny_pacs": Otherwise("rendered locally (this server has no rendered resource")},
    "WADO-URI": {"tiny_pacs": _WADO_URI, "local": _WADO_URI, "serve": _WADO_URI},
    "conversion to JPEG Lossless": {"tiny_pacs": _SYNTAX, "local": _SYNTAX, "serve": _SYNTAX},
    "conversion to JPEG 2000": {
        "orthanc": refuses(1, "refused (500)"),
        "tiny_pacs": _SYNTAX,
        "local": _SYNTAX,
        "serve": _SYNTAX,
    },
    "storing what it has as if it were new": {
        "tiny_pacs": outcomes(present=4),
        "local": outcomes(present=4),
        "serve": outcomes(present=4),
    },
    "deletion": {
        "tiny_pacs": refuses(1, _NO_DELETE, "remove the study from its database and storage folder"),
        "local": _LOCAL,
        "serve": _FOLDER,
    },
}
"""By ability, what comes of a row on a server that lacks it; where none of the four is named, it has it."""

PATHS = tuple(f"{{R}}/{uid}.dcm" for uid in SLICES)
PATH = PATHS[1]
DATED = tuple(f"CRANIUM1/20240315/{uid}.dcm" for uid in SLICES)
BY_SERVER = "rendered by the server"
JSONL = '{{"0020000D":{{"Value":["{S}"]}},"0020000E":{{"Value":["{SERIES}"]}},"00080018":{{"Value":["{SOP}"]}}}}\n'

ROWS = (
    # a server is looked over
    Row("profile test {profile}", prints("search\tok\tstudies can be searched")),
    Row("doctor {profile}", prints("search\tok\t", "rendered\t"), says="dialect: {dialect} ("),
    # search, level by level; hierarchical, then relational
    Row("search --sort PatientID", rows("20240315", "20240315")),
    Row("search --patient Cran*", rows("20240315"), "wildcards"),
    Row("search --patient Cranium^T?st", rows("20240315"), "wildcards"),
    Row("search --patient Bellona* --modality CT", rows(), "wildcards"),
    Row("search --modality CT,OT", rows("20240315", "20240315")),
    Row("search --patient-id SYN1 --modality OT --date 2024-03 --accession ACC1", rows("20240315")),
    Row("search --date 2024-03 PatientID=CRANIUM1", rows("20240315")),
    Row("search 00100020=CRANIUM1", rows("20240315")),
    Row("search --date 2025..", rows()),
    Row("search --count", exactly("2\n")),
    Row("search --columns PatientID,StudyDate --sort -PatientID -f csv", prints("SYN1,20240315\r\nCRANIUM1,20240315")),
    Row("search -f flat PatientID=CRANIUM1", prints("Cranium^Test")),
    Row("search -f flat PatientID=CRANIUM1", prints('"NumberOfStudyRelatedInstances":3'), "counts"),
    Row("search -f xml PatientID=CRANIUM1", documents(1, "0020000D", images.CRANIUM_STUDY)),
    Row("search PatientNam=x", refuses(2, "did you mean PatientName")),
    Row("search series --study {S} -f jsonl", dicom_json(1, "0020000E", images.CRANIUM_SERIES)),
    Row("search series --sort Modality", rows("1", "1")),
    Row("search series --modality OT", rows("1")),
    Row("search series --series {SERIES} -f uids", exactly("{SERIES}\n")),
    Row("search series --study {S} -f refs", exactly("{R}\n")),
    Row("search instances --study {S} --series {SERIES} -f refs", prints("{I}\n")),
    Row("search instances --study {S} --series {SERIES} --sort -InstanceNumber", rows("62", "61", "60")),
    Row("search instances --study {S} --sort InstanceNumber", rows("60", "61", "62")),
    Row("search instances --modality CT --count", exactly("3\n")),
    Row("search instances --count", exactly("4\n")),
    Row("search instances --limit 3", rows("*", "*", "*")),
    # metadata
    Row("metadata {I} --tag PatientName --tag PixelSpacing", prints("0.957031\\0.957031"), "metadata"),
    Row("metadata {R} --tag InstanceNumber -f csv", table("SOPInstanceUID", "InstanceNumber", count=3), "metadata"),
    Row("metadata {S} -f jsonl", dicom_json(3, "00100020", "CRANIUM1"), "metadata"),
    Row("metadata {I} -f json", prints('"7FE00010"', '"BulkDataURI"'), "metadata"),
    Row("metadata {I} -f xml", documents(1, "00280010", 256), "metadata"),
    Row("metadata {I} -f json --bulkdata {out}", pixels("{SOP}/7FE00010.bin"), "metadata", "1 bulkdata file"),
    Row("metadata 1.2.3", refuses(5, "(404)"), "metadata"),
    # retrieve
    Row("retrieve study {S} -o {out}", brings(*PATHS)),
    Row("retrieve series {R} -o {out}", brings(*PATHS)),
    Row("retrieve instance {I} -o {out}", brings(PATH)),
    Row("retrieve series {SERIES} -o {out}", brings(*PATHS), "a search across studies"),
    Row("retrieve instance {SOP} -o {out}", brings(PATH), "a search across studies"),
    Row("retrieve {CINE} -o {out}", brings("{CINE}.dcm")),
    Row("retrieve study {S} -o {out} -j 1", brings(*PATHS)),
    Row("retrieve study {S} -o {out} --verify", brings(*PATHS)),
    Row("retrieve --modality CT -o {out}", brings(*PATHS)),
    Row("retrieve --patient Cran* -o {out}", brings(*PATHS), "wildcards"),
    Row("retrieve study - -o {out}", brings(*PATHS), stdin="{S}\n{S}\n\n"),
    Row("retrieve - -o {out}", brings(PATH), stdin=JSONL),
    Row("retrieve - -o {out}", brings(PATH), stdin="{I}\n"),
    Row("retrieve study {S} -o {out} --layout {{PatientID}}/{{StudyDate}}/{{SOPInstanceUID}}.dcm", brings(*DATED)),
    Row("retrieve study {S} -o {out} --dry-run", prints("{S}\t{SERIES}\t3\t0"), says="would retrieve 3 of 3 instances"),
    Row("retrieve study {S} -o {out} --report {out}/run.jsonl", report("run.jsonl", received=3)),
    Row("retrieve study {S} -o {out} -q && retrieve study {S} -o {out}", outcomes(present=3), says="3 already there"),
    Row("retrieve study {S} --zip {out}/ct.zip", zipped("ct.zip", *PATHS)),
    Row("retrieve instance {I} -o {out} --wado-uri", brings(PATH), "WADO-URI"),
    Row(
        "retrieve instance {I} -o {out} --transfer-syntax jpeg-lossless",
        brings(PATH, syntax="1.2.840.10008.1.2.4.70"),
        "conversion to JPEG Lossless",
    ),
    Row(
        "retrieve instance {I} -o {out} --transfer-syntax jpeg2000-lossless",
        brings(PATH, syntax="1.2.840.10008.1.2.4.90"),
        "conversion to JPEG 2000",
    ),
    Row("retrieve study 1.2.3 -o {out}", refuses(5, "(404)")),
    Row("retrieve instance {S}/1/2 -o {out}", refuses(5, "(404)")),
    Row("retrieve frames {CINE} 1,3-5 -o {out}", frames(1, 3, 4, 5), "frames"),
    Row("retrieve frames {I} 2 -o {out}", refuses(5, "(404)", "has 1 frames"), "404 for a frame that is not there"),
    Row("retrieve bulkdata {I} 7FE00010 -o {out}/pixels.bin", pixels("pixels.bin"), "bulk data"),
    Row(
        "retrieve bulkdata {I} PatientID -o {out}/x",
        refuses(5, "is inline in the metadata, not bulk data"),
        "bulk data",
    ),
    # a folder against the server
    Row("retrieve study {S} -o {out} -q && check study {S} {out}", outcomes(present=3), says="3 instances present"),
    Row("retrieve {R} -o {out} -q && check {R} {out} --deep", outcomes(present=3), says="3 instances identical"),
    Row("check study 1.2.3 {known}", refuses(5, "lists no series")),
    # render
    Row(
        "render {I} -o {out}/a.png --window 40,400 --viewport 512,512",
        picture("a.png", "PNG", 512),
        "rendering",
        BY_SERVER,
    ),
    Row("render {I} -o {out}/a.jpg --quality 80", picture("a.jpg", "JPEG", 256), "rendering", BY_SERVER),
    Row("render {CINE} -o {out}/a.png --frame 3", picture("a.png", "PNG", 16), "rendering", BY_SERVER),
    Row("render {I} -o {out}/a.png --local", picture("a.png", "PNG", 256), says="locally (requested with --local)"),
    Row(
        "render {I} -o {out}/a.png --window 40,400 && render {I} -o {out}/b.png --window 40,400 --local",
        alike("a.png", "b.png"),
    ),
    Row("render {I} -o {out}/a.png --frame 2", refuses(2, "frame 2 does not exist")),
    Row("render study {S} -o {out}/a.jpg", picture("a.jpg", "JPEG", 256), "rendering of a study", BY_SERVER),
    Row("render {I} --thumbnail -o {out}/a.jpg", picture("a.jpg", "JPEG", 128), "thumbnails", BY_SERVER),
    Row("render study {S} --thumbnail -o {out}/a.jpg", picture("a.jpg", "JPEG", 128), "thumbnails", BY_SERVER),
    Row("render 1.2/3/4 -o {out}/a.png", refuses(5, "(404)")),
    # request
    Row('request GET /studies --param limit=1 -H "Accept: application/dicom+json"', prints('"0020000D"')),
    Row("request GET /nothing", refuses(5, "(404)")),
    Row("request DELETE /studies/{S}", refuses(1, "refused (405)")),
    # server to server
    Row("copy study {S} --to second && -p second retrieve study {S} -o {out}", brings(*PATHS)),
    Row("copy 1.2.3 --to second", refuses(5, "(404)")),
    Row(
        "-p second copy {ELSEWHERE} --to {profile} -q && -p {profile} search --study {ELSEWHERE} -f uids",
        exactly("{ELSEWHERE}\n"),
    ),
    # store
    Row("store {new}", outcomes(stored=3, skipped=1), says="3 stored"),
    Row("store {new} --study {NEW}", outcomes(stored=3, skipped=1)),
    Row("store {new} --verify", outcomes(stored=3, skipped=1)),
    Row("store {new} --study 1.2.3", refuses(1, "belongs to study")),
    Row("store {new} --dry-run", outcomes(planned=3, skipped=1), says="would send 3 instances"),
    Row("store {new} --report {out}/run.jsonl", report("run.jsonl", stored=3, skipped=1)),
    Row(
        "store {new} --journal {out}/night.jsonl -q && store {new} --journal {out}/night.jsonl",
        outcomes(present=3, skipped=1),
        says="3 already there",
    ),
    Row("store {known}", outcomes(stored=4), "storing what it has as if it were new"),
    Row("store {other} --verify", keeps("{SOP}", 1, "conflict\t")),
    # delete
    Row("delete {NEW} --dry-run", prints("study\t{NEW}\tSynthetic^Test"), "deletion", "nothing was deleted"),
    Row("delete {NEW}", refuses(2, "--yes"), "deletion"),
    Row("delete {NEW} --yes && search --study {NEW} --count", exactly("0\n"), "deletion"),
    Row("delete {CINE} --yes && search instances --study {S} --count", exactly("3\n"), "deletion"),
)


@pytest.fixture(scope="module")
def held(cranium: list[Path]) -> dict[str, bytes]:
    return sites.held(cranium)


@pytest.fixture(scope="module")
def site(
    request: pytest.FixtureRequest, held: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The column's server, filled once for all rows."""
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as opened:
        match request.param:
            case "orthanc":
                column = sites.orthanc(request.getfixturevalue("orthanc_server"), held, home)
            case "tiny_pacs":
                column = sites.tiny_pacs(request.getfixturevalue("tiny_pacs_server"), held, home)
            case "local":
                column = sites.local(held, home)
            case _:
                column = sites.serve(held, home)
        yield opened.enter_context(column)


@pytest.mark.parametrize("row", ROWS, ids=[row.line for row in ROWS])
@pytest.mark.parametrize("site", COLUMNS, indirect=True)
def test_matrix(site: Site, row: Row, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = _run(site.dw, row, _words(site, out))
    lacks = frozenset(ability for ability, without in CANNOT.items() if site.name in without)
    ran = Ran(site, run, out, lacks)
    says = row.says.format(dialect=site.dialect)
    match CANNOT.get(row.needs, {}).get(site.name):
        case None:
            row.check(ran)
            assert says in run.err
            if row.line.startswith(("search", "metadata", "request")) and run.code == 0 and not says:
                assert run.err == ""
        case Otherwise(words):
            row.check(ran)
            assert words in run.err
        case instead:
            instead(ran)


def _words(site: Site, out: Path) -> dict[str, str]:
    """What the braces of a row stand for."""
    found = {**WORDS, "profile": site.profile, "dialect": site.dialect, "out": str(out), "known": str(site.known)}
    new, other = out.parent / "new", out.parent / "other.dcm"
    new.mkdir(exist_ok=True)
    for number in (1, 2, 3):
        sop = images.uid(out, number)
        (new / f"{number}.dcm").write_bytes(images.instance(WORDS["NEW"], "2.25.91", sop, number=number))
    (new / "notes.txt").write_text("no image")
    data = site.files[WORDS["SOP"]]
    other.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return found | {"new": str(new), "other": str(other)}


def _run(dw: Dw, row: Row, words: dict[str, str]) -> Run:
    """The last of the row's commands, or the first that failed."""
    stdin = row.stdin.format(**words) if row.stdin else None
    for line in row.line.split(" && "):
        run = dw(*(word.format(**words) for word in shlex.split(line)), stdin=stdin)
        if run.code:
            break
    return run


def test_what_a_server_cannot_do_is_needed_by_a_row() -> None:
    assert {row.needs for row in ROWS} - {""} | {META} == set(CANNOT)
    assert {name for without in CANNOT.values() for name in without} <= set(COLUMNS)


SAID_ALIKE = (
    "search",
    "search instances --study {S} -f jsonl",
    "search PatientNam=x",
    "metadata {I} -f json",
    "retrieve study {S} -o {out}",
    "retrieve study 1.2.3 -o {out}",
    "retrieve bulkdata {I} 7FE00010 -o -",
    "check study {S} {known}",
    "store {known} --dry-run",
    "render {I} -o {out}/a.png --local",
    "delete {S} --yes",
    "request GET /nothing",
    "profile list",
)


@pytest.mark.parametrize("line", SAID_ALIKE)
@pytest.mark.parametrize("site", ["local"], indirect=True)
def test_a_process_of_its_own_says_the_same(site: Site, line: str, tmp_path: Path) -> None:
    """What the table holds of `dw` in the tests' process holds of the program."""
    told = []
    dw_process = Dw(site.dw.home)
    dw_process.environment = site.dw.environment
    for dw in (site.dw, dw_process):
        (tmp_path / "out").mkdir()
        run = dw(*(word.format(**_words(site, tmp_path / "out")) for word in shlex.split(line)))
        told.append((run.code, run.raw, re.sub(r"[\d.]+ (s|MB/s|kB/s)\b", "", run.err)))
        shutil.rmtree(tmp_path / "out")
    assert told[0] == told[1]
