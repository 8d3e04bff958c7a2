"""scripts/gen_docs on a toy app: what the shells are offered, and man pages that groff takes."""

import importlib.machinery
import importlib.util
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Annotated

import pytest
import typer

ROOT = Path(__file__).resolve().parents[1]


class Colour(Enum):
    RED = "red"
    GREEN = "green"


toy = typer.Typer(name="dw", add_completion=False)
profiles = typer.Typer(help="Named servers.")
toy.add_typer(profiles, name="profile")


@toy.callback()
def _root(
    profile: Annotated[str | None, typer.Option("--profile", "-p", metavar="NAME", help="The server.")] = None,
    verbose: Annotated[int, typer.Option("-v", "--verbose", count=True, help="Print more.")] = 0,
) -> None:
    """Talk to servers."""


@toy.command()
def fetch(
    refs: Annotated[list[str], typer.Argument(metavar="[study|series] REF...", help="What's wanted, é…")],
    profile: Annotated[str | None, typer.Option("--profile", "-p", metavar="NAME")] = None,
    format: Annotated[str | None, typer.Option("--format", "-f", metavar="F", help="How.")] = None,
    colour: Annotated[Colour, typer.Option(help="A [nice] colour: one.")] = Colour.RED,
    out: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR")] = None,
    header: Annotated[list[str] | None, typer.Option("-H", metavar="'N: V'", help="A header.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only `say` it.")] = False,
    secret: Annotated[bool, typer.Option("--secret", hidden=True)] = False,
) -> None:
    """Fetch images.

    Examples:

    \b
      dw fetch study 1.2.3 -o 'out dir'
      dw fetch "a^b*" \\
        .dot

    Writes each file whole.

    Then ends.
    """


@toy.command()
def show(
    words: Annotated[list[str], typer.Argument(metavar="[study|series] REF | frames REF LIST | FILE...")],
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", help="At once.")] = 4,
    folder: Annotated[Path, typer.Option("--folder", metavar="DIR", help="Where.")] = Path("out"),
    checked: Annotated[bool, typer.Option("--checked/--unchecked", help="Look.")] = True,
    quick: Annotated[bool, typer.Option("--quick", help="Hurry.")] = False,
) -> None:
    """Show a picture."""


@toy.command()
def ask(method: Annotated[str, typer.Argument(metavar="METHOD")], path: str) -> None:
    """Ask for anything."""


@toy.command()
def send(paths: Annotated[list[Path], typer.Argument(metavar="PATH...")]) -> None:
    """Send files | folders."""


@profiles.command("use")
def use(name: str) -> None:
    """Make it the default."""


@profiles.command("add")
def add(name: str, url: str) -> None:
    """Add one."""


