"""`dw retrieve`: WADO-RS and WADO-URI to files."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from dwcli.commands import references, search_options, transfer_report
from dwcli.commands.search_options import MatchOptions
from dwcli.context.run import DwContext
from dwcli.dicomweb import media, refs
from dwcli.dicomweb.refs import InstanceRef, Level, Ref
from dwcli.errors import ExitCode, UsageError
from dwcli.options import named_path, takes, typed

if TYPE_CHECKING:
    from dwcli.jobs.result import Tally
    from dwcli.jobs.retrieve import Options, Retrieval

# The options that frames and bulkdata accept, by parameter.
_PARTS = {
    "frames": {"output": "-o", "transfer_syntax": "--transfer-syntax", "verify": "--verify"},
    "bulkdata": {"output": "-o", "verify": "--verify"},
}
_GO_ON = "run the same command again to retrieve what is missing"


class RetrieveOptions(NamedTuple):
    """Where to write the instances, and how to retrieve them."""

    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE",
            parser=named_path,
            help="Where to write instances; created if missing.",
        ),
    ] = Path()
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="TEMPLATE",
            help="File names, e.g. '{PatientID}/{StudyDate}/{SOPInstanceUID}.dcm' (study/series/instance.dcm).",
        ),
    ] = None
    transfer_syntax: Annotated[
        str,
        typer.Option("--transfer-syntax", metavar="NAME|UID", help="* (as stored), explicit, jpeg2000-lossless, …"),
    ] = "*"
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Concurrent transfers.")] = 4
    zipped: Annotated[
        Path | None,
        typer.Option(
            "--zip",
            metavar="FILE",
            parser=named_path,
            help="Write one zip file instead of a folder: everything, or no file.",
        ),
    ] = None
    wado_uri: Annotated[bool, typer.Option("--wado-uri", help="Retrieve instances by WADO-URI.")] = False
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="With --wado-uri: ask the server to de-identify (anonymize=yes).")
    ] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Retrieve existing files again and replace them.")] = (
        False
    )
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare with the server's list of instances; exit 3 if that is impossible."),
    ] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be retrieved, and retrieve nothing.")] = (
        False
    )
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="Write one JSON line per instance, then a summary."),
    ] = None
    max_errors: Annotated[
        int | None, typer.Option("--max-errors", metavar="N", min=1, help="Stop after N failures.")
    ] = None


@takes(RetrieveOptions, MatchOptions)
def retrieve(
    ctx: typer.Context,
    how: RetrieveOptions,
    match: MatchOptions,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[study|series|instance] REF... | frames REF LIST | bulkdata REF TAG",
            help="References, or - for stdin; or use the search options below instead.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Retrieve instances, frames or bulkdata (WADO-RS).

    Every file appears complete or not at all.

    Examples:

    \b
      dw retrieve study UID -o out          # interrupted? run it again to resume
      dw search --modality CT -f uids | dw retrieve study - -o out
      dw retrieve --modality MR --date 7d -o out -j 8 --report run.jsonl
      dw retrieve study UID --zip study.zip
      dw retrieve frames STUDY/SERIES/INSTANCE 1,3-5 -o frames/
      dw retrieve bulkdata STUDY/SERIES/INSTANCE 7FE00010 -o pixels.bin
    """
    dw: DwContext = ctx.obj
    log = transfer_report.begin(dw, how.report)
    what, *rest = words or [""]
    if what in _PARTS:
        from dwcli.commands import retrieve_parts

        _only(what, typed(ctx))
        syntax = media.parse_transfer_syntax(how.transfer_syntax)
        folder = None if how.output == Path() else how.output
        if what == "frames":
            retrieve_parts.frames(dw, rest, folder, "" if syntax == "*" else syntax, verify=how.verify)
        else:
            retrieve_parts.bulkdata(dw, rest, folder, verify=how.verify)
        return
    _agree(how)
    asked = _asked(dw, words or [], match, wado_uri=how.wado_uri)
    if how.zipped is not None:
        _to_zip(dw, asked, how.zipped, how, log)
    else:
        _to_folder(dw, asked, how, log)


def _only(what: str, given: Mapping[str, str]) -> None:
    """Refuse options that frames or bulkdata would ignore. Raises UsageError."""
    taken = _PARTS[what]
    if others := [option for name, option in given.items() if name not in taken]:
        *before, last = taken.values()
        raise UsageError(
            f"{what} does not accept {', '.join(others)}", f"it accepts only {', '.join(before)} and {last}"
        )


def _agree(how: RetrieveOptions) -> None:
    """Refuse options that exclude each other. Raises UsageError."""
    if how.anonymize and not how.wado_uri:
        raise UsageError("--anonymize requires --wado-uri", "dw retrieve instance REF --wado-uri --anonymize")
    if how.anonymize and (how.zipped or how.dry_run or how.verify):
        raise UsageError("--anonymize changes UIDs: it excludes --zip, --dry-run and --verify", "leave these out")
    if how.zipped == Path("-"):
        raise UsageError("--zip cannot write to stdout", "--zip study.zip")
    if how.zipped and (how.output != Path() or how.layout or how.dry_run or how.overwrite):
        raise UsageError(
            "--zip excludes --output, --layout, --dry-run and --overwrite", "dw retrieve study UID --zip study.zip"
        )


