"""`dw metadata`: WADO-RS metadata."""

from collections.abc import Iterator
from typing import Annotated

import typer

from dwcli.commands import references
from dwcli.context import DwContext
from dwcli.dicomweb import dictionary
from dwcli.dicomweb.dicomjson import Row
from dwcli.options import takes


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("metadata")(metadata)


@takes()
def metadata(
    ctx: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(metavar="[study|series|instance] REF...", help="STUDY[/SERIES[/INSTANCE]], a URL, or -."),
    ],
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEYWORD", help="Only this attribute; repeatable. A keyword or 0010,0010."),
    ] = None,
) -> None:
    """Show the attributes of instances (WADO-RS metadata).

    Examples:

    \b
      dw metadata STUDY/SERIES/INSTANCE
      dw metadata STUDY/SERIES/INSTANCE --tag PatientName --tag PixelSpacing
      dw metadata STUDY -f jsonl | jq -r '."00200013".Value[0]'
      dw metadata STUDY/SERIES -f csv --tag InstanceNumber --tag SliceLocation
    """
    dw: DwContext = ctx.obj
    tags = [dictionary.parse_tag(name) for name in tag] if tag else None
    level, rest = references.split_level(words)

    def rows() -> Iterator[Row]:
        for ref in references.read(dw, rest, level):
            yield from dw.client.metadata(ref)

    dw.out.metadata(rows(), tags=tags)
