"""What is different about each server, as data. No other module asks which server it talks to.

Two differences need no field: every upload has a known length, so that no server has to take a chunked one; and the
head `Content-Type: application/dicom` is right for every part everywhere, while any word more loses files (Orthanc).
"""

from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from dwcli.errors import UsageError, did_you_mean

Escaping = Literal["standard", "raw", "auto"]
Keys = Literal["keyword", "tag"]
Delete = Literal["none", "plain", "operation", "reject", "lookup"]
Resource = Literal["metadata", "frames", "bulkdata", "rendered", "thumbnail"]
Whole = Literal["study", "series", "instance"]


class Dialect(NamedTuple):
    """One server's deviations. Each field is one difference; the defaults are PS3.18's."""

    name: str = "standard"

    escaping: Escaping = "standard"
    """How query values are written. `standard`: percent-encoded but for `*` (PS3.18 8.3.4). `raw`: as they are, for
    servers that never decode a query (Orthanc 1.10 as Debian builds it). `auto`: standard, and where that finds
    nothing once more raw."""

    keys: Keys = "keyword"
    """How matching keys are written: PatientID, since some servers ignore tags (tiny-pacs), or 00100020 (PostDICOM)."""

    paging: bool = True
    """Whether `limit` and `offset` may be sent; if not, one response has all the rows and is cut here."""

    own_uids: bool = False
    """Whether a series or an instance has paths by its own UID alone: `studies/series/{uid}`, and searches such as
    `studies/series?0020000D=` (PostDICOM). If one responds 404 or 400, the path of PS3.18 is used."""

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

    paging_required: bool = False
    """Whether a search of studies fails without both `limit` and `offset` (Shanoir)."""

    offset_counts: Literal["rows", "pages"] = "rows"
    """What `offset` counts: rows (PS3.18 8.3.4.4), or pages of `limit` rows (Shanoir)."""

    known_keys: tuple[str, ...] = ()
    """The keywords that may be asked for, where the server refuses or ignores all others (Google, Azure, Shanoir);
    other keys are matched here. Empty: any."""

    refused_keys: tuple[str, ...] = ()
    """The same the other way round: the keywords that the server refuses, all others being known. `auto` fills it."""

    refused_fields: tuple[str, ...] = ()
    """Attributes that the server refuses in `includefield` (Google, at times). `auto` fills it."""

    keys_by_tag: tuple[str, ...] = ()
    """Keywords that the server knows by their tag only (Shanoir: `00100020`)."""

    instances_from: Literal["search", "metadata"] = "search"
    """Where the instances of a series are listed: by a search, or in the series' metadata (Shanoir)."""

    retrieves: tuple[Whole, ...] = ("study", "series", "instance")
    """What can be retrieved in one request; the rest is fetched instance by instance (Shanoir, AWS)."""

    zip: bool = False
    """Whether a study or series comes as application/zip when asked (Supplement 211: dcm4chee)."""

    include_fields: bool = True
    """Whether `includefield` may be sent without the user's asking."""

    counts: bool = True
    """Whether NumberOfSeriesRelatedInstances can be had from a search (tiny-pacs has none)."""

    missing: tuple[Resource, ...] = ()
    """Resources that this server does not have, to save waiting for a 404 (tiny-pacs)."""

    single_part: bool = False
    """Whether an instance is asked for as one `application/dicom` body first, not as multipart."""

    accept_type_quoted: bool = True
    """Whether `type="application/dicom"` is quoted in Accept (PS3.18 8.7.3.5.2). Some servers want it bare, as the
    viewer OHIF has a switch for them."""

    transfer_syntax_any: bool = True
    """Whether `transfer-syntax=*` may stand in Accept (PS3.18 8.7.3.5.2); where not, the server's default comes."""

    wado_uri: str = ""
    """WADO-URI's address, relative to the base URL (PS3.18 chapter 9): `../wado` for Orthanc and dcm4chee."""

    wado_uri_any: bool = False
    """Whether WADO-URI understands `transferSyntax=*` (dcm4chee). Others send what they hold when nothing is said."""

    store_files: int = 0
    """Files a store request may carry; 0: no limit."""

    store_jobs: int = 0
    """Store requests that the server stands at once; 0: any number (tiny-pacs: of several, most instances fail)."""

    store_bytes: int = 0
    """Bytes that the body of a store request may have; 0: unknown. A file that does not fit is refused here, by
    name, before it is sent (tiny-pacs: 64 MiB; AWS: 1 GB; Orthanc fails beyond 4 GB). Azure's 2 GB hold for the open
    source server alone and stand in no preset."""

    store_at_root: bool = False
    """Whether instances are stored at the base URL itself, with a slash (PostDICOM), not at `studies`."""

    store_boundary_quoted: bool = False
    """Whether the boundary is quoted in a store request's Content-Type; both forms are right (RFC 2046)."""

    store_type_quoted: bool = True
    """Whether `type="application/dicom"` is quoted in a store request's Content-Type (RFC 2387 wants it)."""

    delete: Delete = "plain"
    """How things are deleted, which PS3.18 does not say. `plain`: DELETE on the resource (Azure). `operation`: the
    same, with a long-running operation that is polled (Google). `reject`: POST …/reject/CODE (dcm4chee).
    `lookup`: found and deleted in the server's own REST interface at `core` (Orthanc). `none`: not at all."""

    delete_otherwise: str = ""
    """Where nothing can be deleted so: how it is done there, for the user."""

    core: str = ""
    """The server's own REST interface, relative to the base URL (Orthanc: `..`); empty where it has none."""

    vendor: str = ""
    """Whose verbs beyond DICOMweb this server has (`postdicom`: share, folder, order)."""

    def knows(self, key: str) -> bool:
        """Whether the server can search by this keyword."""
        return key not in self.refused_keys and (not self.known_keys or key in self.known_keys)


