"""What a command receives: the profile, the client and the output, each made when it is first needed."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import typer

from dwcli import config
from dwcli.dicomweb.dialects import must_be_chosen
from dwcli.errors import AuthError, DwError, ExitCode, UsageError
from dwcli.output import Out

if TYPE_CHECKING:
    from dwcli.archive.app import Archive
    from dwcli.client import Client
    from dwcli.net.auth import Login
    from dwcli.net.inprocess import InProcess
    from dwcli.net.oidc import Provider
    from dwcli.net.tokens import TokenFile
    from dwcli.net.transport import Settings

_SOON = 3


@dataclass(frozen=True, slots=True)
class Globals:
    """The global options, as given before the command's name, after it, or both."""

    profile: str | None = None
    url: str | None = None
    format: str | None = None
    headers: tuple[str, ...] = ()
    timeout: float | None = None
    verbose: int = 0
    quiet: bool = False

    def then(self, later: "Globals") -> "Globals":
        """Both merged: the later one wins, headers and verbosity add up."""
        return Globals(
            profile=later.profile if later.profile is not None else self.profile,
            url=later.url if later.url is not None else self.url,
            format=later.format if later.format is not None else self.format,
            headers=self.headers + later.headers,
            timeout=later.timeout if later.timeout is not None else self.timeout,
            verbose=self.verbose + later.verbose,
            quiet=self.quiet or later.quiet,
        )


