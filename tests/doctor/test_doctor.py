"""The doctor before two real servers that are each other's opposite: every deviation that a client can see, by name."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from servers import images, wire
from servers.dw import Dw, Run
from servers.orthanc import Orthanc
from servers.tiny_pacs import TinyPacs

FILES = [
    images.instance(),
    images.instance(sop="2.25.4", number=2),
    images.instance("2.25.11", "2.25.12", "2.25.13", t00100020=("LO", "SECRET-ID"), t00100010=("PN", "Secret^Name")),
]

# What the facts say of Orthanc 1.10.1 with its plugin 1.7 -> the check that names it, and a word of what it found.
ORTHANC = {
    "query never percent-decoded": ("percent-encoding", "not decoded"),
    "application%2Fdicom is 400": ("WADO-URI encoding", "400"),
    "no matching beyond ASCII": ("non-ASCII characters", "cannot be sent"),
    "a raw ^ is taken": ("raw ^ in a query", "accepted"),
    "unknown keyword ignored, all returned": ("unknown keyword", "returns everything"),
    "unknown tag ignored, all returned": ("unknown tag", "returns everything"),
    "limit=0 is all": ("limit=0", "as without a limit"),
    "limit=-1 is 500": ("limit=-1", "500"),
    "limit=abc is 400": ("limit=abc", "400"),
    "limit beyond 32 bits is 400": ("limit=99999999999", "400"),
    "metadata keeps the original 00080005": ("Chinese, in GB18030: character set of metadata", "GB18030"),
    "ISO 2022 IR 13 and 87 garbled in rows": ("Japanese, in ISO 2022 IR 13 and 87: rows", "different characters"),
    "ISO 2022 IR 13 and 87 garbled in metadata": (
        "Japanese, in ISO 2022 IR 13 and 87: metadata",
        "different characters",
    ),
    "Phonetic may be empty": ("Japanese, in UTF-8: component groups of the name", "empty groups"),
    "part with a transfer syntax swallowed": (
        "part with a transfer syntax",
        "200 application/dicom+json: accepted, not stored",
    ),
    "part type in upper case swallowed": ("part type in upper case", "accepted, not stored"),
    "part type in quotes swallowed": ("part type in quotes", "accepted, not stored"),
    "part without a type swallowed": ("part without a type", "accepted, not stored"),
    "unterminated body swallowed": ("body without closing boundary", "accepted, not stored"),
    "any part failing is 400": ("one valid, one invalid part", "400"),
    "that reply has no Content-Type": ("one valid, one invalid part: store response", "without one"),
    "unparsable parts are not named": ("only an invalid part: failed instance", "not listed"),
    "wrong study UID is 409, 0110": ("store into another study", "409 no Content-Type, not stored (0110)"),
    "duplicate is 200": ("store again", "200"),
    "duplicate is not rewritten": ("same UID, other bytes", "stored; the first remains"),
    "no outer type is 415": ("request type without type=", "415"),
    "raw body is 415": ("body without multipart", "415"),
    "an empty search is 200 []": ("no match", "200 application/dicom+json []"),
    "bad Accept is 200 JSON": ("unknown Accept", "200 application/dicom+json"),
    "QIDO in XML only by the bare name": ("rows as XML", "only as bare application/dicom+xml"),
    "metadata in XML only as parts": ("metadata as XML", "by the type of the standard"),
    "else 400": ("metadata as application/dicom+xml", "400"),
    "a study of several has no length": ("length of a study", "neither"),
    "other syntaxes are 500": ("impossible transfer syntax", "500"),
    "an unknown syntax is 400": ("unknown transfer syntax", "400"),
    "transfer-syntax=* is as stored": ("instance as stored", "200"),
    "no single part, and 400 for 406": ("single part", "400"),
    "no zip, and 400 for 406": ("zip", "400"),
    "no octets, and 400 for 406": ("instance as octet-stream", "400"),
    "frames: the syntax inside the quotes": ("multipart header of frames", "inside the quotes"),
    "frame 0 is 400": ("frame 0", "400"),
    "frame 99 is 400": ("frame 999999", "400"),
    "frame abc is 400": ("frame abc", "400"),
    "gif is 400": ("rendered as GIF", "400"),
    "a study rendered is one JPEG": ("rendered study", "one image of 2"),
    "thumbnail is 404": ("thumbnail", "404"),
    "bulk data by absolute addresses": ("BulkDataURI", "absolute"),
    "bulk data in parts only": ("single-part bulkdata", "400"),
    "Range ignored": ("Range of bulkdata", "ignored (200)"),
    "WADO-URI: a JPEG called image/png": ("WADO-URI image", "JPEG labelled image/png"),
    "WADO-URI: rows ignored": ("WADO-URI rows and columns", "ignored"),
    "WADO-URI: transferSyntax ignored": ("WADO-URI transferSyntax", "ignored"),
    "WADO-URI: unknown is 404": ("WADO-URI of an unknown instance", "404"),
    "DELETE is 405 with Allow": ("DELETE of an unknown study", "405 empty, Allow: GET,POST"),
    "HEAD is 404": ("HEAD /studies", "404"),
    "OPTIONS is 404": ("OPTIONS /studies", "404"),
    "errors without Content-Type": ("body of an error", "without a Content-Type"),
    "gzip on request": ("compression", "gzip for rows"),
    "unknown study is 404": ("unknown study", "404"),
    "its series are 200 []": ("series of an unknown study", "200 application/dicom+json []"),
    "RetrieveURL follows Host": ("RetrieveURL", "on this server"),
    "RetrieveURL follows Forwarded": ("Forwarded", "follows"),
    "quotes of a quoted host stay": ("Forwarded with a quoted host", "quotes remain"),
    "X-Forwarded-* ignored": ("X-Forwarded-Host", "ignored"),
    "includefield=a%2Cb ignored silently": ("encoded comma in includefield", "ignored silently"),
    "Modality finds no study": ("Modality in a study search", "finds none"),
}

# Of tiny-pacs-dicomweb 0.1.0.
TINY_PACS = {
    "an empty search is 204": ("no match", "204"),
    "no 00081190": ("RetrieveURL", "absent"),
    "/series and /instances are 404": ("searches across studies", "not for series, instances"),
    "metadata is 404": ("metadata", "404"),
    "frames are 404": ("frames", "404"),
    "rendered is 404": ("rendered", "404"),
    "bulk data is 404": ("bulkdata", "404"),
    "one instance is a single part": ("instance with Accept: */*", "200 application/dicom"),
    "a study comes in chunks": ("length of a study", "given"),
    "the boundary is quoted": ("multipart header of a study", "boundary in quotes"),
    "406 for XML": ("rows as XML", "406"),
    "406 for zip": ("zip", "406"),
    "406 for other syntaxes": ("impossible transfer syntax", "406"),
    "duplicate is 409, 0110": ("store again", "409 application/dicom+json, not stored (0110)"),
    "any failure is 409, 0110": ("store into another study", "(0110)"),
    "empty body is 400": ("empty body", "400"),
    "raw body is 415": ("body without multipart", "415"),
    "more than 64 MiB is 413": ("large request", "67108864 bytes: 409 application/dicom+json; 67108865 bytes: 413"),
    "no wildcards": ("wildcards", "not supported (204"),
    "a part of a name matches": ("partial name", "matches"),
    "keys by tag ignored": ("attributes by tag", "returns everything"),
    "limit=0 is 1": ("limit=0", "1 row"),
    "errors are text/plain": ("body of an error", "text/plain"),
    "names are good": ("person names", "objects"),
}

# What no client can see with requests that do no harm:
# - raw UTF-8 in a query is 400: no HTTP library sends what is no URL; the check for letters says what follows
# - native TLS breaks at the first handshake, and gdcm crashes the server: there is no answer, or asking does harm
# - no 100-continue, chunked uploads are taken: dw asks for neither, as it knows every length
# - without Host RetrieveURL says localhost: HTTP/1.1 has no such request, and another Host is another server
# - JSON has \\u escapes: the same to every reader of JSON

DIFFERS_ON_ORTHANC = {
    "percent-encoding",
    "non-ASCII characters",
    "unknown keyword",
    "unknown tag",
    "encoded comma in includefield",
    "limit=0",
    "limit=-1",
    "limit=99999999999",
    "Forwarded with a quoted host",
    "unknown Accept",
    "rows as XML",
    "metadata as application/dicom+xml",
    "HEAD /studies",
    "OPTIONS /studies",
    "body of an error",
    "impossible transfer syntax",
    "unknown transfer syntax",
    "single part",
    "instance as octet-stream",
    "zip",
    "length of a study",
    "multipart header of frames",
    "rendered as GIF",
    "rendered study",
    "thumbnail",
    "single-part bulkdata",
    "WADO-URI encoding",
    "WADO-URI transferSyntax",
    "WADO-URI anonymize",
    "WADO-URI image",
    "WADO-URI rows and columns",
    "same UID, other bytes",
    "part with a transfer syntax",
    "part type in upper case",
    "part type in quotes",
    "part without a type",
    "body without closing boundary",
    "one valid, one invalid part",
    "one valid, one invalid part: failed instance",
    "one valid, one invalid part: store response",
    "only an invalid part: failed instance",
    "only an invalid part: store response",
    "empty body",
    "Japanese, in UTF-8: component groups of the name",
    "Chinese, in GB18030: character set of metadata",
    "Japanese, in ISO 2022 IR 13 and 87: rows",
    "Japanese, in ISO 2022 IR 13 and 87: metadata",
    "Japanese, in ISO 2022 IR 13 and 87: character set of metadata",
}

DIFFERS_ON_TINY_PACS = {
    "wildcards",
    "partial name",
    "attributes by tag",
    "list of UIDs",
    "unknown keyword",
    "unknown tag",
    "searches across studies",
    "instance counts of series",
    "limit=0",
    "limit=-1",
    "RetrieveURL",
    "rows as XML",
    "metadata",
    "frames",
    "rendered",
    "thumbnail",
    "bulkdata",
    "DELETE of an unknown study",
    "delete",
}


def findings(run: Run) -> dict[str, dict[str, Any]]:
    """The records by their checks, of which no two are alike."""
    records = json.loads(run.out)
    found = {record["check"]: record for record in records}
    assert len(found) == len(records)
    return found


def differing(run: Run) -> set[str]:
    return {name for name, record in findings(run).items() if record["result"] == "differs"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Dw:
    return Dw(tmp_path_factory.mktemp("doctor"))


@pytest.fixture(scope="module")
def of_orthanc(orthanc_server: Orthanc, home: Dw) -> Run:
    """What is said of Orthanc; the profile `o` has it from then on."""
    orthanc_server.wipe()
    wire.stow(orthanc_server.url, FILES, headers=orthanc_server.headers)
    home("profile", "add", "o", orthanc_server.url, "--user", "alice", "--password-env", "PW")
    run = home("doctor", "o", "--save", "--write", "--large", "-f", "json", env={"PW": "secret"})
    assert run.code == 0, run.err
    assert orthanc_server.count() == len(FILES)  # what it stored it has deleted, the large request too
    return run


@pytest.fixture(scope="module")
def of_tiny_pacs(tiny_pacs_server: TinyPacs, home: Dw) -> Run:
    tiny_pacs_server.wipe()
    wire.stow(tiny_pacs_server.url, FILES, headers=tiny_pacs_server.headers)
    home("profile", "add", "t", tiny_pacs_server.url, "--token-env", "T")
    run = home("doctor", "t", "--save", "--write", "--large", "-f", "json", env={"T": "tok123"})
    assert run.code == 0, run.err
    return run


@pytest.mark.parametrize("deviation", ORTHANC)
def test_every_deviation_of_orthanc_is_named(deviation: str, of_orthanc: Run) -> None:
    check, words = ORTHANC[deviation]
    assert words in findings(of_orthanc)[check]["found"]


@pytest.mark.parametrize("deviation", TINY_PACS)
def test_every_deviation_of_tiny_pacs_is_named(deviation: str, of_tiny_pacs: Run) -> None:
    check, words = TINY_PACS[deviation]
    assert words in findings(of_tiny_pacs)[check]["found"]


def test_nothing_else_is_said_to_differ(of_orthanc: Run, of_tiny_pacs: Run) -> None:
    assert differing(of_orthanc) == DIFFERS_ON_ORTHANC
    assert differing(of_tiny_pacs) == DIFFERS_ON_TINY_PACS


def test_what_differs_says_what_the_standard_wants_and_what_follows(of_orthanc: Run, of_tiny_pacs: Run) -> None:
    for run in (of_orthanc, of_tiny_pacs):
        for record in findings(run).values():
            if record["result"] == "differs":
                assert record["standard"] and record["found"] and record["consequence"], record
                assert record["section"] or record["check"] == "delete"


def test_no_patient_and_no_secret_is_in_it(of_orthanc: Run, of_tiny_pacs: Run) -> None:
    for run in (of_orthanc, of_tiny_pacs):
        said = run.out + run.err
        for word in ("Secret", "SECRET", "Synthetic", "SYN1", "secret", "tok123"):
            assert word not in said
        # A study that the doctor made may begin with the same digits; it is drawn anew in every run.
        assert not re.search(r"(?<![\d.])2\.25\.11(?!\d)", said)


def test_the_next_run_goes_by_what_was_saved(of_orthanc: Run, of_tiny_pacs: Run, home: Dw) -> None:
    profiles = tomllib.loads(home.config.read_text())["profiles"]
    assert (profiles["o"]["dialect"], profiles["t"]["dialect"]) == ("orthanc", "tiny-pacs")
    # A name with ^ is found, which the standard's escaping would not find there.
    again = home("search", "PatientName=Secret^Name", "-f", "uids", "-vv", env={"PW": "secret"}, cwd=home.home)
    assert again.lines == ["2.25.11"]
    assert "%5E" not in again.err
    # Series are searched study by study, as they have to be there.
    series = home("-p", "t", "search", "series", "-f", "uids", env={"T": "tok123"}).lines
    assert {"2.25.2", "2.25.12"} <= set(series)
    # And what was suggested is not suggested again.
    assert "--save" not in home("doctor", "o", env={"PW": "secret"}).err


def test_how_much_a_request_carries_is_found_to_the_byte(of_orthanc: Run, of_tiny_pacs: Run) -> None:
    assert findings(of_tiny_pacs)["large request"]["setting"] == "store_bytes=67108864"
    taken = findings(of_orthanc)["large request"]
    assert (taken["result"], taken["setting"]) == ("ok", "")
    assert "larger sizes not tried" in taken["found"]


def test_the_dialect_stands_last_with_its_reasons(of_orthanc: Run) -> None:
    last = json.loads(of_orthanc.out)[-1]
    assert (last["check"], last["result"], last["found"]) == ("dialect", "suggested", "orthanc")
    assert "unknown study" in last["consequence"]


def test_what_stays_on_a_server_that_deletes_nothing_is_named(of_tiny_pacs: Run, tiny_pacs_server: TinyPacs) -> None:
    found = findings(of_tiny_pacs)["delete"]["found"]
    rows = wire.request("GET", f"{tiny_pacs_server.url}/studies", headers=tiny_pacs_server.headers).json()
    assert "instances stored by --write remain" in of_tiny_pacs.err
    made = [row["0020000D"]["Value"][0] for row in rows if row["00100020"]["Value"][0].startswith("DW-DOCTOR-")]
    assert len(made) == 3
    assert all(uid in found for uid in made)


def test_orthanc_that_speaks_latin_1_loses_letters_and_that_is_seen(tmp_path: Path, run_dw: Dw) -> None:
    with Orthanc(tmp_path, user=None, config={"DefaultEncoding": "Latin1"}) as server:
        wire.stow(server.url, FILES)
        run = run_dw("doctor", "--url", server.url, "--write", "-f", "json")
    found = findings(run)
    assert found["character set of rows"]["found"] == "ISO_IR 100"
    assert found["Japanese, in UTF-8: rows"]["found"] == "with different characters"
    assert found["Japanese, in UTF-8: metadata"]["found"] == "as stored"


def test_orthanc_cannot_send_jpeg_2000_in_any_other_way(orthanc: Orthanc, pydicom_folder: Path, run_dw: Dw) -> None:
    wire.stow(orthanc.url, [pydicom_folder / "JPEG2000.dcm"], headers=orthanc.headers)
    found = findings(run_dw("doctor", "-f", "json", env=orthanc.environment))["default transfer syntax"]
    assert (found["result"], found["found"]) == ("differs", "500 no Content-Type")
