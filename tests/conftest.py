"""Fixtures shared by every room: real servers, faults, images, and `dw` itself."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from dwcli.archive.app import open_archive, open_folder
from servers import images
from servers.archive import Asker, Open
from servers.certificates import Certificates
from servers.dw import Dw
from servers.fake import Fake, Handler
from servers.faults import Chooser, Faults, Pass, Rule
from servers.images import cranium as write_cranium
from servers.inside import Inside
from servers.orthanc import Orthanc
from servers.postdicom import PostDicom
from servers.tiny_pacs import TinyPacs

pytest.register_assert_rewrite("matrix.checks")

# Two processes test at once: how long an example takes says nothing about the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session")
def orthanc_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    """One Orthanc for the whole run; tests take `orthanc`, which empties it."""
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as server:
        yield server


@pytest.fixture
def orthanc(orthanc_server: Orthanc) -> Orthanc:
    """An empty Orthanc."""
    orthanc_server.wipe()
    return orthanc_server


@pytest.fixture(scope="session")
def tiny_pacs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyPacs]:
    """One tiny-pacs for the whole run; tests take `tiny_pacs`, which empties it."""
    with TinyPacs(tmp_path_factory.mktemp("tiny-pacs")) as server:
        yield server


@pytest.fixture
def tiny_pacs(tiny_pacs_server: TinyPacs) -> TinyPacs:
    """An empty tiny-pacs."""
    tiny_pacs_server.wipe()
    return tiny_pacs_server


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """PEM files of an authority of the tests' own."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def cranium(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The files of the real CT in order, written once for the whole run: read only."""
    return write_cranium(tmp_path_factory.mktemp("cranium"))


@pytest.fixture
def faults() -> Iterator[Callable[..., Faults]]:
    """`faults(upstream_url, rule=Pass())`: a fault proxy in front of a server, closed after the test."""
    with contextlib.ExitStack() as opened:

        def make(upstream: str, rule: Rule | Chooser = Pass()) -> Faults:
            return opened.enter_context(Faults(upstream, rule))

        yield make


@pytest.fixture
def fake_server() -> Iterator[Callable[..., Fake]]:
    """`fake_server(handler, **options of Fake)`: a scripted server, closed after the test."""
    with contextlib.ExitStack() as opened:

        def make(handler: Handler, **options: object) -> Fake:
            return opened.enter_context(Fake(handler, **options))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def postdicom() -> Iterator[Callable[..., PostDicom]]:
    """`postdicom(**options of PostDicom)`: an imitated PostDICOM account, closed after the test."""
    with contextlib.ExitStack() as opened:

        def make(**options: object) -> PostDicom:
            return opened.enter_context(PostDicom(**options))  # type: ignore[arg-type]

        yield make


@pytest.fixture
def run_dw(tmp_path: Path) -> Dw:
    """`run_dw("search", "--limit", "1")` runs the command in an isolated home and returns a `Run`.

    In the tests' own process, but on a terminal and by `start`; where a process matters, take `dw_process`.
    """
    return Inside(tmp_path / "home")


@pytest.fixture
def dw_process(tmp_path: Path) -> Dw:
    """`run_dw` with a process for each command, as a user has it: start-up, streams and the end are true."""
    return Dw(tmp_path / "home")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """`opened(name="a", folder=False, read_only=False)`: an archive below tmp_path, or any folder there."""
    with contextlib.ExitStack() as stack:

        def make(name: str = "a", *, folder: bool = False, read_only: bool = False) -> Asker:
            root = tmp_path / name
            if folder:
                archive = open_folder(root, tmp_path / f"{name}.sqlite")
            else:
                archive = open_archive(root, read_only=read_only)
            stack.callback(archive.close)
            return Asker(archive)

        yield make


@pytest.fixture
def archive(opened: Open) -> Asker:
    """An empty archive, asked in process."""
    return opened()


@pytest.fixture(scope="session")
def pydicom_folder() -> Path:
    """pydicom's own test files."""
    return next(path for path in images.pydicom_files() if path.name == "CT_small.dcm").parent