class DwContext:
    """One run of one command; a context manager that gives connections back and flushes the output."""

    def __init__(self, given: Globals) -> None:
        self.given = given
        self.environment = config.Environment.read()
        self._stack = ExitStack()

    @cached_property
    def out(self) -> Out:
        """The output, in the format asked for."""
        return make_out(self.given, self.environment)

    @cached_property
    def file(self) -> config.File:
        """The configuration file."""
        return config.File.load(self.environment.config)

    @cached_property
    def profile(self) -> config.Profile:
        """The profile chosen by flag, variable or default."""
        for option, value in (("--profile", self.given.profile), ("--url", self.given.url)):
            if value == "":
                # An unset variable of a script must not lead to the default server.
                raise UsageError(f"{option} is empty", "name one, or leave the option out")
        return config.select(
            self.environment,
            profile=self.given.profile or "",
            url=self.given.url or "",
            timeout=self.given.timeout,
            headers=parse_headers(self.given.headers),
            ask=self.ask,
        )

    @cached_property
    def client(self) -> "Client":
        """The client of that profile, for somebody who waits for the answer: soon told that there is none."""
        return self.connect(self.profile, tries=_SOON)

    @cached_property
    def patient_client(self) -> "Client":
        """The same for transfers, which outlast a restart of the server."""
        return self.connect(self.profile)

    def ask(self, question: str) -> str:
        """Prompt for a secret, with no progress bar over it."""
        with self.out.paused():
            return ask(question)

    def connect(self, profile: config.Profile, *, tries: int | None = None, seconds: float | None = None) -> "Client":
        """A client of any profile; its connections end with this context.

        `seconds`: how long an answer may take where nobody said it; one that never comes is not asked for again.
        """
        from dwcli.client import Client
        from dwcli.net.transport import Transport

        settings = self._settings(profile)
        settings = replace(settings, auth=self._flow(profile, settings), login_hint=_login_hint(profile))
        if tries is not None:
            settings = replace(settings, tries=tries)
        if seconds is not None:
            settings = replace(settings, patience=0.9 * min(seconds, settings.first_byte))
            if profile.timeout is None:
                settings = replace(settings, silence=seconds, first_byte=seconds)
        transport = Transport(settings, log=self._log, http=self._in_process(profile.place) if profile.place else None)
        self._stack.callback(transport.close)
        return Client(profile.url, profile.dialect, transport, warn=self.out.warn)

    def provider(self, profile: config.Profile) -> "tuple[Provider, TokenFile]":
        """The OpenID provider of a profile, and where its token is kept. Raises UsageError where it has none."""
        if profile.login.oidc is None:
            raise UsageError(
                f"profile {profile.name} needs no login beforehand: its kind is {profile.login.kind}",
                f"dw profile test {profile.name}",
            )
        return self._provider(profile, self._settings(profile))

    def _provider(self, profile: config.Profile, settings: "Settings") -> "tuple[Provider, TokenFile]":
        from dwcli.net.oidc import Provider, Registration
        from dwcli.net.tokens import TokenFile
        from dwcli.net.transport import origin_of_url

        login, oidc = profile.login, profile.login.oidc
        assert oidc is not None
        registration = Registration(
            issuer=oidc.issuer,
            client_id=oidc.client_id,
            scope=oidc.scope,
            secret=oidc.client_secret,
            username=login.username,
            password=login.secret,
            unattended=oidc.unattended,
            grant=oidc.grant,
            redirect=oidc.redirect,
        )
        provider = Provider(registration, settings, command=f"dw profile login {profile.name}")
        self._stack.callback(provider.close)
        bound = (origin_of_url(profile.url), oidc.issuer, oidc.client_id, oidc.scope, oidc.grant or "")
        return provider, TokenFile(self.environment.state / "tokens", profile.name, bound, login.username)

    def forget_login(self, name: str) -> bool:
        """Delete a profile's kept token; whether there was one."""
        from dwcli.net.tokens import TokenFile

        return TokenFile(self.environment.state / "tokens", name, ()).forget()

    def _flow(self, profile: config.Profile, settings: "Settings") -> "Login | None":
        from dwcli.net import auth
        from dwcli.net.transport import origin_of_url

        origin, login = origin_of_url(profile.url), profile.login
        match login.kind:
            case "basic" if login.secret:
                return auth.basic(origin, login.username, login.secret)
            case "bearer" if login.secret:
                return auth.bearer(origin, login.secret, renewable=login.renewable)
            case "oidc":
                from dwcli.net.tokens import Tokens

                provider, file = self._provider(profile, settings)
                return auth.oidc(origin, Tokens(file, provider.renew, warn=self.out.warn))
        return None

    def _settings(self, profile: config.Profile) -> "Settings":
        from dwcli.net.transport import Settings

        if profile.insecure:
            self.out.warn(f"the certificate of {profile.url} is not checked (insecure)")
        if profile.dialect.name == "auto" and (preset := must_be_chosen(profile.url)):
            self.out.warn(
                f"this address looks like {preset}: dw profile edit {profile.name or 'NAME'} --dialect {preset}"
            )
        settings = Settings(base=profile.url, headers=profile.headers, verify=profile.tls(), proxy=profile.proxy)
        if profile.timeout is not None:
            settings = replace(
                settings,
                connect=min(settings.connect, profile.timeout),
                silence=profile.timeout,
                first_byte=profile.timeout,
            )
        return settings

    def _in_process(self, place: config.Place) -> "InProcess":
        from dwcli.net.inprocess import InProcess

        return InProcess(self._archive(place))

    def _archive(self, place: config.Place, *, read_only: bool = False, prefix: str = "") -> "Archive":
        """The archive in a place, its index made or brought up to date; closed with this context."""
        from dwcli.archive import app

        with self.out.progress("indexing") as progress:

            def tell(done: int, total: int) -> None:
                progress.total(items=total)
                while progress.done_items < done:
                    progress.item()

            match place.kind:
                case "folder":
                    archive = app.open_folder(place.root, place.index, prefix=prefix, progress=tell)
                case "demo":
                    from dwcli.archive import demo

                    if demo.make(place.root):
                        self.out.info(f"a demo archive was made in {place.root}; it is only read")
                        self.out.info("a server of your own: dw profile add NAME URL")
                    archive = app.open_archive(place.root, read_only=True, prefix=prefix, progress=tell)
                case "archive":
                    archive = app.open_archive(place.root, read_only=read_only, prefix=prefix, progress=tell)
        self._stack.callback(archive.close)
        for path, reason in list(archive.folder.unreadable.items())[:5]:
            self.out.warn(f"{path} is not in this archive: {reason}")
        if (count := len(archive.folder.unreadable)) > 5:
            self.out.warn(f"{count - 5} more cannot be read")
        return archive

    def serve(self, root: Path | None, port: int, *, read_only: bool, reindex: bool) -> None:
        """Answer on this machine's port until interrupted: an archive, or any folder read only. Raises DwError."""
        from dwcli.archive import app, server

        root = (root or config.local_archive()).expanduser()
        is_archive = app.is_archive(root) or not root.exists() or not any(root.iterdir())
        place = config.Place("archive", root, root) if is_archive else config.place_of(root)
        archive = self._archive(place, read_only=read_only, prefix=server.PREFIX)
        if reindex:
            archive.folder.refresh()
        what = "archive" if is_archive else "folder"
        how = "" if is_archive and not read_only else ", read only"

        def ready(url: str) -> None:
            self.out.info(f"the {what} {root}{how} is at {url}   (Ctrl-C ends it)")

        server.run(archive, port, ready=ready, log=self.out.info)

    def finish(self, code: ExitCode) -> None:
        """End the command with this exit code."""
        if code is not ExitCode.OK:
            raise typer.Exit(int(code))

    def _log(self, level: int, text: str) -> None:
        (self.out.detail if level == 1 else self.out.debug)(text)

    def __enter__(self) -> "DwContext":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        lost = error if isinstance(error, OSError) else None
        try:
            self.out.flush()
        except OSError as failure:
            lost = lost or failure
        if lost is None:
            return
        self.out.close_quietly()
        if isinstance(lost, BrokenPipeError):
            # A reader that has seen enough (`| head`) is not a failure; what else ended the command stays its end.
            if error is None or error is lost:
                raise typer.Exit(0)
            return
        raise DwError(f"cannot write the output: {lost.strerror or lost}") from lost


