"""`dw serve` as a process: this machine only, whole uploads only, a clean end; and 2 GB through both doors."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import images
from servers.dw import Dw
from servers.process import free_port
from servers.serving import Serving
from servers.wire import request, stow

ONE = images.instance("1.2.1", "1.2.1.1", "1.2.1.1.1")


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Serving]:
    """An empty archive, served."""
    with Serving(tmp_path / "serving") as server:
        yield server


def _status(port: int, sent: bytes, *, close: bool = False) -> bytes:
    """The first bytes of the answer to raw bytes; `close`: nothing more will come, which the server is told."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        sock.sendall(sent)
        if close:
            sock.shutdown(socket.SHUT_WR)
        return sock.recv(4096)


def test_it_answers_this_machine_by_its_own_names_only(serving: Serving) -> None:
    for host, status in ((b"127.0.0.1", b"204"), (b"localhost:1", b"204"), (b"evil.example", b"421")):
        head = b"GET /dicom-web/studies HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        assert _status(serving.port, head)[9:12] == status
    listening = subprocess.run(["ss", "-ltnH", f"sport = :{serving.port}"], capture_output=True, text=True, check=False)
    if listening.returncode == 0 and listening.stdout:
        assert "127.0.0.1:" in listening.stdout and "0.0.0.0" not in listening.stdout.replace("0.0.0.0:*", "")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_short_upload_stores_nothing(serving: Serving, chunked: bool) -> None:
    body = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + ONE + b"\r\n"
    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (len(body) + 7)
    head = (
        b"POST /dicom-web/studies HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n"
        b'Content-Type: multipart/related; type="application/dicom"; boundary=b\r\n\r\n'
    )
    data = b"%x\r\n%s\r\n" % (len(body), body) if chunked else body
    answer = _status(serving.port, head + data, close=True)
    assert not answer.startswith(b"HTTP/1.1 2")
    assert serving.count() == 0
    assert not list(serving.root.rglob("*.dcm")) and not list(serving.root.glob(".dw-*.tmp/*"))
    end = b"--b--\r\n"
    rest = b"%x\r\n%s\r\n0\r\n\r\n" % (len(end), end) if chunked else end
    assert _status(serving.port, head + data + rest).startswith(b"HTTP/1.1 200")
    assert serving.count() == 1


def test_paths_lead_nowhere_else(serving: Serving) -> None:
    (serving.folder / "secret.dcm").write_bytes(ONE)
    root = f"http://127.0.0.1:{serving.port}"
    for path in (
        "/dicom-web/studies/../../secret.dcm",
        "/dicom-web/studies/%2E%2E/series/%2E%2E/instances/secret",
        "/",
    ):
        assert request("GET", root + path, headers={"Accept": "*/*"}).status in (400, 404)
    assert request("GET", f"{root}/dicom-webx/studies").status == 404


def test_ctrl_c_ends_it_cleanly_and_the_log_says_what_happened(dw_process: Dw, tmp_path: Path) -> None:
    port = free_port()
    process = dw_process.start("serve", tmp_path / "a", "--port", str(port))
    assert process.stderr is not None
    ready = process.stderr.readline().decode()
    assert f"http://127.0.0.1:{port}/dicom-web" in ready
    assert stow(f"http://127.0.0.1:{port}/dicom-web", [ONE]).status == 200
    assert dw_process("serve", tmp_path / "b", "--port", str(port)).code == 2
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, b"")
    assert re.fullmatch(r"POST /dicom-web/studies 200 \d+ bytes \d+\.\d+ s\n", err.decode())


def test_read_only_and_folders_refuse_to_store(tmp_path: Path) -> None:
    with Serving(tmp_path / "one") as writable:
        stow(writable.url, [ONE])
    with Serving(tmp_path / "one", "--read-only") as server:
        assert stow(server.url, [images.instance("1.2.9")]).status == 403
        assert server.count() == 1
    folder = tmp_path / "two" / "archive"
    folder.mkdir(parents=True)
    (folder / "some file").write_bytes(ONE)
    with Serving(tmp_path / "two") as server:
        assert server.count() == 1
        assert stow(server.url, [images.instance("1.2.9")]).status == 403
        assert [path.name for path in folder.iterdir()] == ["some file"]


def test_reindex_finds_what_was_put_there_by_hand(tmp_path: Path) -> None:
    with Serving(tmp_path / "one") as server:
        stow(server.url, [ONE])
    path = tmp_path / "one/archive/1.2.9/1.2.9.1/1.2.9.1.1.dcm"
    path.parent.mkdir(parents=True)
    path.write_bytes(images.instance("1.2.9", "1.2.9.1", "1.2.9.1.1"))
    with Serving(tmp_path / "one") as server:
        assert server.count() == 1
    with Serving(tmp_path / "one", "--reindex") as server:
        assert server.count() == 2


def _peak(pid: int) -> int:
    """The most memory that a process has held, in bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1]) * 1024


# Prints the peak memory of the command that it ran.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run([sys.executable, "-m", "dwcli", *sys.argv[1:]], stdout=subprocess.DEVNULL).returncode
print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def _measured(dw: Dw, *arguments: str | Path) -> int:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, *map(str, arguments)],
        env=dw.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    code, peak = map(int, done.stdout.split())
    assert code == 0, done.stderr
    return peak


@pytest.mark.parametrize(
    "size", [200_000_000, pytest.param(2_000_000_000, marks=pytest.mark.interop)], ids=["200 MB", "2 GB"]
)
def test_an_instance_of_any_size_takes_little_memory(dw_process: Dw, tmp_path: Path, size: int) -> None:
    (file,) = images.big_study(tmp_path / "big", size)
    study = images.uid("big", size, 1, 1)
    limit = 100 << 20
    assert _measured(dw_process, "-p", "local", "store", file) < limit
    assert _measured(dw_process, "-p", "local", "retrieve", "study", study, "-o", tmp_path / "local") < limit
    (got,) = (tmp_path / "local").rglob("*.dcm")
    assert got.stat().st_size == file.stat().st_size
    got.unlink()
    (dw_process.home / "data/dw/archive" / study).rename(tmp_path / "moved")  # room on the disk
    with Serving(tmp_path / "serving", "-q") as server:
        assert _measured(dw_process, "--url", server.url, "store", file) < limit
        assert _measured(dw_process, "--url", server.url, "retrieve", "study", study, "-o", tmp_path / "served") < limit
        assert _peak(server.pid) < limit
    (got,) = (tmp_path / "served").rglob("*.dcm")
    assert got.stat().st_size == file.stat().st_size
