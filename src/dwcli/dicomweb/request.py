"""Requests as values. The URL reaches the transport finished and is never encoded again."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple, Protocol
from urllib.parse import quote, urljoin, urlsplit

from dwcli.dicomweb import media, query, refs
from dwcli.dicomweb.dialects import Dialect
from dwcli.errors import ProtocolError, UsageError


class Body(Protocol):
    """An upload that can be read more than once and knows its length (after a 401 it is sent again)."""

    length: int
    """Bytes that iterating yields, exactly."""

    def __iter__(self) -> Iterator[bytes]:
        """The bytes, from the start."""


class Request(NamedTuple):
    """One HTTP request. `url` is absolute and finished; `repeatable`: sending it twice does no harm."""

    method: str
    url: str
    headers: Mapping[str, str] = MappingProxyType({})
    body: Body | None = None
    repeatable: bool = True


class Rendering(NamedTuple):
    """What a rendered resource should look like (PS3.18 8.3.5.1). `window`: center, width, function."""

    media_type: Literal["image/png", "image/jpeg"] = "image/png"
    window: tuple[float, float, str] | None = None
    viewport: tuple[int, int] | None = None
    quality: int | None = None
    annotation: tuple[str, ...] = ()
    thumbnail: bool = False
    """A thumbnail (Supplement 203); it takes no window and no quality."""

    @property
    def parameters(self) -> str:
        """The query string, empty where the server's own defaults are wanted."""
        pairs = []
        if self.annotation:
            pairs.append(f"annotation={','.join(self.annotation)}")
        if self.quality is not None:
            pairs.append(f"quality={self.quality}")
        if self.viewport:
            pairs.append(f"viewport={self.viewport[0]},{self.viewport[1]}")
        if self.window:
            center, width, function = self.window
            pairs.append(f"window={_decimal(center)},{_decimal(width)},{function}")
        return "&".join(pairs)


def search(base: str, asked: query.Query, dialect: Dialect, *, raw: bool = False, own: bool = False) -> Request:
    """A search (PS3.18 10.6); `own`: on the server's own path (Dialect.own_uids)."""
    return Request("GET", f"{base}/{query.target(asked, dialect, raw=raw, own=own)}", {"Accept": dialect.json_type})


def metadata(base: str, ref: refs.Ref, dialect: Dialect) -> Request:
    """The metadata of a study, series or instance (PS3.18 10.4.1.1.2)."""
    return Request("GET", f"{base}/{refs.path(ref)}/metadata", {"Accept": dialect.json_type})


def resource(base: str, ref: refs.Ref | refs.FrameRef, accept: str) -> Request:
    """A study, series, instance or frames (PS3.18 10.4.1.1.1, 10.4.1.1.5)."""
    return _pixels(f"{base}/{refs.path(ref)}", accept)


def own_resource(base: str, ref: refs.Ref, accept: str) -> Request:
    """A series or an instance by its own UID alone (Dialect.own_uids)."""
    return _pixels(f"{base}/{refs.own_path(ref)}", accept)


def bulkdata(url: str, accept: str) -> Request:
    """Bulk data, by the URL that metadata named (PS3.18 10.4.1.1.4)."""
    return _pixels(url, accept)


def rendered(base: str, ref: refs.Ref | refs.FrameRef, wanted: Rendering) -> Request:
    """A rendered resource (PS3.18 10.4.1.1.3)."""
    url = f"{base}/{refs.path(ref)}/{'thumbnail' if wanted.thumbnail else 'rendered'}"
    if wanted.parameters:
        url += f"?{wanted.parameters}"
    return Request("GET", url, {"Accept": wanted.media_type})


def wado_uri(
    base: str, ref: refs.InstanceRef, dialect: Dialect, transfer_syntax: str, *, anonymize: bool = False
) -> Request:
    """An instance by WADO-URI (PS3.18 9.4.1); `transfer_syntax`: a UID, or `*` for as stored."""
    if not dialect.wado_uri:
        raise UsageError(
            "this profile's dialect has no WADO-URI address",
            "dw profile edit NAME --set 'dialect.wado_uri=../wado' (relative to the profile's URL)",
        )
    uids = zip(("studyUID", "seriesUID", "objectUID"), (ref.study, ref.series, ref.instance), strict=True)
    safe = "/" if dialect.escaping == "raw" else ""
    pairs = ["requestType=WADO", *(f"{name}={quote(uid, safe=safe)}" for name, uid in uids if uid)]
    # The slash stays: a server that never decodes refuses application%2Fdicom, and RFC 3986 allows it in a query.
    pairs.append("contentType=application/dicom")
    if transfer_syntax != "*" or dialect.wado_uri_any:
        pairs.append(f"transferSyntax={transfer_syntax}")
    if anonymize:
        pairs.append("anonymize=yes")
    return _pixels(f"{urljoin(f'{base}/', dialect.wado_uri)}?{'&'.join(pairs)}", "*/*")


def store(base: str, study: str, boundary: str, body: Body, dialect: Dialect, *, at_root: bool = False) -> Request:
    """A store request (PS3.18 10.5). Safe to repeat: a SOP Instance UID names the same object twice."""
    kind = f'"{media.DICOM}"' if dialect.store_type_quoted else media.DICOM
    url = f"{base}/{refs.path(refs.StudyRef(study))}" if study else f"{base}/studies"
    if at_root:
        url = f"{base}/"
    if dialect.store_boundary_quoted:
        boundary = f'"{boundary}"'
    headers = {
        "Accept": dialect.json_type,
        "Content-Type": f"multipart/related; type={kind}; boundary={boundary}",
    }
    return Request("POST", url, headers, body)


def rebase(url: str, base: str, request_url: str) -> str:
    """A URL that the server named (RetrieveURL, BulkDataURI) on the profile's own address.

    Relative ones are resolved against the request (PS3.18 F.2.2). A foreign host's `/studies/…` is cut out and put
    under `base`, and so is what lies below the path of `base` there, as proxies make servers print addresses that
    are unreachable. Anything else stays as it is.
    """
    try:
        absolute = urljoin(request_url, "".join(url.split()))
        split = urlsplit(absolute)
    except ValueError as error:
        raise ProtocolError(f"the server sent an invalid URL: {url}") from error
    if absolute.startswith(f"{base}/"):
        return absolute
    query = f"?{split.query}" if split.query else ""
    root = urlsplit(base).path
    if root and split.path.startswith(f"{root}/"):
        return f"{base}{split.path.removeprefix(root)}{query}"
    _, found, rest = split.path.rpartition("/studies/")
    return f"{base}/studies/{rest}{query}" if found else absolute


def _decimal(number: float) -> str:
    """All its digits and no exponent, whose `+` a server would read as a space."""
    from decimal import Decimal

    digits = f"{Decimal(repr(number)):f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _pixels(url: str, accept: str) -> Request:
    # Pixel data does not shrink, and a compressed body hides its length and costs both sides.
    return Request("GET", url, {"Accept": accept, "Accept-Encoding": "identity"})
