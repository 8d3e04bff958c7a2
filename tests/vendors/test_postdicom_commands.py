"""`dw share`, `dw folder` and `dw order` against an imitation of the service that refuses what is not documented."""

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from servers import images
from servers.dw import Dw, Run
from servers.fake import Answer, Fake, Request
from servers.postdicom import PostDicom

INSTITUTION = "11111111-2222-4333-8444-555555555555"
USER = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
SECRET = "korrektes-Pferd ß"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


@pytest.fixture
def account(postdicom: Callable[..., PostDicom]) -> PostDicom:
    """An empty account."""
    return postdicom()


def _ok(run: Run) -> Run:
    assert run.code == 0, run.err
    return run


def _order(account: PostDicom, run: Dw, *more: str) -> str:
    """A new order, by its UUID."""
    _ok(
        run(
            *("order", "create", "--institution", INSTITUTION, "--patient-name", "Doe^Jane", "--patient-id", "SYN1"),
            *("--birth-date", "1970-01-31", "--modality", "ot", *more),
        )
    )
    return list(account.state.orders)[-1]


@pytest.mark.parametrize("tty", [None, 160], ids=["pipe", "terminal"])
def test_all_sixteen_functions_of_the_guide(account: PostDicom, run_dw: Dw, tmp_path: Path, tty: int | None) -> None:
    run, state = account.profile(run_dw), account.state
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (1, 2, 3):
        (folder / f"{number}.dcm").write_bytes(
            images.instance("2.25.71", "2.25.72", f"2.25.73.{number}", number=number)
        )

    def say(*words: str | Path, stdin: str | None = None) -> str:
        done = _ok(run(*words, tty=tty, stdin=stdin))
        return done.out.replace("\r\n", "\n")

    # STOW-RS, QIDO-RS, WADO-RS
    say("store", folder)
    assert sorted(state.images) == ["2.25.73.1", "2.25.73.2", "2.25.73.3"]
    assert "SYN1" in say("search", "--patient-id", "SYN1")
    assert "2.25.72" in say("search", "series", "--study", "2.25.71")
    assert "2.25.73.2" in say("search", "instances", "--series", "2.25.72")
    say("retrieve", "series", "2.25.72", "-o", tmp_path / "out")
    came = {path.read_bytes() for path in (tmp_path / "out").rglob("*.dcm")}
    assert came == {path.read_bytes() for path in folder.iterdir()}

    # orders
    shown = say(
        *("order", "create", "--institution", INSTITUTION, "--patient-name", "Łukasz^Żółć", "--patient-id", "SYN1"),
        *("--birth-date", "1970-01-31", "--modality", "CT", "--referring-physician", "山田^太郎"),
        *("--description", 'knee "left" \\ right', "--scheduled", "2026-12-01T09:30", "--sex", "m"),
    )
    order = next(iter(state.orders))
    assert order in shown
    kept = state.orders[order]
    assert kept["PatientName"] == "Łukasz^Żółć"
    assert kept["ReferringPhysiciansName"] == "山田^太郎"
    assert kept["StudyDescription"] == 'knee "left" \\ right'
    assert kept["PatientSex"] == "M"
    found = say("order", "search", "--institution", INSTITUTION, "--modality", "CT,MR", "--birth-date", "1970..1971")
    assert "Łukasz^Żółć" in found
    assert order in found
    assert "山田^太郎" in say("order", "show", order, "--institution", INSTITUTION)
    assert "Synthetic^Test" in say("order", "tags", order, "--institution", INSTITUTION, "--tag", "PatientName")
    say("order", "assign", order, "--user", USER)
    say("order", "assign", order, "--group", INSTITUTION)
    assert (kept["user"], kept["group"]) == (USER, INSTITUTION)

    # folders
    shown = say("folder", "create", "Knee study", "--description", "MR")
    top = next(iter(state.folders))
    assert top in shown
    say("folder", "create", "Controls", "--parent", top)
    below = list(state.folders)[1]
    assert "Controls" not in say("folder", "search", "--name", "knee")
    assert below in say("folder", "list", "--parent", top)
    assert "added" in say("folder", "add", top, below, order)
    assert state.folders[top]["orders"] == state.folders[below]["orders"] == [order]
    assert order in say("folder", "search", "--name", "knee", "--orders")

    # shares
    days = {date.today()}
    link = say("share", "link", order, "--expires", "2999-12-31", "--downloadable")
    shared = say("share", "order", order, "--expires", "30d", "--view-only")
    one = say("share", "folder", top, "--title", "Second opinion", "--expires", "tomorrow")
    other = say("folder", "share", below)
    assert [link, shared, one, other] == [f"{url}\n" for url in state.shares]
    days.add(date.today())  # another one around midnight
    first, second, third, fourth = state.shares.values()
    assert (first["things"], first["expires"], first["downloadable"]) == ([order], date(2999, 12, 31), True)
    assert second["expires"] - timedelta(days=30) in days and second["downloadable"] is False
    assert third["title"] == "Second opinion" and third["expires"] - timedelta(days=1) in days
    assert (fourth["things"], fourth["expires"], fourth["password"]) == ([below], None, None)

    assert "deleted" in say("order", "delete", order, "--institution", INSTITUTION, "--yes")
    assert not state.orders


