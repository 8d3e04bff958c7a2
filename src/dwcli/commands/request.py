"""`dw request`: any request, with the profile's login."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import typer

from dwcli.context.global_options import parse_headers
from dwcli.context.run import DwContext
from dwcli.dicomweb import media, refs
from dwcli.dicomweb.content import End
from dwcli.errors import TruncatedError, UsageError
from dwcli.files.atomic import WholeFile
from dwcli.options import takes

if TYPE_CHECKING:
    from dwcli.dicomweb.proof import BodyProof
    from dwcli.dicomweb.request import Body, Request


@takes()
def request(
    ctx: typer.Context,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST, PUT, DELETE, …")],
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A path below the profile's URL, or a full URL on the same server.")
    ],
    param: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="K=V", help="A query parameter, percent-encoded by dw; repeatable."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", metavar="TEXT|@FILE|@-", help="The request body: text, a file, or stdin."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write the response body to FILE, completely or not at all."
        ),
    ] = None,
    include: Annotated[bool, typer.Option("--include", "-i", help="Show the status and headers on stderr.")] = False,
) -> None:
    """Send any HTTP request with the profile's login.

    The response body goes to stdout.

    Examples:

    \b
      dw request GET /studies --param limit=1 -H "Accept: application/dicom+json"
      dw request GET /studies/UID/series/UID/instances/UID/thumbnail -o thumb.jpg
      dw request POST /workitems -d @item.json -H "Content-Type: application/dicom+json"
      dw request DELETE /studies/UID -i
    """
    from dwcli.dicomweb.request import Request

    dw: DwContext = ctx.obj
    verb = method.upper()
    if not verb.isalpha() or not verb.isascii():
        raise UsageError(f"not an HTTP method: {method}", "dw request GET /studies")
    # DICOM JSON by default; the user's own header wins.
    headers = {"Accept": f"{media.DICOM_JSON}", **parse_headers(dw.given.headers)}
    body = _body(data)
    if body and not any(name.lower() == "content-type" for name in headers):
        headers["Content-Type"] = media.DICOM_JSON
    asked = Request(verb, _url(dw, path, param or []), headers, body, repeatable=verb in ("GET", "HEAD", "OPTIONS"))
    for last in (not asked.repeatable, True):
        try:
            _exchange(dw, asked, output, include=include)
        except TruncatedError:
            if last or output is None:  # data written to a pipe cannot be recalled
                raise
        else:
            return


def _exchange(dw: DwContext, asked: "Request", output: Path | None, *, include: bool) -> None:
    """Send the request and write the response body. Raises TruncatedError if the content shows that it ended early."""
    from dwcli.dicomweb.proof import BodyProof

    with dw.client.request(asked) as response:
        if include or dw.given.verbose:
            dw.out.info(f"{response.status}")
            for name, value in response.headers.items():
                dw.out.info(f"{name}: {response.hide(value)}")
        if response.status >= 400:
            refused = response.read(1 << 20)
            dw.out.write(refused)
            raise response.refusal(refused)
        proof = BodyProof(response.content_type)
        if output is None:
            text = media.classify(response.content_type, b"?") is not media.Body.PICTURE
            for chunk in response.chunks():
                if dw.out.terminal and (not text or b"\0" in chunk):
                    raise UsageError(
                        "the response is binary and cannot be shown on a terminal", "use -o FILE or a pipe"
                    )
                proof.feed(chunk)
                dw.out.write(chunk)
            _judge(proof, "stdout", dw)
            return
        with WholeFile(output) as file:
            for chunk in response.chunks():
                proof.feed(chunk)
                file.write(chunk)
            _judge(proof, str(output), dw)
    dw.out.info(f"{output}: {file.size} bytes, {response.content_type or 'no Content-Type'}")


def _judge(proof: "BodyProof", where: str, dw: DwContext) -> None:
    match proof.end():
        case End.TRUNCATED:
            raise TruncatedError("the response is truncated", "run the same command again")
        case End.UNPROVEN if where != "stdout":
            dw.out.warn(f"{where}: unverified: nothing proves that it is complete")
        case _:
            pass


def _url(dw: DwContext, path: str, params: list[str]) -> str:
    base = dw.profile.url
    if origin := refs.origin(path):
        if origin != refs.origin(base):
            raise UsageError(f"{origin} is not the profile's server; dw does not send its login there", "use --url URL")
        url = path
    else:
        url = f"{base}/{path.lstrip('/')}"
    pairs = []
    for pair in params:
        key, equals, value = pair.partition("=")
        if not key or not equals:
            raise UsageError(f"not a parameter: {pair}", "write --param KEY=VALUE")
        safe = "*^/,-" if dw.profile.dialect.escaping == "raw" else "*,/"
        pairs.append(f"{quote(key, safe='')}={quote(value, safe=safe)}")
    if pairs:
        url += ("&" if "?" in url else "?") + "&".join(pairs)
    if any(c.isspace() or not c.isprintable() for c in url):
        raise UsageError("the path contains white space", "write a space as %20, or use --param")
    return url


def _body(data: str | None) -> "Body | None":
    from dwcli.net.body import Bytes, FileBody

    if data is None:
        return None
    if data == "@-":
        return Bytes(sys.stdin.buffer.read())
    if data.startswith("@"):
        return FileBody(Path(data[1:]))
    return Bytes(data.encode())
