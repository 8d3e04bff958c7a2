"""One run of one command: its profile, its connections, its output, and its end."""

from contextlib import AbstractContextManager, ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import typer

from dwcli import config
from dwcli.context.global_options import GlobalOptions, make_out, parse_headers
from dwcli.errors import DwError, ExitCode, UsageError
from dwcli.output import Out

if TYPE_CHECKING:
    from dwcli.client import Client
    from dwcli.net.inprocess import InProcess
    from dwcli.net.oidc import Provider
    from dwcli.net.settings import Settings
    from dwcli.net.tokens import TokenFile

_SOON = 3  # tries

Entered = TypeVar("Entered")


class DwContext:
    """One run of one command; a context manager that gives connections back and flushes the output."""

    def __init__(self, given: GlobalOptions) -> None:
        self.given = given
        self.environment = config.Environment.read()
        self._stack = ExitStack()
        self.replaces_addresses = False
        """Whether the user was told that another server's address is read as the profile's own."""
        self._spoken_to: dict[str, config.Profile] = {}

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
    def transfer_client(self) -> "Client":
        """The same for transfers, which outlast a restart of the server."""
        return self.connect(self.profile)

    def profile_at(self, address: str) -> str:
        """The name of the profile whose base this address is, empty where there is none."""
        from dwcli.dicomweb.refs import is_at

        tables = {name: str(self.file.table(name).get("url", "")) for name in self.file.names}
        for name in config.BUILT_IN:
            tables.setdefault(name, config.built_in(name).url)
        return next((name for name, url in tables.items() if url and is_at(address, url.strip())), "")

    def ask(self, question: str) -> str:
        """Prompt for a secret, with no progress bar over it."""
        from dwcli.context.prompts import ask

        with self.out.paused():
            return ask(question)

    def connect(self, profile: config.Profile, *, tries: int | None = None, seconds: float | None = None) -> "Client":
        """A client of any profile; its connections end with this context.

        `seconds`: how long an answer may take where nobody said it; one that never comes is not asked for again.
        """
        from dwcli.client import Client
        from dwcli.context import connect
        from dwcli.net.transport import Transport

        self._spoken_to[profile.name] = profile
        anonymous = connect.settings_of(profile, self.out)
        login = connect.flow_of(profile, lambda: self._provider(profile, anonymous), self.out.warn, self._log)
        settings = anonymous._replace(auth=login, login_hint=connect.login_hint(profile))
        if tries is not None:
            settings = settings._replace(tries=tries)
        if seconds is not None:
            settings = settings._replace(patience=0.9 * min(seconds, settings.first_byte))
            if profile.timeout is None:
                settings = settings._replace(silence=seconds, first_byte=seconds)
        transport = Transport(
            settings,
            log=self._log,
            slow=self.out.info if self.out.stderr_terminal else None,
            http=self._in_process(profile.place) if profile.place else None,
        )
        self._stack.callback(transport.close)
        return Client(
            profile.url, profile.dialect, transport, warn=lambda text: self.out.warn(connect.named(text, profile))
        )

    def provider(self, profile: config.Profile) -> "tuple[Provider, TokenFile]":
        """The OpenID provider of a profile, and where its token is kept. Raises UsageError where it has none."""
        from dwcli.context import connect

        if profile.login.oidc is None:
            raise UsageError(
                f"profile {profile.name} needs no login beforehand: its kind is {profile.login.kind}",
                f"dw profile test {profile.name}",
            )
        return self._provider(profile, connect.settings_of(profile, self.out))

    def _provider(self, profile: config.Profile, settings: "Settings") -> "tuple[Provider, TokenFile]":
        from dwcli.context import connect

        self._spoken_to[profile.name] = profile
        provider, file = connect.provider_of(profile, settings, self.environment.state, self._log)
        self._stack.callback(provider.close)
        return provider, file

    def forget_login(self, name: str) -> bool:
        """Delete a profile's kept token; whether there was one."""
        from dwcli.net.tokens import TokenFile

        file = TokenFile(self.environment.state / "tokens", name, ())
        with file.locked():
            return file.forget()

    def _in_process(self, place: config.Place) -> "InProcess":
        from dwcli.context import archives
        from dwcli.net.inprocess import InProcess

        archive = archives.open_archive(place, self.out)
        self._stack.callback(archive.close)
        return InProcess(archive)

    def serve(self, root: Path | None, port: int, *, read_only: bool, reindex: bool) -> None:
        """Answer on this machine's port until interrupted: an archive, or any folder read only. Raises DwError."""
        from dwcli.context import archives

        archives.serve(root, port, self.out, read_only=read_only, reindex=reindex)

    def enter(self, room: AbstractContextManager[Entered]) -> Entered:
        """Enter a context that lasts as long as this run and is told of the error that the run ends with."""
        return self._stack.enter_context(room)

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
        end = self._end(self._named(error))
        # With the error that the run ends with, which a report quotes.
        self._stack.__exit__(type(end) if end else None, end, trace)
        if end is not None and end is not error:
            raise end

    def _named(self, error: BaseException | None) -> BaseException | None:
        """The error; what it advises to do with a profile names the one of this run, where there is one alone."""
        if not isinstance(error, DwError) or len(self._spoken_to) != 1:
            return error
        from dwcli.context import connect

        [profile] = self._spoken_to.values()
        hint = connect.named(error.hint, profile)
        return error if hint == error.hint else error.worded(hint=hint)

    def _end(self, error: BaseException | None) -> BaseException | None:
        """What a run ends with that came to `error`, after its output is handed on."""
        lost = error if isinstance(error, OSError) else None
        try:
            self.out.flush()
        except OSError as failure:
            lost = lost or failure
        except DwError as failure:  # there is no such format
            return failure
        if lost is None:
            return error
        self.out.close_quietly()
        if not isinstance(lost, BrokenPipeError):
            return DwError(f"cannot write the output: {lost.strerror or lost}")
        # A reader that has seen enough (`| head`) is not a failure; what else ended the command stays its end.
        return typer.Exit(0) if error is None or error is lost else error
