"""`dw profile login`, `logout` and `test`."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from dwcli import config
from dwcli.context.prompts import ask, ask_name
from dwcli.context.run import DwContext
from dwcli.errors import DwError
from dwcli.options import takes

_Name = Annotated[str | None, typer.Argument(metavar="[NAME]", help="The profile (default: the selected one).")]


@takes()
def login(
    ctx: typer.Context,
    name: _Name = None,
    browser: Annotated[
        bool | None,
        typer.Option("--browser/--no-browser", help="Open a browser, or only print the URL."),
    ] = None,
) -> None:
    """Log in at the profile's OpenID provider; dw keeps and renews the login.

    Uses a browser, a device code, or user name and password, as the provider allows; `--grant` selects one.

    Examples:

    \b
      dw profile login shanoir
      dw profile login shanoir --no-browser
    """
    from dwcli.jobs import login as job

    dw: DwContext = ctx.obj
    profile = _chosen(dw, name)
    provider, file = dw.provider(profile)
    here = dw.environment.screen if browser is None else browser

    def credentials() -> tuple[str, str]:
        user = profile.login.username or ask_name(f"User name at {provider.host}: ")
        secret = profile.login.secret
        return user, secret() if secret and profile.login.username else ask(f"Password of {user}: ")

    for event in job.login(provider, file, browser=here, credentials=credentials):
        match event:
            case job.TypeCode(url, code, complete, seconds):
                dw.out.info(f"go to {url} and type {code}" + (f", or go to {complete}" if complete else ""))
                dw.out.info(f"waiting for at most {seconds / 60:.0f} min")
                if here:
                    _open(complete or url)
            case job.OpenPage(url, seconds):
                dw.out.info(f"log in at {url}")
                dw.out.info(f"waiting for the browser on this machine for at most {seconds / 60:.0f} min")
                if here:
                    _open(url)
            case job.Passed(grant, reason):
                dw.out.detail(f"skipped {grant}: {reason}")
            case job.LoggedIn(grant, expires, renewable):
                ends = "" if expires is None else f"; the token is valid for {_span(expires - time.time())}"
                again = " and dw renews it" if renewable else ", then log in again"
                dw.out.info(f"logged in at {provider.host} by {grant}{ends}{again if expires else ''}")


@takes()
def logout(ctx: typer.Context, name: _Name = None) -> None:
    """Revoke the profile's login at its provider and delete it locally.

    Examples:

    \b
      dw profile logout shanoir
    """
    from dwcli.jobs import login as job

    dw: DwContext = ctx.obj
    provider, file = dw.provider(_chosen(dw, name))
    done = job.logout(provider, file)
    if not done.there:
        dw.out.info("not logged in")
    elif done.revoked:
        dw.out.info(f"logged out locally and at {provider.host}")
    else:
        dw.out.warn(f"the login was deleted locally, but not at the provider: {done.reason}")


@takes()
def test(ctx: typer.Context, name: _Name = None) -> None:
    """Test the connection, login, search and retrieval.

    Examples:

    \b
      dw profile test pacs
    """
    from dwcli.jobs.probe import probe

    dw: DwContext = ctx.obj
    profile = _chosen(dw, name)
    proxy = profile.proxy or config.proxy_from_environment(profile.url)
    failure: list[DwError] = []

    def records() -> Iterator[dict[str, str]]:
        client = dw.connect(profile, tries=1)
        described = f"{profile.login.kind}, {profile.login.source}" if profile.login.source else profile.login.kind
        for step in probe(
            client,
            login=described,
            tls=profile.tls() if client.base.startswith("https") else None,
            proxy=proxy.rpartition("@")[2],
            here=profile.place is not None,
        ):
            if step.error:
                failure.append(step.error)
            yield {
                "step": step.name,
                "result": "failed" if step.error else "ok",
                "detail": step.error.message if step.error else step.result,
            }

    dw.out.table(records(), columns=("step", "result", "detail"))
    if failure:
        raise failure[0]


def _chosen(dw: DwContext, name: str | None) -> config.Profile:
    if name is None:
        return dw.profile
    return config.select(dw.environment, profile=name, timeout=dw.given.timeout, ask=ask)


def _open(url: str) -> None:
    import webbrowser

    webbrowser.open(url)


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
