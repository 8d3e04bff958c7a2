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
    """One run of one command; a context manager that closes connections and flushes the output."""

    def __init__(self, given: GlobalOptions) -> None:
        self.given = given
        self.environment = config.Environment.read()
        self._stack = ExitStack()
        self.replaces_addresses = False
        """Whether the user was told that dw reads another server's URL as the profile's own."""
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
                # An unset variable in a script must not select the default server.
                raise UsageError(f"{option} is empty", "give a value or leave the option out")
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
        """The client of that profile, for interactive commands: it gives up after few tries."""
        return self.connect(self.profile, tries=_SOON)

    @cached_property
    def transfer_client(self) -> "Client":
        """The client for transfers, which retries long enough to survive a restart of the server."""
        return self.connect(self.profile)

    def profile_at(self, address: str) -> str:
        """Return the name of the profile with this base URL, empty if there is none."""
        from dwcli.dicomweb.refs import is_at

        tables = {name: str(self.file.table(name).get("url", "")) for name in self.file.names}
        for name in config.BUILT_IN:
            tables.setdefault(name, config.built_in(name).url)
        return next((name for name, url in tables.items() if url and is_at(address, url.strip())), "")

    def ask(self, question: str) -> str:
        """Prompt for a secret; pauses the progress bar."""
        from dwcli.context.prompts import ask

        with self.out.paused():
            return ask(question)

    def connect(self, profile: config.Profile, *, tries: int | None = None, seconds: float | None = None) -> "Client":
        """Return a client of any profile; its connections end with this context.

        `seconds`: time limit for a response if the profile sets none; a request without a response is not repeated.
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
        """Return the OpenID provider of a profile, and its token file. Raises UsageError if it has none."""
        from dwcli.context import connect

        if profile.login.oidc is None:
            raise UsageError(
                f"profile {profile.name} needs no login command (auth kind: {profile.login.kind})",
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
        """Delete a profile's saved token; returns whether there was one."""
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
        """Serve an archive, or any folder read only, on a local port until interrupted. Raises DwError."""
        from dwcli.context import archives

        archives.serve(root, port, self.out, read_only=read_only, reindex=reindex)

    def enter(self, room: AbstractContextManager[Entered]) -> Entered:
        """Enter a context that lasts as long as this run and receives the run's final error."""
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
        # Pass the run's final error: a report quotes it.
        self._stack.__exit__(type(end) if end else None, end, trace)
        if end is not None and end is not error:
            raise end

    def _named(self, error: BaseException | None) -> BaseException | None:
        """Return the error; its hint names the profile of this run if there is only one."""
        if not isinstance(error, DwError) or len(self._spoken_to) != 1:
            return error
        from dwcli.context import connect

        [profile] = self._spoken_to.values()
        hint = connect.named(error.hint, profile)
        return error if hint == error.hint else error.worded(hint=hint)

    def _end(self, error: BaseException | None) -> BaseException | None:
        """Flush the output and return the final error of a run that raised `error`."""
        lost = error if isinstance(error, OSError) else None
        try:
            self.out.flush()
        except OSError as failure:
            lost = lost or failure
        except DwError as failure:  # unknown format
            return failure
        if lost is None:
            return error
        self.out.close_quietly()
        if not isinstance(lost, BrokenPipeError):
            return DwError(f"cannot write the output: {lost.strerror or lost}")
        # A closed pipe (`| head`) is not a failure; any other error stays the result.
        return typer.Exit(0) if error is None or error is lost else error
