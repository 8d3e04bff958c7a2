"""PostDICOM's responses as data. Their structure is not published: usually JSON, else text."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_URL = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_SECRET = 4
"""Minimum length of a secret to hide; shorter ones occur in any text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One response: `text` as received, `json` its value if it is an object or a list, else None."""

    text: str
    json: Any = None

    @property
    def urls(self) -> list[str]:
        """The HTTP URLs in the response, in order, each once."""
        texts = _strings(self.json) if self.json is not None else [self.text]
        return list(dict.fromkeys(match[0].rstrip(".,;)") for text in texts for match in _URL.finditer(text)))

    @property
    def records(self) -> list[dict[str, Any]]:
        """The rows of a table: the items of a list, also of the only list in an object; else one row."""
        value = self.json
        if isinstance(value, dict) and len(value) == 1:
            only = next(iter(value.values()))
            value = only if isinstance(only, list) and all(isinstance(item, dict) for item in only) else value
        items = value if isinstance(value, list) else [value]
        return [item if isinstance(item, dict) else {"value": item} for item in items]

    def without(self, secrets: Sequence[str]) -> "Answer":
        """Return the response without these secrets, which the server may repeat; URLs stay unchanged."""
        if not secrets:
            return self
        return Answer(hide(self.text, secrets), _mapped(self.json, lambda text: hide(text, secrets)))


def hide(text: str, secrets: Sequence[str]) -> str:
    """Replace secrets in `text` by `(not shown)`, except in URLs and for secrets that are too short."""
    parts, at = [], 0
    for url in (*_URL.finditer(text), None):
        part = text[at : url.start() if url else None]
        for secret in secrets:
            part = part.replace(secret, "(not shown)") if len(secret) >= _SECRET else part
        parts += [part, url[0] if url else ""]
        at = url.end() if url else at
    return "".join(parts)


def read(body: bytes) -> Answer:
    """Parse the body of a response; unwraps JSON that was encoded as a JSON string again."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff").strip()
    value: Any = text
    for _ in range(2):
        try:
            value = json.loads(value)
        except ValueError:
            break
        if isinstance(value, dict | list):
            return Answer(text, value)
        if not isinstance(value, str):
            break
    return Answer(value.strip() if isinstance(value, str) else text)


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for item in value.values():
                yield from _strings(item)
        case list():
            for item in value:
                yield from _strings(item)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    match value:
        case str():
            return change(value)
        case dict():
            return {key: _mapped(item, change) for key, item in value.items()}
        case list():
            return [_mapped(item, change) for item in value]
    return value
