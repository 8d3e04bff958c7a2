"""The doctor before servers that cannot be started here: what it finds of their ways, and what it saves."""

import json
import tomllib
from collections.abc import Callable
from typing import Any

import pytest

from servers.dw import Dw
from servers.fake import Answer, Fake, Request
from servers.quirks import KINDS, Quirky

_PAGE = b"<!DOCTYPE html><html><title>PACS</title><div id=root></div></html>"


class Knopkem(Quirky):
    """dicomweb-pacs 1.8: a web page to whatever it does not know, stores among it; names with escapes left in."""

    def __init__(self, studies: int = 3) -> None:
        super().__init__(studies)
        for row in self.studies:
            row["00100010"]["Value"] = [{"Alphabetic": "Yamada=\x1b$B;3ED\x1b(B"}]
            row["00080090"] = {"vr": "PN", "Value": [{"Alphabetic": ""}]}

    def __call__(self, request: Request) -> Answer:
        page = Answer(200, {"Content-Type": "text/html"}, _PAGE)
        if request.method != "GET":
            return page
        answer = super().__call__(request)
        return page if answer.status == 404 else answer

    def whole(self, request: Request, study: str) -> Answer:
        return Answer(404)


class Dcmjs(Quirky):
    """dcmjs-org's dicomweb-server: rows as plain JSON, multipart with an odd head, whole files for frames."""

    content_type = "application/json"

    def __call__(self, request: Request) -> Answer:
        if request.method == "POST":
            return Answer(200, {"Content-Type": "text/plain"}, b"success")
        if request.method == "DELETE":
            return Answer(500)
        return super().__call__(request)

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        match parts:
            case ["studies", study, "metadata"] if not self.has(study):
                return Answer(500)
            case ["studies", study, "series", _, "instances", instance, "frames", "1"]:
                head = "multipart/related; application/octet-stream; boundary=b"
                return super().parts([self.file(study, instance)], head)
        return super().answer(request, parts, given)

    def parts(self, files: list[bytes], head: str = "") -> Answer:
        answer = super().parts(files, "multipart/related; type=application/dicom; boundary=b")
        assert isinstance(answer.body, bytes)
        return Answer(200, answer.headers, b"\r\n" + answer.body)


def look(server: Fake, run_dw: Dw, *options: str) -> dict[str, dict[str, Any]]:
    run = run_dw("doctor", "--url", server.url, "-f", "json", *options)
    assert run.code == 0, run.err
    return {record["check"]: record for record in json.loads(run.out)}


def differs(found: dict[str, dict[str, Any]], expected: dict[str, str]) -> None:
    for check, words in expected.items():
        assert found[check]["result"] == "differs", check
        assert words in found[check]["found"], check


