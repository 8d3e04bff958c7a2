"""`dw order`: patient orders."""

import sys
from datetime import date
from typing import Annotated

import typer

from dwcli.context.run import DwContext
from dwcli.errors import DwError, UsageError
from dwcli.help import App
from dwcli.options import takes
from dwcli.vendors.postdicom import api, calls, inputs

app = App(
    help="""Create, find and assign PostDICOM orders.

    Examples:

    \b
      dw order create --institution I --patient-name "Doe^Jane" --patient-id 42 --birth-date 1970-01-31 --modality CT
      dw order search --institution I --modality CT,MR --date 2026-01..2026-03
      dw order assign ORDER --group G
    """
)

_Order = Annotated[str, typer.Argument(metavar="ORDER", help="The order's UUID.")]
_Institution = Annotated[str, typer.Option("--institution", metavar="I", help="The institution's UUID.")]
_OtherId = Annotated[str | None, typer.Option("--other-patient-id", metavar="ID", help="Another patient ID.")]


@app.command("create")
@takes()
def create(
    ctx: typer.Context,
    institution: _Institution,
    patient_name: Annotated[str, typer.Option("--patient-name", metavar="NAME", help="In DICOM format: Doe^Jane.")],
    patient_id: Annotated[str, typer.Option("--patient-id", metavar="ID", help="The patient ID.")],
    birth_date: Annotated[str, typer.Option("--birth-date", metavar="DATE", help="1970-01-31.")],
    modality: Annotated[str, typer.Option("--modality", metavar="CT", help="One modality.")],
    other_patient_id: _OtherId = None,
    sex: Annotated[str | None, typer.Option("--sex", metavar="M|F|O", help="The patient's sex.")] = None,
    description: Annotated[
        str | None, typer.Option("--description", metavar="TEXT", help="The study description.")
    ] = None,
    accession: Annotated[str | None, typer.Option("--accession", metavar="NO", help="The accession number.")] = None,
    complaints: Annotated[
        str | None, typer.Option("--complaints", metavar="TEXT", help="The patient's complaints.")
    ] = None,
    scheduled: Annotated[
        str | None, typer.Option("--scheduled", metavar="WHEN", help="The scheduled time: '2026-12-01 09:30'.")
    ] = None,
    procedure_id: Annotated[
        str | None, typer.Option("--procedure-id", metavar="ID", help="The requested procedure's ID.")
    ] = None,
    procedure: Annotated[
        str | None, typer.Option("--procedure", metavar="TEXT", help="The requested procedure's description.")
    ] = None,
    requesting: Annotated[
        str | None, typer.Option("--requesting-physician", metavar="NAME", help="The requesting physician.")
    ] = None,
    referring: Annotated[
        str | None, typer.Option("--referring-physician", metavar="NAME", help="The referring physician.")
    ] = None,
    equipment: Annotated[
        str | None, typer.Option("--equipment", metavar="E", help="The UUID of the scheduled equipment.")
    ] = None,
) -> None:
    """Create an order.

    Examples:

    \b
      dw order create --institution I --patient-name "Doe^Jane" --patient-id 42 --birth-date 1970-01-31 --modality CT
      dw order create --institution I --patient-name "Żółć^Łukasz" --patient-id 43 --birth-date 1981-07-02 \\
        --modality MR --sex M --description "Knee" --scheduled "2026-12-01 09:30" --accession A1
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.CreateOrder(
        institution=institution,
        patient_name=patient_name,
        patient_id=patient_id,
        birth_date=inputs.birth_date(birth_date, date.today()),
        modality=inputs.modality(modality),
        other_patient_id=other_patient_id,
        sex=inputs.sex(sex),
        description=description,
        accession=accession,
        complaints=complaints,
        scheduled=inputs.scheduled(scheduled) if scheduled is not None else None,
        procedure_id=procedure_id,
        procedure=procedure,
        requesting=requesting,
        referring=referring,
        equipment=equipment,
    )
    calls.hint_uuids(dw, [institution, equipment])
    calls.show(dw, calls.call(dw, verb), done="order created")


@app.command("search")
@takes()
def search(
    ctx: typer.Context,
    institution: Annotated[
        list[str], typer.Option("--institution", metavar="I", help="An institution's UUID; repeatable.")
    ],
    patient_name: Annotated[
        str | None, typer.Option("--patient-name", metavar="NAME", help="The full patient name.")
    ] = None,
    patient_id: Annotated[str | None, typer.Option("--patient-id", metavar="ID", help="The patient ID.")] = None,
    other_patient_id: _OtherId = None,
    accession: Annotated[str | None, typer.Option("--accession", metavar="NO", help="The accession number.")] = None,
    modality: Annotated[
        list[str] | None, typer.Option("--modality", metavar="CT,MR", help="Any of these modalities.")
    ] = None,
    when: Annotated[
        str | None,
        typer.Option("--date", metavar="WHEN", help="Study date: 2026-01..2026-03, 2026-03-01, 7d, today."),
    ] = None,
    birth_date: Annotated[
        str | None,
        typer.Option("--birth-date", metavar="WHEN", help="In the format of --date: 1970-01-31, 1940..1950."),
    ] = None,
) -> None:
    """Search for orders.

    Examples:

    \b
      dw order search --institution I --modality CT,MR --date 2026-01..2026-03
      dw order search --institution I --institution J --patient-id 42 -f json
      dw order search --institution I --birth-date ..1950
      dw order search --institution I --patient-id 42 -f uids | xargs dw share link --expires 30d
    """
    dw: DwContext = ctx.obj
    calls.require(dw, finds=True)
    today = date.today()
    study_from, study_to = inputs.date_range(when, today)
    born_from, born_to = inputs.date_range(birth_date, today)
    verb = api.SearchOrders(
        institutions=tuple(institution),
        patient_name=patient_name,
        patient_id=patient_id,
        other_patient_id=other_patient_id,
        accession=accession,
        modalities=inputs.modalities(modality or ()),
        study_from=study_from,
        study_to=study_to,
        born_from=born_from,
        born_to=born_to,
    )
    calls.hint_uuids(dw, institution)
    calls.show_found(dw, calls.call(dw, verb), "PatientOrderUuid", done="no match")


@app.command("show")
@takes()
def show(ctx: typer.Context, order: _Order, institution: _Institution) -> None:
    """Show all properties of an order.

    Examples:

    \b
      dw order show ORDER --institution I
      dw order show ORDER --institution I -f json | jq .
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.OrderProperties(institution=institution, order=order)
    calls.hint_uuids(dw, [order, institution])
    calls.show(dw, calls.call(dw, verb), done="the response is empty")


