"""The four columns: a server that holds the same images, and a `dw` whose profile it is."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers import images, wire
from servers.inside import Inside
from servers.orthanc import Orthanc
from servers.serving import Serving
from servers.tiny_pacs import TinyPacs

SLICES = tuple(f"2.25.108001{number:03}" for number in (60, 61, 62))
CINE = ("2.25.41", "2.25.42", "2.25.43")  # study, series, instance
ELSEWHERE = ("2.25.61", "2.25.62", "2.25.63")

WORDS = {
    "S": images.CRANIUM_STUDY,
    "SERIES": images.CRANIUM_SERIES,
    "R": f"{images.CRANIUM_STUDY}/{images.CRANIUM_SERIES}",
    "SOP": SLICES[1],
    "I": f"{images.CRANIUM_STUDY}/{images.CRANIUM_SERIES}/{SLICES[1]}",
    "CINE": "/".join(CINE),
    "NEW": "2.25.9",
    "ELSEWHERE": ELSEWHERE[0],
}
"""What stands in braces in a row: the CT's study, series and an instance, by path and by UID; an instance of six
frames; a study to be stored; a study that only the profile `second` has. `{profile}`, `{dialect}`, `{out}`, `{known}`,
`{new}` and `{other}` are the column's or the test's own."""


@dataclass(frozen=True, slots=True)
class Site:
    """A server with three slices of the CT and the instance of six frames, and a `dw` that knows it as `profile`.

    `files` holds what was stored, by SOP Instance UID, and `known` the same as a folder.
    """

    name: str
    dialect: str
    profile: str
    dw: Inside
    files: dict[str, bytes]
    known: Path


def held(cranium: list[Path]) -> dict[str, bytes]:
    """What every site holds."""
    found = {path.read_bytes() for path in cranium[59:62]}
    assert len(found) == len(SLICES)
    files = {uid: cranium[int(uid[-3:]) - 1].read_bytes() for uid in SLICES}
    return files | {CINE[2]: images.instance(*CINE, frames=6)}


@contextlib.contextmanager
def orthanc(server: Orthanc, files: dict[str, bytes], home: Path) -> Iterator[Site]:
    """Orthanc, behind a password."""
    server.wipe()
    site = _site("orthanc", server, files, home, "--user", "alice", "--password-env", "SECRET")
    site.dw.environment["SECRET"] = str(server.password)
    with _filled(site):
        yield site
    server.wipe()


@contextlib.contextmanager
def tiny_pacs(server: TinyPacs, files: dict[str, bytes], home: Path) -> Iterator[Site]:
    """tiny-pacs, behind a token."""
    server.wipe()
    site = _site("tiny_pacs", server, files, home, "--token-env", "SECRET")
    site.dw.environment["SECRET"] = str(server.token)
    with _filled(site):
        yield site
    server.wipe()


@contextlib.contextmanager
def local(files: dict[str, bytes], home: Path) -> Iterator[Site]:
    """The archive in the user's data folder: the profile that needs no file."""
    dw = Inside(home)
    dw.environment["DW_PROFILE"] = "local"
    with _filled(Site("local", "archive", "local", dw, files, home / "known")) as site:
        yield site


@contextlib.contextmanager
def serve(files: dict[str, bytes], home: Path) -> Iterator[Site]:
    """`dw serve` in a process of its own."""
    with Serving(home / "serving", "-q") as server, _filled(_site("serve", server, files, home)) as site:
        yield site


def _site(name: str, server: Orthanc | TinyPacs | Serving, files: dict[str, bytes], home: Path, *login: str) -> Site:
    dw = Inside(home)
    run = dw("profile", "add", "pacs", server.url, "--dialect", server.dialect, *login)
    assert run.code == 0, run.err
    return Site(name, server.dialect, "pacs", dw, files, home / "known")


@contextlib.contextmanager
def _filled(site: Site) -> Iterator[Site]:
    """The site with its images stored, and with the profile `second`: an archive that holds one study more."""
    site.known.mkdir()
    for uid, data in site.files.items():
        (site.known / f"{uid}.dcm").write_bytes(data)
    with Serving(site.dw.home / "second", "-q") as second:
        assert wire.stow(second.url, [images.instance(*ELSEWHERE)]).status == 200
        run = site.dw("profile", "add", "second", second.url, "--dialect", "archive")
        assert run.code == 0, run.err
        run = site.dw("-p", site.profile, "store", site.known)
        assert run.code == 0, run.err
        yield site
