"""Checks and sends one verb with the profile's login, and shows the response. Shared by the command groups."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from dwcli.context.run import DwContext
from dwcli.dicomweb import media
from dwcli.dicomweb.dicomjson import excerpt
from dwcli.errors import AuthError, DwError, RefusedError, UsageError
from dwcli.output import visible
from dwcli.vendors.postdicom import answers, inputs
from dwcli.vendors.postdicom.answers import Answer
from dwcli.vendors.postdicom.api import Verb

if TYPE_CHECKING:
    from dwcli.net.response import Response

_VENDOR = "postdicom"
_ANSWER_BYTES = 64 * 1024 * 1024


def require(dw: DwContext, *, finds: bool = False) -> None:
    """Raise UsageError, naming the PostDICOM profiles, if the selected profile is not one.

    `finds`: the verb is a search, which can print only the UUIDs.
    """
    if dw.out.format in ("xml", "refs") or (dw.out.format == "uids" and not finds):
        raise UsageError(
            f"format {dw.out.format} is only for searches" + (" of studies" if finds else ""),
            f"one of: table, tsv, csv, json, jsonl, flat{', uids' if finds else ''}",
        )
    if dw.profile.dialect.vendor == _VENDOR:
        return
    have = [name for name in dw.file.names if _dialect_of(dw, name) == _VENDOR]
    who = f"profile {dw.profile.name}" if dw.profile.name else dw.profile.url
    raise UsageError(
        f"{who} is not a PostDICOM account (dialect {dw.profile.dialect.name})",
        f"use -p with one of these profiles: {', '.join(have)}"
        if have
        else "dw profile add NAME URL --dialect postdicom --user EMAIL",
    )


def _dialect_of(dw: DwContext, name: str) -> str:
    dialect = dw.file.table(name).get("dialect", "")
    if isinstance(dialect, dict):
        return str(dialect.get("vendor") or dialect.get("name", ""))
    return str(dialect)


def call(dw: DwContext, verb: Verb) -> Answer:
    """Send one verb. Raises UsageError before sending anything, or the DwError of a refusal, without any password."""
    asked = verb.request(dw.profile.url)
    secrets = verb.secrets
    try:
        with dw.client.request(asked) as response:
            body = response.read(_ANSWER_BYTES)
            _check(response, body)
    except DwError as error:
        # A server may quote the request in its error message.
        raise error.worded(answers.hide(error.message, secrets), answers.hide(error.hint, secrets)) from None
    return answers.read(body).without(secrets)


def _check(response: "Response", body: bytes) -> None:
    if response.status >= 400:
        raise response.refusal(body)
    if reason := " ".join(response.headers.get("X-Error-Reason", "").split()):
        raise RefusedError(f"{response.host} refused: {reason}", status=response.status)
    if media.classify(response.content_type, body) is media.Body.HTML:
        raise AuthError(
            f"{response.host}: the response is a web page",
            "usually a login page or a wrong URL: dw profile test",
        )


def show(dw: DwContext, answer: Answer, *, done: str = "") -> None:
    """Show JSON as rows in the selected format, other text unchanged; `done`: the message for an empty response."""
    if answer.json is not None:
        records = answer.records
        form = dw.out.format or ("table" if dw.out.terminal else "tsv")
        if form == "table" and records == [answer.json]:
            # One object, such as an order, has more attributes than a terminal has room for columns.
            records = [{"key": key, "value": value} for key, value in records[0].items()]
        columns = list(dict.fromkeys(key for record in records for key in record))
        if form in ("table", "tsv", "csv"):
            records = [{key: _cell(value) for key, value in record.items()} for record in records]
            titles = {key: visible(key) for key in columns}
            dw.out.table(records, columns=columns, titles=titles, empty=done or "no match")
        else:
            whole = answer.json if isinstance(answer.json, list) else [answer.json]
            dw.out.table(whole, columns=columns)
        return
    for line in answer.text.splitlines():
        dw.out.line(line)
    if done and not answer.text:
        dw.out.info(done)


def show_found(dw: DwContext, answer: Answer, uuid: str, *, done: str) -> None:
    """Show the results of a search; `-f uids` prints only the UUIDs, which are under the key `uuid`.

    Raises DwError if a row has no such key: the structure of responses is not published.
    """
    if dw.out.format != "uids":
        show(dw, answer, done=done)
        return
    for record in answer.records if answer.json else ():
        found = next((value for key, value in record.items() if key.lower() == uuid.lower()), None)
        if not found:
            raise DwError(f"the response has a row without {uuid}", "use -f json to see the response")
        dw.out.line(str(found))


def show_url(dw: DwContext, answer: Answer) -> None:
    """Print only the URL of a share on stdout; with --format, the response as received.

    Raises DwError, with the response, if it contains no URL.
    """
    if dw.out.format and answer.json is not None:
        show(dw, answer)
    elif dw.out.format and answer.urls:
        dw.out.table([{"url": url} for url in answer.urls], columns=("url",))
    else:
        for url in answer.urls:
            dw.out.line(url)
    if not answer.urls:
        came = f"its response: {excerpt(answer.text, 300)}" if answer.text else "its response is empty"
        raise DwError(
            f"the server returned no share URL: {came}",
            "check the account for the share before you share it again",
        )


def hint_uuids(dw: DwContext, words: Iterable[str | None]) -> None:
    """Warn about each word that does not look like a UUID; it is sent unchanged."""
    for word in words:
        if word and not inputs.looks_like_uuid(word):
            dw.out.warn(f"{word} does not look like a UUID; sending it unchanged")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
