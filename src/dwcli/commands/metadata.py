"""`dw metadata`: WADO-RS metadata."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dwcli.commands import references
from dwcli.commands.search_options import whole
from dwcli.context.run import DwContext
from dwcli.dicomweb import dictionary, refs
from dwcli.dicomweb.dicomjson import Row
from dwcli.dicomweb.refs import Ref
from dwcli.errors import combine
from dwcli.options import named_path, takes

if TYPE_CHECKING:
    from dwcli.jobs.metadata import Describing


@takes()
def metadata(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[study|series|instance] REF...", help="STUDY[/SERIES[/INSTANCE]], a URL, or - (stdin)."
        ),
    ],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEYWORD", help="Show only this attribute (keyword or 0010,0010); repeatable."),
    ] = None,
    bulkdata: Annotated[
        Path | None,
        typer.Option(
            "--bulkdata",
            metavar="DIR",
            parser=named_path,
            help="Retrieve bulkdata too, and show file names instead of URIs.",
        ),
    ] = None,
) -> None:
    """Show the attributes of instances (WADO-RS metadata).

    Examples:

    \b
      dw metadata STUDY/SERIES/INSTANCE
      dw metadata STUDY/SERIES/INSTANCE --tag PatientName --tag PixelSpacing
      dw metadata STUDY -f jsonl | jq -r '."00200013".Value[0]'
      dw metadata STUDY/SERIES -f csv --tag InstanceNumber --tag SliceLocation
      dw metadata STUDY/SERIES/INSTANCE -f json --bulkdata bulk/
    """
    from dwcli.jobs.metadata import Describing

    dw: DwContext = ctx.obj
    tags = [dictionary.parse_tag(name) for name in tag] if tag else None
    level, rest = references.split_level(words)
    if dw.out.format == "xml":
        dw.client.prefer_xml()
    asked = references.read(dw, rest, level)
    job = Describing(dw.client, on_error=dw.out.error)
    if bulkdata is not None:
        _with_bulk_data(dw, job, asked, bulkdata, tags)
        return
    dw.out.metadata((row for _, row in whole(job.rows(asked))), tags=tags)
    dw.finish(combine(job.codes, succeeded=job.shown > 0))


def _with_bulk_data(
    dw: DwContext, job: "Describing", asked: Iterator[Ref], folder: Path, tags: list[str] | None
) -> None:
    from dwcli.jobs.metadata import Fetching

    with (
        dw.out.progress("fetching") as progress,
        Fetching(dw.client, folder, on_bytes=progress.add, on_error=dw.out.failed, on_doubt=dw.out.warn) as bulk,
    ):
        rows = (bulk.row(ref, _only(row, tags), whole=row) for ref, row in whole(job.rows(asked)))
        dw.out.metadata(rows, tags=tags)
    words = [f"{bulk.files} bulkdata file{'s' * (bulk.files != 1)}"] if bulk.files else []
    words += [f"{len(bulk.codes)} failed"] if bulk.codes else []
    dw.out.info(f"{folder}: {', '.join(words) or 'no bulkdata among the requested attributes'}")
    dw.finish(combine([*job.codes, *bulk.codes], succeeded=bulk.files > 0 or job.shown > 0))


def _only(row: Row, tags: list[str] | None) -> Row:
    """Keep only the attributes to show, so that nothing else is retrieved."""
    kept = None if tags is None else {*tags, refs.INSTANCE_UID}
    return row if kept is None else {tag: element for tag, element in row.items() if tag in kept}