@pytest.mark.parametrize(
    ("words", "stdin"),
    [
        (["--password-stdin"], f"{SECRET}\n"),
        (["--password-env", "SHARE"], None),
        (["--password-command", f"printf '%s\\n' '{SECRET}'"], None),
    ],
)
def test_a_share_password_from_a_pipe_a_variable_or_a_command(
    account: PostDicom, run_dw: Dw, words: list[str], stdin: str | None
) -> None:
    run = account.profile(run_dw)
    order = _order(account, run)
    done = _ok(run("share", "link", order, "--expires", "7d", "-vv", *words, stdin=stdin, env={"SHARE": SECRET}))
    assert next(iter(account.state.shares.values()))["password"] == SECRET
    assert f"GET {account.url}/createsharelink" in done.err
    assert SECRET not in done.out + done.err
    assert "SharePassword" not in done.err
    assert str(account.requests[-1].header("Authorization")) not in done.err


def test_a_prompted_share_password_is_typed_twice_and_unseen(account: PostDicom, run_dw: Dw) -> None:
    run = account.profile(run_dw)
    order = _order(account, run)
    words = ("share", "order", order, "--expires", "7d", "--password-prompt")
    done = _ok(run(*words, tty=120, answers={"share: ": "geheim 1\n", "Repeat the password: ": "geheim 1\n"}))
    assert next(iter(account.state.shares.values()))["password"] == "geheim 1"
    assert "Password of the share" in done.err
    assert "geheim" not in done.out + done.err
    different = run(*words, tty=120, answers={"share: ": "geheim 1\n", "Repeat the password: ": "geheim 2\n"})
    assert different.code == 2
    assert "differ" in different.err
    assert len(account.state.shares) == 1


def test_a_prompt_without_a_terminal_is_an_error(account: PostDicom, run_dw: Dw) -> None:
    account.profile(run_dw)
    done = Dw(run_dw.home)("share", "order", INSTITUTION, "--expires", "7d", "--password-prompt")
    assert done.code == 2
    assert "--password-stdin" in done.err
    assert account.requests == []


def _echoing(request: Request) -> Answer:
    """A server that quotes in its answer, or in its complaint, all that was sent."""
    said = " ".join(value for name, value in request.headers if name.endswith("Parameters"))
    said = json.dumps(json.loads(said), ensure_ascii=True) + (request.header("Authorization") or "")
    if "folder" in request.target:
        return Answer(200, {"Content-Type": "text/plain"}, f"thanks for {SECRET} and {said}".encode())
    return Answer(400, {"X-Error-Reason": f"do not like geheim-99 in {said}"}, b"geheim-99")


@pytest.mark.parametrize(
    ("words", "password", "code"),
    [(["share", "order", INSTITUTION, "--expires", "7d"], "geheim-99", 1), (["share", "folder", USER], "geheim-98", 1)],
)
def test_a_server_that_repeats_the_password_is_not_quoted(
    fake_server: Callable[..., Fake], run_dw: Dw, words: list[str], password: str, code: int
) -> None:
    server = fake_server(_echoing)
    run_dw.config.write_text(f'default = "p"\n[profiles.p]\nurl = "{server.url}"\ndialect = "postdicom"\n')
    done = run_dw(*words, "-vv", "--password-stdin", stdin=password)
    assert done.code == code
    assert "(not shown)" in done.out + done.err
    assert password not in done.out + done.err


