"""What is different about each server, as data. No other room asks which server it talks to."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from dwcli.errors import UsageError, did_you_mean

Escaping = Literal["standard", "raw", "auto"]
Keys = Literal["keyword", "tag"]
Resource = Literal["metadata", "frames", "bulkdata", "rendered"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server's ways. Each field is one difference; the defaults are PS3.18's."""

    name: str = "standard"

    escaping: Escaping = "standard"
    """How query values are written. `standard`: percent-encoded but for `*` (PS3.18 8.3.4). `raw`: as they are, for
    servers that never decode a query (Orthanc 1.10 as Debian builds it). `auto`: standard, and where that finds
    nothing once more raw."""

    keys: Keys = "keyword"
    """How matching keys are written: PatientID, since some servers ignore tags (tiny-pacs), or 00100020 (PostDICOM)."""

    paging: bool = True
    """Whether `limit` and `offset` may be sent; where not, one answer has all the rows and is cut here."""

    own_uids: bool = False
    """Whether a series or an instance has paths by its own UID alone: `studies/series/{uid}`, and searches such as
    `studies/series?0020000D=` (PostDICOM). Where one answers 404 or 400, the path of PS3.18 is asked."""

    json_type: str = "application/dicom+json"
    """The media type asked for in searches and metadata (Orthanc's plugin before 0.5: `application/json`)."""

    relational: bool = True
    """Whether /series, /instances and /studies/{s}/instances can be searched (PS3.18 table 10.6.1-2, optional there).
    Where not, series are searched study by study (tiny-pacs)."""

    keyless: bool = True
    """Whether studies can be searched without any key (PostDICOM names PatientID or StudyInstanceUID)."""

    wildcards: bool = True
    """Whether `*` and `?` are wildcards. Where not, such a term is matched here instead (tiny-pacs)."""

    page_size: int = 0
    """Rows asked for at once; 0: as many as the server gives (the rest is asked for by `offset`)."""

    include_fields: bool = True
    """Whether `includefield` may be sent without the user's asking."""

    counts: bool = True
    """Whether NumberOfSeriesRelatedInstances can be had from a search (tiny-pacs has none)."""

    missing: tuple[Resource, ...] = ()
    """Resources that this server does not have, so that nobody waits for a 404 (tiny-pacs)."""

    single_part: bool = False
    """Whether an instance is asked for as one `application/dicom` body first, not as multipart."""

    transfer_syntax_any: bool = True
    """Whether `transfer-syntax=*` may stand in Accept (PS3.18 8.7.3.5.2); where not, the server's default comes."""

    wado_uri: str = ""
    """WADO-URI's address, relative to the base URL (PS3.18 chapter 9): `../wado` for Orthanc and dcm4chee."""

    wado_uri_any: bool = False
    """Whether WADO-URI understands `transferSyntax=*` (dcm4chee). Others send what they hold when nothing is said."""

    store_files: int = 0
    """Files a store request may carry; 0: no limit."""

    store_at_root: bool = False
    """Whether instances are stored at the base URL itself, with a slash (PostDICOM), not at `studies`."""

    store_boundary_quoted: bool = False
    """Whether the boundary is quoted in a store request's Content-Type; both forms are right (RFC 2046)."""

    store_type_quoted: bool = True
    """Whether `type="application/dicom"` is quoted in a store request's Content-Type (RFC 2387 wants it)."""

    vendor: str = ""
    """Whose verbs beyond DICOMweb this server has (`postdicom`: share, folder, order)."""


PRESETS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(),
        Dialect(name="auto", escaping="auto"),
        Dialect(name="archive", single_part=True),
        Dialect(name="orthanc", escaping="raw", wado_uri="../wado"),
        Dialect(name="dcm4chee", wado_uri="../wado", wado_uri_any=True),
        Dialect(
            name="tiny-pacs",
            relational=False,
            wildcards=False,
            counts=False,
            missing=("metadata", "frames", "bulkdata", "rendered"),
        ),
        Dialect(
            name="postdicom",
            keys="tag",
            paging=False,
            own_uids=True,
            relational=False,
            keyless=False,
            include_fields=False,
            counts=False,
            missing=("metadata", "frames", "bulkdata", "rendered"),
            store_at_root=True,
            store_files=1,
            store_boundary_quoted=True,
            vendor="postdicom",
        ),
    )
}


def choose(name: str, differences: dict[str, Any] | None = None) -> Dialect:
    """The preset of that name with single fields changed. Raises UsageError on an unknown name, field or type."""
    preset = PRESETS.get(name)
    if preset is None:
        raise UsageError(f"no dialect called {name!r}", did_you_mean(name, PRESETS))
    known = {field.name for field in fields(Dialect)} - {"name"}
    changes: dict[str, Any] = {}
    for key, value in (differences or {}).items():
        if key not in known:
            raise UsageError(f"a dialect has no field {key!r}", did_you_mean(key, known))
        changes[key] = _typed(key, value)
    return replace(preset, **changes)


def _typed(key: str, value: Any) -> Any:
    """A value from a configuration file as the field's type."""
    hint = get_type_hints(Dialect)[key]
    if get_origin(hint) is tuple and isinstance(value, list):
        allowed = get_args(get_args(hint)[0])
        if all(item in allowed for item in value):
            return tuple(value)
        raise UsageError(f"dialect field {key}: {value!r}", f"a list of: {', '.join(allowed)}")
    if get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
        raise UsageError(f"dialect field {key}: {value!r}", f"one of: {', '.join(get_args(hint))}")
    if type(value) is int and hint is int and value < 0:
        raise UsageError(f"dialect field {key}: {value!r}", "0 or more")
    if type(value) is hint:
        return value
    kind = f"a list of: {', '.join(get_args(get_args(hint)[0]))}" if get_origin(hint) is tuple else hint.__name__
    raise UsageError(f"dialect field {key}: {value!r}", f"it takes {kind}")
