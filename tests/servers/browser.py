"""A person with a browser: follows redirects, fills forms in, keeps cookies."""

import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request
from html.parser import HTMLParser


class Browser:
    """`visit` goes to a page and fills in one form after another by the names of their fields."""

    def __init__(self) -> None:
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), jar)

    def visit(self, url: str, fields: dict[str, str], *, forms: int = 6) -> str:
        """The last page's text, after at most `forms` forms; a button is pressed where `fields` names its value."""
        page, here = self._open(url, None)
        for _ in range(forms):
            form = _Forms.first(page)
            if form is None:
                return page
            values = {name: fields.get(name, value) for name, value in form.fields.items()}
            for name, value in form.buttons:
                if fields.get(name) == value:
                    values[name] = value
            target = urllib.parse.urljoin(here, form.action or here)
            page, here = self._open(target, urllib.parse.urlencode(values).encode())
        return page

    def _open(self, url: str, data: bytes | None) -> tuple[str, str]:
        try:
            with self._opener.open(url, data, timeout=20) as reply:
                return reply.read().decode("utf-8", "replace"), reply.url
        except urllib.error.HTTPError as error:
            with error:
                return error.read().decode("utf-8", "replace"), url


class _Form:
    def __init__(self, action: str) -> None:
        self.action = action
        self.fields: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[_Form] = []

    @classmethod
    def first(cls, page: str) -> _Form | None:
        parser = cls()
        parser.feed(page)
        return parser.forms[0] if parser.forms else None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        if tag == "form":
            self.forms.append(_Form(found.get("action", "")))
        elif self.forms and tag in ("input", "button") and found.get("name"):
            if tag == "button" or found.get("type") == "submit":
                self.forms[-1].buttons.append((found["name"], found.get("value", "")))
            else:
                self.forms[-1].fields[found["name"]] = found.get("value", "")