@pytest.mark.parametrize(
    ("body", "kind", "words", "out", "says"),
    [
        (b"", "text/plain", [], "", "its response is empty"),
        (b"Done.", "text/plain", [], "", "its response: Done."),
        (b"Done.", "text/plain", ["-f", "json"], "", "its response: Done."),
        (b'{"Result": "ok"}', "application/json", [], "", 'its response: {"Result": "ok"}'),
        (b'{"Result": "ok"}', "application/json", ["-f", "jsonl"], '{"Result":"ok"}\n', "returned no share URL"),
    ],
)
def test_a_share_without_an_address_is_no_success(
    fake_server: Callable[..., Fake], run_dw: Dw, body: bytes, kind: str, words: list[str], out: str, says: str
) -> None:
    server = fake_server(lambda _request: Answer(200, {"Content-Type": kind}, body))
    run_dw.config.write_text(f'default = "p"\n[profiles.p]\nurl = "{server.url}"\ndialect = "postdicom"\n')
    for verb in (["share", "folder", USER], ["share", "link", USER, "--expires", "7d"], ["folder", "share", USER]):
        done = run_dw(*verb, *words)
        assert (done.code, done.out) == (1, out)
        assert says in done.err
        assert "check the account" in done.err


def test_the_login_appears_nowhere(account: PostDicom, run_dw: Dw, tmp_path: Path) -> None:
    run = account.profile(run_dw)
    (tmp_path / "a.dcm").write_bytes(images.instance())
    report = tmp_path / "report.jsonl"
    runs = [
        run("store", tmp_path / "a.dcm", "--report", report, "-vv"),
        run("retrieve", "2.25.1", "-o", tmp_path / "out", "--report", tmp_path / "down.jsonl", "-vv"),
        run("folder", "list", "-vv"),
        run("profile", "show", "post", "-vv"),
    ]
    authorization = str(account.requests[0].header("Authorization"))
    said = "".join(done.out + done.err for done in runs) + report.read_text() + (tmp_path / "down.jsonl").read_text()
    assert [done.code for done in runs] == [0] * 4
    for secret in (authorization, authorization.removeprefix("Basic "), account.password):
        assert secret not in said


def test_the_reason_of_a_refusal_is_the_message(account: PostDicom, run_dw: Dw) -> None:
    done = account.profile(run_dw)("share", "folder", USER, "--expires", "7d")
    assert done.code == 1
    assert "There is no such folder" in done.err
    assert done.out == ""


def test_a_wrong_password_is_exit_4(account: PostDicom, run_dw: Dw) -> None:
    done = account.profile(run_dw)("folder", "list", env={"DW_USER": account.user, "DW_PASSWORD": "wrong"})
    assert done.code == 4
    assert "Wrong user name or password" in done.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["share", "link", USER], "--expires"),
        (["share", "link", "--expires", "7d"], "ORDER"),
        (["share", "link", USER, "--expires", "2020-01-01"], "in the past"),
        (["share", "link", USER, "--expires", "7d", "--password-stdin", "--password-env", "X"], "more than one source"),
        (["share", "link", USER, "--expires", "7d", "--password-stdin"], "password is empty"),
        (["share", "link", USER, "--expires", "7d", "--password", "x"], "--password"),
        (["share", "folder", USER, "--title", "two\nlines"], "line break"),
        (["share", "folder", USER, "--description", "long " * 2000], "too long for a header"),
        (["folder", "create", ""], "must not be empty"),
        (["folder", "create", "x", "-f", "uids"], "uids is only for searches"),
        (["folder", "add", USER], "a folder or an order is missing"),
        (["order", "assign", USER], "give either --user or --group"),
        (["order", "assign", USER, "--user", USER, "--group", USER], "give either --user or --group"),
        (["order", "search", "--institution", USER, "--modality", "MRI"], "did you mean MR"),
        (["order", "search"], "--institution"),
        (["order", "show", USER], "--institution"),
        (["order", "tags", USER, "--institution", USER, "--tag", "PatientNam"], "PatientName"),
        (["order", "delete", USER, "--institution", USER], "--yes"),
    ],
)
def test_wrong_usage_sends_nothing(account: PostDicom, run_dw: Dw, words: list[str], says: str) -> None:
    done = account.profile(run_dw)(*words, stdin="")
    assert done.code == 2
    assert says in done.err
    assert account.requests == []


