"""`dw retrieve`: WADO-RS and WADO-URI to files."""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dwcli.commands import references, search_options, transfer_report
from dwcli.commands.search_options import MatchOptions
from dwcli.context.run import DwContext
from dwcli.dicomweb import media, refs
from dwcli.dicomweb.refs import InstanceRef, Level, Ref
from dwcli.errors import ExitCode, UsageError
from dwcli.options import named_path, takes

if TYPE_CHECKING:
    from dwcli.jobs.item import Tally
    from dwcli.jobs.retrieve import Options, Retrieval

_GO_ON = "the same command goes on with what is missing"


@takes(MatchOptions)
def retrieve(
    ctx: typer.Context,
    match: MatchOptions,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[study|series|instance] REF... | frames REF LIST | bulkdata REF TAG",
            help="References, or - for stdin; or the search options below in their place.",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR|FILE",
            parser=named_path,
            help="The folder for instances; made if missing.",
        ),
    ] = Path(),
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            metavar="TEMPLATE",
            help="Names, e.g. '{PatientID}/{StudyDate}/{SOPInstanceUID}.dcm' (study/series/instance.dcm).",
        ),
    ] = None,
    transfer_syntax: Annotated[
        str,
        typer.Option("--transfer-syntax", metavar="NAME|UID", help="* (as stored), explicit, jpeg2000-lossless, …"),
    ] = "*",
    jobs: Annotated[int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Streams at once.")] = 4,
    zipped: Annotated[
        Path | None,
        typer.Option(
            "--zip",
            metavar="FILE",
            parser=named_path,
            help="One zip file in place of a folder: everything, or no file.",
        ),
    ] = None,
    wado_uri: Annotated[bool, typer.Option("--wado-uri", help="Fetch instances by WADO-URI.")] = False,
    anonymize: Annotated[
        bool, typer.Option("--anonymize", help="With --wado-uri: let the server take the patient out first.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Fetch and replace what is there already.")] = False,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="List every instance and compare; what cannot be verified is exit 3."),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be fetched.")] = False,
    report: Annotated[
        Path | None,
        typer.Option("--report", metavar="FILE", help="One JSON line an instance, and a summary."),
    ] = None,
    max_errors: Annotated[
        int | None, typer.Option("--max-errors", metavar="N", min=1, help="Stop after N failures.")
    ] = None,
) -> None:
    """Retrieve instances, frames or bulk data (WADO-RS).

    Every file appears whole or not at all.

    Examples:

    \b
      dw retrieve study UID -o out          # killed midway? the same line fetches what is missing
      dw search --modality CT -f uids | dw retrieve study - -o out
      dw retrieve --modality MR --date 7d -o out -j 8 --report run.jsonl
      dw retrieve study UID --zip study.zip
      dw retrieve frames STUDY/SERIES/INSTANCE 1,3-5 -o frames/
      dw retrieve bulkdata STUDY/SERIES/INSTANCE 7FE00010 -o pixels.bin
    """
    from dwcli.files.index import NAME as INDEX
    from dwcli.files.layout import Layout
    from dwcli.files.sink import Sink
    from dwcli.jobs import anonymous
    from dwcli.jobs.item import Tally
    from dwcli.jobs.retrieve import Options, Retrieval

    dw: DwContext = ctx.obj
    log = transfer_report.begin(dw, report)
    syntax = media.parse_transfer_syntax(transfer_syntax)
    if words and words[0] in ("frames", "bulkdata"):
        if match.given:
            raise UsageError("frames and bulkdata are asked for by reference", f"dw retrieve {words[0]} REF …")
        if report or dry_run or layout or zipped or wado_uri:
            accepted = "only -o, --transfer-syntax and --verify"
            raise UsageError(f"{words[0]} accepts {accepted}", "leave out the others")
        from dwcli.commands import retrieve_parts

        out = None if output == Path() else output
        if words[0] == "frames":
            retrieve_parts.frames(dw, words[1:], out, "" if syntax == "*" else syntax, verify=verify)
        else:
            retrieve_parts.bulkdata(dw, words[1:], out, verify=verify)
        return
    asked = _asked(dw, list(words or []), match, wado_uri=wado_uri)
    options = Options(syntax, jobs, verify, wado_uri, max_errors)
    if anonymize and not wado_uri:
        raise UsageError("only WADO-URI knows anonymize", "dw retrieve instance REF --wado-uri --anonymize")
    if anonymize and (zipped or dry_run or verify):
        raise UsageError("--anonymize goes with neither --zip, --dry-run nor --verify", "the instances get other UIDs")
    if zipped is not None:
        if zipped == Path("-"):
            raise UsageError("a zip appears whole, under a name: it cannot go to stdout", "--zip study.zip")
        if output != Path() or layout or dry_run or overwrite:
            raise UsageError("--zip makes one file, without a folder", "dw retrieve study UID --zip study.zip")
        _zip(dw, asked, zipped, options, log)
        return
    if not layout and (output / INDEX).exists():
        dw.out.warn(f"{output} was filled with another --layout: what is there under its names is not looked at")
    with Sink(output, Layout(layout) if layout else Layout(), overwrite=overwrite) as sink:
        if dry_run:
            _plan(dw, Retrieval(dw.patient_client, sink, options), asked)
            return
        tally = Tally()
        with dw.out.progress("retrieving") as progress:
            if anonymize:
                one_by_one = (ref for ref in asked if isinstance(ref, InstanceRef))
                found = anonymous.retrieve(dw.patient_client, one_by_one, sink, syntax, on_bytes=progress.add)
            else:
                job = Retrieval(dw.patient_client, sink, options, on_bytes=progress.add, on_expect=progress.expect)
                found = job.run(asked)
            items = transfer_report.ticked(found, progress.item)
            seconds = transfer_report.show(dw, items, tally, log, go_on=_GO_ON)
    dw.out.info(_summary(tally, output, seconds))
    dw.finish(tally.code)


