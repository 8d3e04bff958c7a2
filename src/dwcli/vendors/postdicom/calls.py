"""One verb: checked, sent with the profile's login, and its answer shown. What the groups of commands share."""

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
    """Raises UsageError, with the profiles that have these verbs, where the chosen one has not.

    `finds`: the verb is a search, of whose answer the UUIDs alone can be asked for.
    """
    if dw.out.format in ("xml", "refs") or (dw.out.format == "uids" and not finds):
        raise UsageError(
            f"the format {dw.out.format} is for searches" + (" of studies" if finds else ""),
            f"one of: table, tsv, csv, json, jsonl, flat{', uids' if finds else ''}",
        )
    if dw.profile.dialect.vendor == _VENDOR:
        return
    have = [name for name in dw.file.names if _dialect_of(dw, name) == _VENDOR]
    who = f"profile {dw.profile.name}" if dw.profile.name else dw.profile.url
    raise UsageError(
        f"{who} is no PostDICOM account (its dialect is {dw.profile.dialect.name}): no share, folder or order",
        f"use one of these profiles with -p: {', '.join(have)}"
        if have
        else "dw profile add NAME URL --dialect postdicom --user EMAIL",
    )


def _dialect_of(dw: DwContext, name: str) -> str:
    dialect = dw.file.table(name).get("dialect", "")
    if isinstance(dialect, dict):
        return str(dialect.get("vendor") or dialect.get("name", ""))
    return str(dialect)


def call(dw: DwContext, verb: Verb) -> Answer:
    """Send one verb. Raises UsageError before anything is sent, else the DwError of a refusal, without any password."""
    asked = verb.request(dw.profile.url)
    secrets = verb.secrets
    try:
        with dw.client.request(asked) as response:
            body = response.read(_ANSWER_BYTES)
            _check(response, body)
    except DwError as error:
        # A server may quote in its complaint what was sent.
        raise error.worded(answers.hide(error.message, secrets), answers.hide(error.hint, secrets)) from None
    return answers.read(body).without(secrets)


def _check(response: "Response", body: bytes) -> None:
    if response.status >= 400:
        raise response.refusal(body)
    if reason := " ".join(response.headers.get("X-Error-Reason", "").split()):
        raise RefusedError(f"{response.host} refused: {reason}", status=response.status)
    if media.classify(response.content_type, body) is media.Body.HTML:
        raise AuthError(
            f"{response.host} answered with a web page",
            "this is usually a login page or a wrong address: dw profile test",
        )


def show(dw: DwContext, answer: Answer, *, done: str = "") -> None:
    """JSON as rows in the chosen format, other text as it is; `done` is said on stderr where the answer is empty."""
    if answer.json is not None:
        records = answer.records
        form = dw.out.format or ("table" if dw.out.terminal else "tsv")
        if form == "table" and records == [answer.json]:
            # One object, such as an order, has more attributes than a screen has room for columns.
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
    """What a search found; `-f uids` prints the UUIDs alone, which are under the key `uuid`.

    Raises DwError where a row has no such key: the shape of an answer is not published.
    """
    if dw.out.format != "uids":
        show(dw, answer, done=done)
        return
    for record in answer.records if answer.json else ():
        found = next((value for key, value in record.items() if key.lower() == uuid.lower()), None)
        if not found:
            raise DwError(f"the answer has a row without {uuid}", "-f json shows what came")
        dw.out.line(str(found))


def show_url(dw: DwContext, answer: Answer) -> None:
    """The address of a share alone on stdout; with --format the answer as it came.

    Raises DwError, with what came, where it names no address: whoever asked for one has none.
    """
    if dw.out.format and answer.json is not None:
        show(dw, answer)
    elif dw.out.format and answer.urls:
        dw.out.table([{"url": url} for url in answer.urls], columns=("url",))
    else:
        for url in answer.urls:
            dw.out.line(url)
    if not answer.urls:
        came = f"it answered {excerpt(answer.text, 300)}" if answer.text else "its answer is empty"
        raise DwError(
            f"the server named no address of the share: {came}",
            "look in the account whether it is shared, before you share it again",
        )


def hint_uuids(dw: DwContext, words: Iterable[str | None]) -> None:
    """Say of each word that looks like no UUID that it is sent as it is."""
    for word in words:
        if word and not inputs.looks_like_uuid(word):
            dw.out.warn(f"{word} does not look like a UUID; it is sent as it is")


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