def test_delete_asks_on_a_terminal(account: PostDicom, run_dw: Dw) -> None:
    run = account.profile(run_dw)
    order = _order(account, run)
    words = ("order", "delete", order, "--institution", INSTITUTION)
    no = run(*words, tty=120, stdin="n\n")
    assert no.code == 1
    assert "nothing was deleted" in no.err
    assert order in account.state.orders
    _ok(run(*words, tty=120, stdin="y\n"))
    assert order not in account.state.orders


def test_what_is_no_uuid_is_sent_with_a_remark(account: PostDicom, run_dw: Dw) -> None:
    done = account.profile(run_dw)("order", "show", "order-7", "--institution", INSTITUTION)
    assert "order-7 does not look like a UUID" in done.err
    assert INSTITUTION not in done.err
    assert account.calls == [
        ("getpatientorderproperties", {"PatientOrderInstitutionUuid": INSTITUTION, "PatientOrderUuid": "order-7"})
    ]


def test_searches_print_uuids_for_the_next_command(account: PostDicom, run_dw: Dw) -> None:
    run = account.profile(run_dw)
    orders = [_order(account, run), _order(account, run)]
    assert _ok(run("order", "search", "--institution", INSTITUTION, "-f", "uids")).lines == orders
    assert _ok(run("order", "search", "--institution", USER, "-f", "uids")).out == ""
    _ok(run("folder", "create", "Knie"))
    folders = list(account.state.folders)
    assert _ok(run("folder", "list", "-f", "uids")).lines == folders
    assert _ok(run("folder", "search", "--name", "Kn", "--orders", "-f", "uids")).lines == folders


def test_json_is_json_and_a_list_has_columns_in_a_pipe(account: PostDicom, run_dw: Dw) -> None:
    run = account.profile(run_dw)
    order = _order(account, run)
    _ok(run("folder", "create", "Knie, links"))
    folder = next(iter(account.state.folders))
    _ok(run("folder", "add", folder, order))
    listed = json.loads(_ok(run("folder", "list", "--orders", "-f", "json")).out)
    assert listed == [
        {
            "FolderUuid": folder,
            "FolderName": "Knie, links",
            "FolderDescription": "",
            "Orders": [{"PatientOrderUuid": order}],
        }
    ]
    lines = _ok(run("folder", "list", "--orders")).lines
    assert lines == [
        "FolderUuid\tFolderName\tFolderDescription\tOrders",
        f'{folder}\tKnie, links\t\t[{{"PatientOrderUuid": "{order}"}}]',
    ]
    link = _ok(run("share", "link", order, "--expires", "7d", "-f", "json"))
    assert json.loads(link.out)[0]["Result"]["ShareLink"] == next(iter(account.state.shares))
    assert json.loads(_ok(run("share", "order", order, "--expires", "7d", "-f", "json")).out) == [
        {"url": list(account.state.shares)[1]}
    ]


def test_an_empty_answer_says_on_stderr_what_was_done(account: PostDicom, run_dw: Dw) -> None:
    run = account.profile(run_dw)
    order = _order(account, run)
    done = _ok(run("order", "assign", order, "--user", USER))
    assert done.out == ""
    assert f"order {order} assigned to {USER}" in done.err


@pytest.mark.parametrize(
    ("answer", "out"),
    [
        (Answer(200, {}, b"\xef\xbb\xbfdone\r\nwell\x1b[31m\r\n"), "done\nwell\\x1b[31m\n"),
        (Answer(200, {}, b"true"), "true\n"),
        (Answer(200, {}, b'"[{\\"a\\": 1}]"'), "a\n1\n"),
        (Answer(200, {}, b'["x", "y"]'), "value\nx\ny\n"),
        (Answer(200, {}, b"{}"), ""),
    ],
)
def test_answers_of_any_shape(fake_server: Callable[..., Fake], run_dw: Dw, answer: Answer, out: str) -> None:
    server = fake_server(lambda _: answer)
    run_dw.config.write_text(f'default = "p"\n[profiles.p]\nurl = "{server.url}"\ndialect = "postdicom"\n')
    done = _ok(run_dw("folder", "create", "x"))
    assert done.out.strip() == out.strip()