def _login_hint(profile: config.Profile) -> str:
    """What to type after a 401."""
    name, login = profile.name, profile.login
    if login.kind == "oidc":
        return f"dw profile login {name}"
    if not name:
        return "set DW_USER and DW_PASSWORD, or DW_TOKEN; or dw profile add NAME URL --user U"
    match login.kind:
        case "basic":
            return f"dw profile edit {name} --user U --password-command C   (now from {login.source})"
        case "bearer":
            return f"dw profile edit {name} --token-command C   (now from {login.source})"
    return f"dw profile edit {name} --user U   (or --token-command C, or --auth oidc)"


def make_out(given: Globals, environment: config.Environment) -> Out:
    """The output that these options and this environment ask for."""
    return Out(
        format=given.format,
        verbosity=-1 if given.quiet else given.verbose,
        color=False if environment.no_color or environment.dumb else None,
        width=environment.columns,
    )


def parse_headers(given: tuple[str, ...]) -> dict[str, str]:
    """`Name: value` pairs. Raises UsageError on anything that is not one header."""
    headers: dict[str, str] = {}
    for text in given:
        name, colon, value = text.partition(":")
        if (
            not colon
            or not name.strip()
            or not (name + value).isprintable()
            or not text.isascii()
            or " " in name.strip()
        ):
            raise UsageError(f"not a header: {text!r}", "write -H 'Name: value', in ASCII and on one line")
        headers = {known: old for known, old in headers.items() if known.lower() != name.strip().lower()}
        headers[name.strip()] = value.strip()
    return headers


def ask(question: str) -> str:
    """Prompt for a secret on the terminal, unseen. Raises AuthError where there is nobody to ask."""
    from getpass import getpass

    try:
        if not sys.stdin.isatty():
            with open("/dev/tty"):  # noqa: PTH123  only to see whether there is a terminal at all
                pass
        return getpass(question)
    except (OSError, EOFError):
        raise AuthError(
            f"nobody is there to answer {question.strip().rstrip(':')!r}",
            "set DW_PASSWORD, or give the profile a source: dw profile edit NAME --password-command …",
        ) from None


def ask_name(question: str) -> str:
    """Prompt for a user's name on the terminal. Raises AuthError where there is nobody to ask."""
    try:
        with open("/dev/tty", "r+b", buffering=0) as terminal:  # noqa: PTH123
            terminal.write(question.encode())
            name = terminal.readline().decode().strip()
    except (OSError, UnicodeDecodeError):
        name = ""
    if not name:
        raise AuthError("nobody is there to give a user name", "dw profile edit NAME --user U --password-command C")
    return name