_GIB = 1024**3

PRESETS: dict[str, Dialect] = {
    dialect.name: dialect
    for dialect in (
        Dialect(),
        Dialect(name="auto", escaping="auto"),
        Dialect(
            name="archive",
            single_part=True,
            missing=("thumbnail",),
            delete="none",
            delete_otherwise="delete its files: the archive is a folder on this disk",
        ),
        Dialect(
            name="orthanc",
            escaping="raw",
            missing=("thumbnail",),
            wado_uri="../wado",
            store_bytes=4 * _GIB - 1,
            delete="lookup",
            core="..",
        ),
        # The plugin before 0.5: one exact media type brings JSON, and whatever it says of itself is 127.0.0.1.
        Dialect(
            name="orthanc-0.4",
            json_type="application/json",
            missing=("rendered", "thumbnail"),
            wado_uri="../wado",
            store_bytes=4 * _GIB - 1,
            delete="lookup",
            core="..",
        ),
        Dialect(name="dcm4chee", zip=True, wado_uri="../wado", wado_uri_any=True, delete="reject"),
        Dialect(
            name="shanoir",
            relational=False,
            paging_required=True,
            offset_counts="pages",
            page_size=100,
            known_keys=("PatientName", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"),
            keys_by_tag=("PatientID",),
            instances_from="metadata",
            retrieves=("instance",),
            missing=("bulkdata", "rendered", "thumbnail"),
            delete="none",
            delete_otherwise="delete the examination in Shanoir's own interface",
        ),
        Dialect(
            name="google",
            wildcards=False,
            page_size=5000,
            counts=False,
            known_keys=(
                "StudyInstanceUID",
                "PatientName",
                "PatientID",
                "AccessionNumber",
                "ReferringPhysicianName",
                "StudyDate",
                "SeriesInstanceUID",
                "Modality",
                "SOPInstanceUID",
            ),
            missing=("thumbnail",),
            delete="operation",
        ),
        Dialect(
            name="azure",
            wildcards=False,
            page_size=200,
            known_keys=(
                "StudyInstanceUID",
                "PatientName",
                "PatientID",
                "PatientBirthDate",
                "AccessionNumber",
                "ReferringPhysicianName",
                "StudyDate",
                "StudyDescription",
                "ModalitiesInStudy",
                "SeriesInstanceUID",
                "Modality",
                "PerformedProcedureStepStartDate",
                "ManufacturerModelName",
                "SOPInstanceUID",
            ),
            missing=("bulkdata", "thumbnail"),
        ),
        Dialect(
            name="aws",
            relational=False,
            retrieves=("instance",),
            single_part=True,
            missing=("rendered", "thumbnail", "bulkdata"),
            store_bytes=_GIB,
            delete="none",
            delete_otherwise="delete the image set: aws medical-imaging delete-image-set",
        ),
        Dialect(
            name="xnat",
            page_size=1000,
            missing=("thumbnail",),
            delete="none",
            delete_otherwise="delete the session in XNAT's own interface",
        ),
        Dialect(name="kheops", missing=("thumbnail",)),
        Dialect(
            name="tiny-pacs",
            relational=False,
            wildcards=False,
            counts=False,
            missing=("metadata", "frames", "bulkdata", "rendered", "thumbnail"),
            store_jobs=1,
            store_bytes=64 * 1024**2,
            delete="none",
            delete_otherwise="stop the server and remove the study from its database and storage folder",
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
            missing=("metadata", "frames", "bulkdata", "rendered", "thumbnail"),
            store_at_root=True,
            store_files=1,
            store_boundary_quoted=True,
            vendor="postdicom",
        ),
    )
}

SIGNS: tuple[tuple[str, str], ...] = (
    ("healthcare.googleapis.com", "google"),
    (".dicom.azurehealthcareapis.com", "azure"),
    ("dicom-medical-imaging.", "aws"),
    ("/dcm4chee-arc/", "dcm4chee"),
    ("resteasy-multipart", "dcm4chee"),
    ("/xapi/dicomweb", "xnat"),
    ("orthanc", "orthanc"),
    ("shanoir", "shanoir"),
    ("kheops", "kheops"),
    ("postdicom", "postdicom"),
    ("x-error-reason", "postdicom"),
    ("tiny_pacs", "tiny-pacs"),
)
"""Words in an address, a header or an error by which a server gives itself away, and its preset."""


def recognise(*texts: str) -> str:
    """The preset that a server's address, headers or errors point to, empty where nothing does."""
    lower = "\n".join(texts).lower()
    return next((name for sign, name in SIGNS if sign in lower), "")


def must_be_chosen(url: str) -> str:
    """The preset that an address points to, where `auto` cannot learn what is different there; else empty."""
    preset = PRESETS.get(recognise(url), PRESETS["auto"])
    return preset.name if preset.known_keys or len(preset.retrieves) < 3 else ""


def choose(name: str, differences: dict[str, Any] | None = None) -> Dialect:
    """The preset of that name with single fields changed. Raises UsageError on an unknown name, field or type."""
    preset = PRESETS.get(name)
    if preset is None:
        raise UsageError(f"unknown dialect {name!r}", did_you_mean(name, PRESETS))
    known = set(Dialect._fields) - {"name"}
    changes: dict[str, Any] = {}
    for key, value in (differences or {}).items():
        if key not in known:
            raise UsageError(f"unknown dialect field {key!r}", did_you_mean(key, known))
        changes[key] = _typed(key, value)
    return preset._replace(**changes)


def _typed(key: str, value: Any) -> Any:
    """A value from a configuration file as the field's type."""
    hint = get_type_hints(Dialect)[key]
    if get_origin(hint) is tuple and isinstance(value, list):
        allowed = get_args(get_args(hint)[0])
        if all(item in allowed if allowed else isinstance(item, str) for item in value):
            return tuple(value)
        raise UsageError(f"dialect field {key}: {value!r}", f"a list of: {', '.join(allowed) or 'words'}")
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