def test_an_object_stands_upright_on_a_terminal_and_nothing_in_it_is_raw(
    fake_server: Callable[..., Fake], run_dw: Dw
) -> None:
    server = fake_server(lambda _: Answer(200, {}, json.dumps({"a\x1b]0;x\x07": "b\x1b[2J", "c": [1, 2]}).encode()))
    run_dw.config.write_text(f'default = "p"\n[profiles.p]\nurl = "{server.url}"\ndialect = "postdicom"\n')
    words = ("order", "show", USER, "--institution", INSTITUTION)
    shown = _ok(run_dw(*words, tty=60, env={"NO_COLOR": "1"}))
    assert [line.split() for line in shown.lines] == [
        ["key", "value"],
        ["a\\x1b]0;x\\x07", "b\\x1b[2J"],
        ["c", "[1,", "2]"],
    ]
    # A list stays a table, also with one row and within an object.
    server.handler = lambda _: Answer(200, {}, json.dumps({"Orders": [{"a\x1b": 1, "b": None}]}).encode())
    shown = _ok(run_dw(*words, tty=60, env={"NO_COLOR": "1"}))
    assert [line.split() for line in shown.lines] == [["a\\x1b", "b"], ["1"]]


@pytest.mark.parametrize(
    ("answer", "code", "says"),
    [
        (Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html>Log in</html>"), 4, "web page"),
        (Answer(200, {"X-Error-Reason": "licence is over"}, b""), 1, "licence is over"),
        (Answer(302, {"Location": "http://127.0.0.1:9/login"}, b""), 4, "redirect"),
        (Answer(403, {"X-Error-Reason": "not for this account"}, b""), 4, "not for this account"),
        (Answer(503, {"X-Error-Reason": "maintenance"}, b""), 75, "maintenance"),
    ],
)
def test_what_is_no_answer_is_an_error_and_asked_for_once(
    fake_server: Callable[..., Fake], run_dw: Dw, answer: Answer, code: int, says: str
) -> None:
    server = fake_server(lambda _: answer)
    run_dw.config.write_text(f'default = "p"\n[profiles.p]\nurl = "{server.url}"\ndialect = "postdicom"\n')
    done = run_dw("folder", "create", "x")
    assert (done.code, done.out) == (code, "")
    assert says in done.err
    assert len(server.requests) == 1


def test_a_profile_of_another_dialect_is_told_which_ones_have_it(account: PostDicom, run_dw: Dw) -> None:
    run = account.profile(run_dw)
    with run.config.open("a") as file:
        file.write(f'[profiles.pacs]\nurl = "{account.url}"\n')
        file.write(f'[profiles.other]\nurl = "{account.url}"\ndialect = {{ name = "postdicom", page_size = 5 }}\n')
    for words in (["share", "folder", USER], ["folder", "list"], ["order", "show", USER, "--institution", USER]):
        done = run("-p", "pacs", *words)
        assert done.code == 2
        assert "profile pacs is not a PostDICOM account" in done.err
        assert "post, other" in done.err
    assert account.requests == []


def test_without_such_a_profile_the_hint_is_how_to_add_one(account: PostDicom, run_dw: Dw) -> None:
    done = run_dw("folder", "list", "--url", account.url)
    assert done.code == 2
    assert "dw profile add NAME URL --dialect postdicom --user EMAIL" in done.err


def test_a_profile_is_added_as_the_issue_has_it(account: PostDicom, run_dw: Dw) -> None:
    _ok(run_dw("profile", "add", "post", account.url, "--dialect", "postdicom", "--user", account.user))
    _ok(
        run_dw("-p", "post", "folder", "create", "Knee", env={"DW_USER": account.user, "DW_PASSWORD": account.password})
    )
    assert [folder["FolderName"] for folder in account.state.folders.values()] == ["Knee"]


@pytest.mark.parametrize("group", ["share", "folder", "order"])
def test_help_opens_with_three_examples(run_dw: Dw, group: str) -> None:
    text = _ok(run_dw(group, "--help")).out
    before_commands = text[: text.index("Commands:")]
    assert len(re.findall(rf"^    dw {group} \w+ .+$", before_commands, re.MULTILINE)) == 3