def _options(how: RetrieveOptions) -> "Options":
    from dwcli.jobs.retrieve import Options

    syntax = media.parse_transfer_syntax(how.transfer_syntax)
    return Options(syntax, how.jobs, how.verify, how.wado_uri, how.max_errors)


def _to_folder(dw: DwContext, asked: Iterator[Ref], how: RetrieveOptions, log: transfer_report.Report) -> None:
    from dwcli.files.index import NAME as INDEX
    from dwcli.files.layout import Layout
    from dwcli.files.sink import Sink
    from dwcli.jobs import anonymize
    from dwcli.jobs.result import Tally
    from dwcli.jobs.retrieve import Retrieval

    options = _options(how)
    if not how.layout and (how.output / INDEX).exists():
        dw.out.warn(f"{how.output} was filled with another --layout; files with its names are ignored")
    with Sink(how.output, Layout(how.layout) if how.layout else Layout(), overwrite=how.overwrite) as sink:
        if how.dry_run:
            _plan(dw, Retrieval(dw.transfer_client, sink, options), asked)
            return
        tally = Tally()
        with dw.out.progress("retrieving") as progress:
            if how.anonymize:
                one_by_one = (ref for ref in asked if isinstance(ref, InstanceRef))
                found = anonymize.retrieve(
                    dw.transfer_client, one_by_one, sink, options.transfer_syntax, on_bytes=progress.add
                )
            else:
                job = Retrieval(dw.transfer_client, sink, options, on_bytes=progress.add, on_expect=progress.expect)
                found = job.run(asked)
            items = transfer_report.ticked(found, progress.item)
            seconds = transfer_report.show(dw, items, tally, log, go_on=_GO_ON)
    dw.out.info(_summary(tally, how.output, seconds))
    dw.finish(tally.code)


def _to_zip(
    dw: DwContext, asked: Iterator[Ref], target: Path, how: RetrieveOptions, log: transfer_report.Report
) -> None:
    from dwcli.jobs import zip_file
    from dwcli.jobs.result import Tally

    tally = Tally()
    with dw.out.progress("retrieving") as progress:
        items = zip_file.retrieve(
            dw.transfer_client,
            asked,
            target,
            _options(how),
            on_bytes=progress.add,
            on_expect=progress.expect,
            on_item=progress.item,
        )
        seconds = transfer_report.show(dw, items, tally, log)
    dw.out.info(_summary(tally, target, seconds))
    dw.finish(tally.code)


def _asked(dw: DwContext, words: list[str], match: MatchOptions, *, wado_uri: bool) -> Iterator[Ref]:
    """Yield the references of the words, or those that the search options find."""
    level, rest = references.split_level(words)
    if rest:
        if match.given:
            raise UsageError("references and search options exclude each other", "give only one of them")
        if wado_uri and level not in (None, Level.INSTANCE):
            raise UsageError(
                "--wado-uri retrieves single instances only", "dw retrieve instance STUDY/SERIES/INSTANCE --wado-uri"
            )
        for ref in references.read(dw, rest, level):
            if wado_uri and ref.level is not Level.INSTANCE:
                raise UsageError("--wado-uri retrieves single instances only", "write STUDY/SERIES/INSTANCE")
            yield ref
        return
    if not match.given:
        raise UsageError("no reference or filter given", "dw retrieve study UID -o out   (or --patient …, or -)")
    wanted = level or Level.STUDY
    seen: set[Ref] = set()
    references.tell(dw, (*(match.study or ()), *(match.series or ())))
    for query, row in islice(search_options.rows(dw, search_options.build(wanted, match)), match.limit):
        known = {refs.STUDY_UID: query.study, refs.SERIES_UID: query.series}
        upper = {tag: {"Value": [uid]} for tag, uid in known.items() if uid}
        ref = refs.from_row({**upper, **row}, wanted)
        if ref not in seen:
            seen.add(ref)
            yield ref


def _plan(dw: DwContext, job: "Retrieval", asked: Iterable[Ref]) -> None:
    """Show the plan (`--dry-run`): series, their instances, and how many are present locally."""
    sums = transfer_report.show_plans(dw, job.plan(asked))
    words = []
    if sums["series"] or not sums["unknown"]:
        words.append(f"{sums['to come']} of {sums['instances']} instances in {sums['series']} series")
    if sums["unknown"]:
        words.append(f"the instances of {sums['unknown']} references that the server does not list")
    dw.out.info(f"would retrieve {' and '.join(words)}; nothing was retrieved")


def _summary(tally: "Tally", output: Path, seconds: float) -> str:
    came = tally.count("received", "replaced", "unexpected", "warned")
    if not tally.outcomes:
        return "nothing to retrieve: no references and no matches"
    words = [f"{came} retrieved ({transfer_report.speed(tally, seconds)})"]
    words += transfer_report.counts(
        tally,
        present="already there",
        unexpected="not requested but kept",
        warned="of these truncated on the server",
        conflict="in conflict",
        failed="failed",
        unverified="not verified",
    )
    if ExitCode.TEMPORARY in tally.codes:
        words.append(_GO_ON)
    return f"{output}: {', '.join(words)}"