@pytest.fixture(scope="module")
def gen_docs() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("gen_docs", str(ROOT / "scripts" / "gen_docs"))
    spec = importlib.util.spec_from_loader("gen_docs", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gen_docs"] = module
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def files(gen_docs: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything made from the toy app, and a `dw` that knows two profiles."""
    folder = tmp_path_factory.mktemp("docs")
    readme = "# dw\n<!-- commands -->\nold\n<!-- /commands -->\nend\n"
    for name, text in gen_docs.made(
        toy, "1.0", readme, {"format": ("table", "tsv"), "method": ("GET", "POST")}
    ).items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    program = folder / "bin" / "dw"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nprintf 'name\\turl\\nhome\\thttp://h\\npacs\\thttp://p\\n'\n")
    program.chmod(0o755)
    (folder / "work" / "images").mkdir(parents=True)
    (folder / "work" / "scan.dcm").touch()
    return folder


OFFERS = [
    ("dw ", {"ask", "fetch", "send", "show", "profile"}),
    ("dw fe", {"fetch"}),
    ("dw -p pacs fe", {"fetch"}),
    ("dw -p fetch ", {"ask", "fetch", "send", "show", "profile"}),
    ("dw ask ", {"GET", "POST"}),
    ("dw ask GET ", set()),
    ("dw show ", {"study", "series", "frames", "images", "scan.dcm"}),
    ("dw show s", {"study", "series", "scan.dcm"}),
    ("dw show study ", set()),
    ("dw profile ", {"use", "add"}),
    ("dw profile use ", {"home", "pacs"}),
    ("dw profile use pa", {"pacs"}),
    ("dw profile add ", set()),
    ("dw fetch ", {"study", "series"}),
    ("dw fetch study ", set()),
    ("dw fetch --format ", {"table", "tsv"}),
    ("dw fetch 1.2 -f ts", {"tsv"}),
    ("dw fetch --format=ts", {"tsv"}),
    ("dw fetch --colour g", {"green"}),
    ("dw fetch -p ", {"home", "pacs"}),
    ("dw fetch --output ", {"images"}),
    ("dw fetch --dry", {"--dry-run"}),
    ("dw fetch --sec", set()),
    ("dw fetch --dry-run ser", {"series"}),
    ("dw send s", {"scan.dcm"}),
    ("dw send scan.dcm i", {"images"}),
]


@pytest.mark.parametrize(("line", "offered"), OFFERS)
def test_bash_offers(files: Path, line: str, offered: set[str]) -> None:
    # As readline does, "=" is a word of its own.
    words = [word for part in line.split(" ") for word in part.replace("=", " = ").split(" ")]
    script = (
        f'source {files}/completions/dw.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dw; '
        "[ ${#COMPREPLY[@]} = 0 ] || printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    run = subprocess.run(
        ["bash", "--norc", "-c", script, "bash", *words],
        capture_output=True,
        text=True,
        cwd=files / "work",
        env={"PATH": f"{files}/bin:/usr/bin:/bin"},
    )
    assert run.stderr == ""
    assert set(run.stdout.splitlines()) == offered


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_the_same(files: Path) -> None:
    script = f"source {files}/completions/dw.fish\n"
    script += "".join(f"complete -C '{line}' | string split -f1 \\t; echo //\n" for line, _ in OFFERS)
    run = subprocess.run(
        ["fish", "--no-config", "-c", script],
        capture_output=True,
        text=True,
        cwd=files / "work",
        env={"PATH": f"{files}/bin:/usr/bin:/bin", "HOME": str(files), "TERM": "dumb"},
    )
    assert run.stderr == ""
    answers = [set(block.split()) for block in run.stdout.split("//\n")][: len(OFFERS)]
    plain = [{word.removeprefix("--format=").rstrip("/") for word in answer} for answer in answers]
    assert dict(zip((line for line, _ in OFFERS), plain, strict=True)) == dict(OFFERS)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_its_file(files: Path) -> None:
    run = subprocess.run(["zsh", "-f", "-n", f"{files}/completions/_dw"], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
@pytest.mark.parametrize("page", ["dw.1", "dw-fetch.1", "dw-profile.1", "dw-send.1", "dw-show.1"])
def test_groff_takes_every_page_without_a_warning(files: Path, page: str) -> None:
    argv = ["groff", "-man", "-Tutf8", "-ww", "-P-c", str(files / "man" / page)]
    run = subprocess.run(argv, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"})
    assert (run.returncode, run.stderr) == (0, "")


def test_a_page_shows_examples_first_and_as_they_are_typed(files: Path) -> None:
    page = (files / "man" / "dw-fetch.1").read_text()
    headings = [line for line in page.splitlines() if line.startswith(".SH")]
    assert headings[:4] == ['.SH "NAME"', '.SH "SYNOPSIS"', '.SH "EXAMPLES"', '.SH "DESCRIPTION"']
    assert "dw fetch study 1.2.3 \\-o \\(aqout dir\\(aq" in page
    assert 'dw fetch "a\\(hab*" \\e\n  .dot' in page
    assert "Only \\fBsay\\fR it." in page
    assert "--secret" not in page.replace("\\-", "-")
    assert "Writes each file whole." in page


def test_a_page_tells_what_holds_by_default(files: Path) -> None:
    page = (files / "man" / "dw-show.1").read_text()
    assert "At once.\nBy default \\fB4\\fR.\n" in page
    assert "Where.\nBy default \\fBout\\fR.\n" in page
    assert "Look.\nBy default \\fB\\-\\-checked\\fR.\n" in page
    assert "Hurry.\n.SH" in page
    assert "By default \\fBred\\fR." in (files / "man" / "dw-fetch.1").read_text()


def test_exit_codes_come_from_the_program(gen_docs: ModuleType) -> None:
    from dwcli.errors import ExitCode

    assert [code for code, _ in gen_docs.exit_codes()] == [int(code) for code in ExitCode]


def test_readme_gets_the_table_between_its_markers(gen_docs: ModuleType, files: Path) -> None:
    assert (files / "README.md").read_text() == (
        "# dw\n<!-- commands -->\n"
        "| command | what it does |\n| --- | --- |\n"
        "| `dw fetch` | Fetch images |\n"
        "| `dw show` | Show a picture |\n"
        "| `dw ask` | Ask for anything |\n"
        "| `dw send` | Send files \\| folders |\n"
        "| `dw profile use\\|add` | Named servers |\n"
        "<!-- /commands -->\nend\n"
    )
    with pytest.raises(ValueError, match="README"):
        gen_docs.in_readme("no markers", "")