def test_a_web_page_for_everything_is_no_success(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    found = look(fake_server(Knopkem(), path="/rs"), run_dw, "--write")
    differs(
        found,
        {
            "unknown path": "200 text/html",
            "study in one response": "200 text/html",
            "unknown study": "200",
            "store": "200 text/html, not stored",
            "component groups of names": (
                "empty groups are written, character set escapes remain, several in one string"
            ),
            "rendered": "200 text/html",
        },
    )
    assert found["study in one response"]["setting"] == "retrieves=instance"
    assert found["delete"]["found"] == "not tried: nothing was stored"
    assert "length of a study" not in found


def test_odd_heads_and_whole_files_for_frames_are_seen(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    found = look(fake_server(Dcmjs(), path="/rs"), run_dw, "--write")
    differs(
        found,
        {
            "search": "200 application/json",
            "multipart header of a study": "type without quotes, a line before the first boundary",
            "multipart header of frames": "no type parameter",
            "content of a frame": "a whole DICOM file",
            "unknown study": "500",
            "store": "200 text/plain, not stored",
        },
    )
    assert "frames" in found["content of a frame"]["setting"]


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("standard", {}),
        ("orthanc-0.4", {"json_type": "application/json"}),
        (
            "shanoir",
            {"paging_required": True, "relational": False, "retrieves": ["instance"], "offset_counts": "pages"},
        ),
        ("aws", {"relational": False, "retrieves": ["instance"], "single_part": True}),
    ],
)
def test_quirks_are_saved_as_settings(
    kind: str, wanted: dict[str, Any], fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    server = fake_server(KINDS[kind](3), path="/rs")
    run_dw("profile", "add", "p", server.url)
    run = run_dw("doctor", "p", "--save")
    assert run.code == 0, run.err
    for key in wanted:
        assert f"{key}: see " in run.err
    saved = tomllib.loads(run_dw.config.read_text())["profiles"]["p"]["dialect"]
    assert {key: saved.get(key) for key in wanted} == wanted
    assert len(run_dw("search", "-f", "uids").lines) == 3


def test_retrieve_url_follows_the_host_of_the_request(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    class Elsewhere(Quirky):
        def encoded(self, request: Request, rows: list[dict[str, Any]], total: int) -> Answer:
            for row in rows:
                row["00081190"] = {"vr": "UR", "Value": ["http://pacs.invalid:8042/studies/1"]}
            return super().encoded(request, rows, total)

    found = look(fake_server(Elsewhere(), path="/rs"), run_dw)
    assert found["RetrieveURL"]["found"] == "a different host than the profile's"
    assert found["Forwarded"]["found"] == "ignored"


def test_a_profile_keeps_what_it_says_of_its_own_and_loses_what_is_no_longer_true(
    fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    server = fake_server(Quirky(3), path="/rs")
    run_dw("profile", "add", "p", server.url, "--dialect", "tiny-pacs")
    text = run_dw.config.read_text().replace('dialect = "tiny-pacs"', 'dialect = { name = "tiny-pacs", page_size = 7 }')
    run_dw.config.write_text(text)
    run = run_dw("doctor", "p", "--save")
    assert run.code == 0, run.err
    saved = tomllib.loads(run_dw.config.read_text())["profiles"]["p"]["dialect"]
    assert saved["page_size"] == 7
    assert saved["wildcards"] is True and saved["counts"] is True
    assert saved["missing"] == ["bulkdata", "frames", "rendered", "thumbnail"]


class Bare(Quirky):
    """Two studies of one instance each, of these names, in an archive that has neither metadata nor includefield."""

    def __init__(self, *names: str) -> None:
        super().__init__(len(names))
        for row, name in zip(self.studies, names, strict=True):
            row["00100010"]["Value"] = [{"Alphabetic": name}]

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        return Answer(404) if parts[-1] == "metadata" else super().answer(request, parts, given)

    def series(self, study: str) -> list[dict[str, Any]]:
        return [{**row, "00201209": {"vr": "IS", "Value": [1]}} for row in super().series(study)]

    def instances(self, study: str) -> list[dict[str, Any]]:
        return super().instances(study)[:1]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("Ö^1", "CQ500-CT-310"), "supported"),
        (("Ö^1", "Ö^2", "Doe^3"), "supported"),
        (("Ö^1", "Ö^2"), "not tried"),
    ],
    ids=["the second has a fit name", "a later one has", "none has"],
)
def test_what_there_is_no_fit_sample_for_is_said_to_be_not_tried(
    names: tuple[str, ...], found: str, fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    run = run_dw("doctor", "--url", fake_server(Bare(*names)).url, "-f", "json")
    records = {record["check"]: record for record in json.loads(run.out)}
    assert records["wildcards"]["found"].startswith(found)
    assert ("not tried" in records["partial name"]["found"]) is (found == "not tried")
    assert "not tried for several" in records["length of a study"]["found"]
    assert records["length of a study"]["result"] == "note"
    assert "use dw retrieve" in records["includefield"]["consequence"]


@pytest.mark.parametrize("dialect", ["auto", "tiny-pacs"])
def test_stderr_says_what_stays_on_a_server_that_deletes_nothing(
    dialect: str, fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    class Keeping(Quirky):
        def change(self, request: Request, parts: list[str]) -> Answer:
            return Answer(200, {"Content-Type": "application/dicom+json"}, b"{}")

    run_dw("profile", "add", "p", fake_server(Keeping()).url, "--dialect", dialect)
    run = run_dw("doctor", "p", "--write")
    assert ("will remain" in run.err) is (dialect == "tiny-pacs")


def test_a_person_is_asked_before_anything_stays(fake_server: Callable[..., Fake], run_dw: Dw) -> None:
    server = fake_server(Quirky())
    run_dw("profile", "add", "p", server.url, "--dialect", "tiny-pacs")
    run = run_dw("doctor", "p", "--write", tty=100, answers={"store the synthetic studies": "n\n"})
    assert run.code == 1
    assert "nothing was stored" in run.err
    assert server.requests == []