@app.command("tags")
@takes()
def tags(
    ctx: typer.Context,
    order: _Order,
    institution: _Institution,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="KEYWORD", help="Show only this attribute (keyword or 0010,0010); repeatable."),
    ] = None,
    series: Annotated[str | None, typer.Option("--series", metavar="S", help="Only this series (UUID).")] = None,
) -> None:
    """Show DICOM attributes of an order's images.

    PostDICOM must have enabled this for the account.

    Examples:

    \b
      dw order tags ORDER --institution I --tag PatientName --tag StudyDate
      dw order tags ORDER --institution I --series S --tag 00180050
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.TagContent(institution=institution, order=order, series=series, tags=inputs.tags(tag or ()))
    calls.hint_uuids(dw, [order, institution, series])
    calls.show(dw, calls.call(dw, verb), done="the response is empty")


@app.command("assign")
@takes()
def assign(
    ctx: typer.Context,
    order: _Order,
    user: Annotated[str | None, typer.Option("--user", metavar="U", help="The user's UUID.")] = None,
    group: Annotated[str | None, typer.Option("--group", metavar="G", help="The user group's UUID.")] = None,
) -> None:
    """Assign an order to a user or a user group.

    Examples:

    \b
      dw order assign ORDER --user U
      dw order assign ORDER --group G
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb: api.Verb
    match user, group:
        case str(), None:
            verb = api.AssignToUser(order=order, user=user)
        case None, str():
            verb = api.AssignToGroup(order=order, group=group)
        case _:
            raise UsageError("give either --user or --group", "dw order assign ORDER --user U")
    calls.hint_uuids(dw, [order, user, group])
    calls.show(dw, calls.call(dw, verb), done=f"order {order} assigned to {user or group}")


@app.command("delete")
@takes()
def delete(
    ctx: typer.Context,
    order: _Order,
    institution: _Institution,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete an order permanently; asks for confirmation.

    Examples:

    \b
      dw order delete ORDER --institution I
      dw order delete ORDER --institution I --yes
    """
    dw: DwContext = ctx.obj
    calls.require(dw)
    verb = api.DeleteOrder(institution=institution, order=order)
    verb.request(dw.profile.url)
    calls.hint_uuids(dw, [order, institution])
    if not yes and not dw.out.confirm(f"permanently delete order {order}?"):
        if not (sys.stdin and sys.stdin.isatty()):
            raise UsageError("cannot prompt: stdin is not a terminal; nothing was deleted", "add --yes")
        raise DwError("nothing was deleted")
    calls.show(dw, calls.call(dw, verb), done=f"order {order} deleted")