def _zip(dw: DwContext, asked: Iterator[Ref], target: Path, options: "Options", log: transfer_report.Report) -> None:
    from dwcli.jobs import zipped
    from dwcli.jobs.item import Tally

    tally = Tally()
    with dw.out.progress("retrieving") as progress:
        items = zipped.retrieve(
            dw.patient_client,
            asked,
            target,
            options,
            on_bytes=progress.add,
            on_expect=progress.expect,
            on_item=progress.item,
        )
        seconds = transfer_report.show(dw, items, tally, log)
    dw.out.info(_summary(tally, target, seconds))
    dw.finish(tally.code)


def _asked(dw: DwContext, words: list[str], match: MatchOptions, *, wado_uri: bool) -> Iterator[Ref]:
    """The references of the words, or those that the search options find."""
    level, rest = references.split_level(words)
    if rest:
        if match.given:
            raise UsageError("references and search options together", "give one of the two")
        if wado_uri and level not in (None, Level.INSTANCE):
            raise UsageError(
                "--wado-uri fetches single instances", "dw retrieve instance STUDY/SERIES/INSTANCE --wado-uri"
            )
        for ref in references.read(dw, rest, level):
            if wado_uri and ref.level is not Level.INSTANCE:
                raise UsageError("--wado-uri fetches single instances", "write STUDY/SERIES/INSTANCE")
            yield ref
        return
    if not match.given:
        raise UsageError("nothing to retrieve was named", "dw retrieve study UID -o out   (or --patient …, or -)")
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
    """`--dry-run`: the series, how many instances they have, and how many are here."""
    sums = transfer_report.show_plans(dw, job.plan(asked))
    words = []
    if sums["series"] or not sums["unknown"]:
        words.append(f"{sums['to come']} of {sums['instances']} instances in {sums['series']} series")
    if sums["unknown"]:
        words.append(f"what {sums['unknown']} references hold that the server does not list")
    dw.out.info(f"would retrieve {' and '.join(words)}; nothing was fetched")


def _summary(tally: "Tally", output: Path, seconds: float) -> str:
    came = tally.count("received", "replaced", "stranger")
    if not tally.outcomes:
        return "nothing was found or named to retrieve"
    words = [f"{came} retrieved ({transfer_report.speed(tally, seconds)})"]
    words += transfer_report.counts(
        tally,
        present="already there",
        stranger="not asked for but kept",
        conflict="in conflict",
        failed="failed",
        unverified="not verified",
    )
    if ExitCode.TEMPORARY in tally.codes:
        words.append(_GO_ON)
    return f"{output}: {', '.join(words)}"
