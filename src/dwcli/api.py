"""DICOMweb for Python programs: search, retrieve, store, metadata and frames of one server.

    from dwcli import connect

    with connect("https://pacs.example.org/dicom-web", user="alice", password=secret) as pacs:
        for study in pacs.search(PatientName="Bellona*", limit=10):
            print(study.PatientName, study.StudyDate)
            pacs.retrieve(study, "out").check()

What is raised is a DwError. What a user of the command line is warned of is a DicomwebWarning; what `-v` and `-vv` show
goes to the logger `dwcli`. Importing this changes no other package.
"""

import io
import logging
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import islice
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar

from dwcli import config
from dwcli.context.global_options import GlobalOptions
from dwcli.context.run import DwContext
from dwcli.dicomweb import dictionary, query, refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import FrameRef, InstanceRef, Level, Ref
from dwcli.errors import AuthError, DwError, ExitCode, UsageError
from dwcli.jobs.result import Item, Tally
from dwcli.output import Out

if TYPE_CHECKING:
    pass

_LOG = logging.getLogger("dwcli")
_HOW_TO_LOG_IN = "pass user= and password=, or token=, to connect()"
_OF_THE_COMMAND_LINE = re.compile(r"\bdw |(?:^|\s)-{1,2}[a-zA-Z]|\bDW_[A-Z]+")

Value = TypeVar("Value")


class DicomwebWarning(UserWarning):
    """What may be wrong with a server's responses, and was worked around."""


class Row(dict[str, Any]):
    """One row of a search or of metadata: DICOM JSON as received (PS3.18 F.2), tag -> element.

    An attribute is had by its keyword, as text: `row.PatientName` is "Bellona^Jane"; "" where the row does not have it.
    Several values are joined by a backslash. AttributeError for what is no keyword.
    """

    def __init__(self, row: Mapping[str, Any], level: Level) -> None:
        super().__init__(row)
        self._level = level

    def __getattr__(self, keyword: str) -> str:
        try:
            tag = dictionary.parse_tag(keyword)
        except UsageError:
            raise AttributeError(keyword) from None
        return text(self, tag)

    @property
    def ref(self) -> Ref:
        """What the row is of, for `retrieve`, `metadata` and `frames`."""
        return refs.from_row(self, self._level)


class Transfer(NamedTuple):
    """What became of each instance. `items` have `outcome`, `study`, `series`, `instance`, `path`, `size` (bytes) and
    `reason`; `code` is the exit code that the command line would have ended with."""

    items: list[Item]
    code: ExitCode

    @property
    def ok(self) -> bool:
        """Whether everything asked for is there, as far as the server lets one know."""
        return self.code is ExitCode.OK

    def check(self) -> Self:
        """Itself. Raises DwError with the first reason where not everything succeeded."""
        for item in self.items:
            if item.code is not ExitCode.OK:
                name = "/".join(uid for uid in (item.study, item.series, item.instance) if uid) or item.path
                raise DwError(f"{item.outcome} {name}: {item.reason}", exit_code=self.code)
        return self


def connect(
    address: str | PathLike[str],
    *,
    user: str = "",
    password: str = "",
    token: str = "",
    dialect: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    ca: str | PathLike[str] | None = None,
) -> "Pacs":
    """One server, to be used in a `with`; nothing is sent before the first call.

    `address`: a DICOMweb base URL, a folder of DICOM files, or the name of a profile of the configuration; "demo" is a
    throw-away archive, "local" the user's own. `user`, `password` or `token` (bearer) replace a profile's login; they
    never leave the address's origin. `dialect`: a preset such as "orthanc"; by default what the profile says, else the
    server's ways are learnt as they show. `timeout`: seconds of silence after which to give up. `ca`: a file of
    authorities to trust.

    Raises UsageError where there is no such profile, or the address is none.
    """
    return Pacs(_Session(str(address), user, password, token, dialect, dict(headers or {}), timeout, ca))


class Pacs:
    """One server. All methods may be called from several threads at once; each iterator belongs to one thread."""

    def __init__(self, session: "_Session") -> None:
        self._session = session

    def search(
        self,
        level: str = "studies",
        *,
        study: str = "",
        series: str = "",
        include: Iterable[str] = (),
        fuzzy: bool = False,
        limit: int | None = None,
        offset: int = 0,
        **matching: str | int | Iterable[str],
    ) -> Iterator[Row]:
        """The rows that match, each once, as they come (QIDO-RS, PS3.18 10.6).

        `level`: studies, series or instances. `matching`: keywords with values as PS3.18 8.3.4.1 has them: wildcards
        `*` and `?`, `20240101-20240131` for a range; a list of values is asked for each, and its rows merged.
        `include`: further attributes that the rows should have. `limit`, `offset`: rows; without a limit all rows come.

        Raises UsageError for a keyword that is none, AuthError, AbsentError, TemporaryError.
        """
        from dwcli.jobs import find

        wanted = refs.parse_level(level)
        if wanted is None:
            raise UsageError(f"not a level: {level!r}", "studies, series or instances")
        asked = [query.Query(wanted, study=study, series=series, fuzzy=fuzzy, include=tuple(include))]
        for keyword, given in matching.items():
            values = [str(given)] if isinstance(given, str | int) else [str(value) for value in given]
            asked = query.alternatives(asked, query.parse_path(keyword), values)
        if len(asked) == 1:
            asked = [asked[0]._replace(limit=limit, offset=offset)]
        elif offset:
            raise UsageError("several values of a keyword make several searches, which have no common offset")
        found = (Row(row, wanted) for _, row in find.found(self._session.client, asked))
        return self._session.told(found if len(asked) == 1 else islice(found, limit))

    def metadata(self, ref: "Ref | Row | str") -> Iterator[Row]:
        """The metadata of each instance below a study, series or instance (WADO-RS, PS3.18 10.4.1.1.2).

        `ref`: a row, or STUDY, STUDY/SERIES or STUDY/SERIES/INSTANCE. Raises AbsentError, AuthError, TemporaryError.
        """
        rows = self._session.client.metadata(_ref(ref))
        return self._session.told(Row(row, Level.INSTANCE) for row in rows)

    def retrieve(
        self,
        ref: "Ref | Row | str | Iterable[Ref | Row | str]",
        folder: str | PathLike[str],
        *,
        transfer_syntax: str = "*",
        jobs: int = 4,
        verify: bool = False,
        overwrite: bool = False,
        layout: str = "",
    ) -> Transfer:
        """Every instance below the references as a file below `folder` (WADO-RS, PS3.18 10.4).

        Each file appears whole or not at all; what is there already is not fetched again. `transfer_syntax`: a UID or a
        name such as "explicit", "*" for as stored. `verify`: list every series and trust no count. `layout`: a template
        of names, as for the command line.

        One bad instance stops no other: look at the Transfer, or call its `check`. Raises AuthError, and DwError where
        the folder cannot be written.
        """
        from dwcli.dicomweb.media import parse_transfer_syntax
        from dwcli.files.layout import Layout
        from dwcli.files.sink import Sink
        from dwcli.jobs.retrieve import Options, Retrieval

        options = Options(parse_transfer_syntax(transfer_syntax), jobs, verify)
        with Sink(Path(folder), Layout(layout) if layout else Layout(), overwrite=overwrite) as sink:
            job = Retrieval(self._session.transfer_client, sink, options)
            return self._session.transfer(job.run(_each(ref)))

    def store(
        self,
        paths: str | PathLike[str] | Iterable[str | PathLike[str]],
        *,
        study: str = "",
        jobs: int = 4,
        verify: bool = False,
    ) -> Transfer:
        """Every DICOM file of the paths; folders are walked (STOW-RS, PS3.18 10.5).

        `study`: store into this study; instances of others fail. `verify`: fetch each instance back and compare.
        `stored` is the server's word. Raises AuthError, UsageError for a path that does not exist.
        """
        from dwcli.files.scan import scan
        from dwcli.jobs.store import Options, Storing

        named = [paths] if isinstance(paths, str | PathLike) else list(paths)
        job = Storing(self._session.transfer_client, Options(study, jobs, verify=verify))
        return self._session.transfer(job.run(scan([Path(path) for path in named])))

    def frames(
        self, ref: "InstanceRef | Row | str", numbers: Iterable[int] = (1,), transfer_syntax: str = ""
    ) -> list[bytes]:
        """The pixels of frames, counted from 1, in the order of `numbers` (WADO-RS, PS3.18 10.4.1.1.5).

        Raw little endian, or as the transfer syntax named encodes them. Raises DwError where one does not come whole.
        """
        from dwcli.dicomweb.media import parse_transfer_syntax
        from dwcli.files.spool import Spool
        from dwcli.jobs.parts import Incomplete, Receiver

        instance = _ref(ref)
        if not isinstance(instance, InstanceRef):
            raise UsageError(f"a {instance.level} has no frames of its own", "STUDY/SERIES/INSTANCE")
        wanted = list(numbers)
        syntax = parse_transfer_syntax(transfer_syntax) if transfer_syntax else ""
        asked = FrameRef(instance, tuple(sorted(set(wanted))))
        came: dict[int, bytes] = {}
        with TemporaryDirectory(prefix="dw-") as folder, Spool(Path(folder)) as spool:
            receiver = Receiver(self._session.client, spool, on_bytes=lambda _count: None)
            for found in self._session.told(receiver.frames(asked, "" if syntax == "*" else syntax)):
                if isinstance(found, Incomplete):
                    raise self._session.worded(found.error.worded(f"frame {found.number}: {found.error.message}"))
                number, part = found
                came[number] = part.path.read_bytes()
        return [came[number] for number in wanted]

    def close(self) -> None:
        """Give the connections back."""
        self._session.__exit__(None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Talk(Out):
    """What a run says, to those who listen in a program."""

    def __init__(self) -> None:
        super().__init__(verbosity=-2, stdout=io.StringIO(), stderr=io.StringIO(), stdin=io.StringIO())

    def info(self, text: str) -> None:
        _LOG.info(text)

    def detail(self, text: str) -> None:
        _LOG.info(text)

    def debug(self, text: str) -> None:
        _LOG.debug(text)

    def warn(self, text: str) -> None:
        warnings.warn(text, DicomwebWarning, stacklevel=2)

    def caution(self, text: str) -> None:
        self.warn(text)


class _Session(DwContext):
    """One run for as long as a program wants, with errors in words of Python."""

    def __init__(
        self, address: str, user: str, password: str, token: str, dialect: str, headers: dict[str, str],
        timeout: float | None, ca: str | PathLike[str] | None,
    ) -> None:  # fmt: skip
        super().__init__(GlobalOptions())
        self._address = address
        self._headers = headers
        self._timeout = timeout
        self._changes: dict[str, Any] = {}
        if user or password or token:
            kind = "bearer" if token else "basic"
            self._changes["login"] = config.Login(kind=kind, username=user, secret=lambda: token or password)
        if dialect:
            from dwcli.dicomweb.dialects import choose

            self._changes["dialect"] = choose(dialect)
        if ca is not None:
            self._changes["ca"] = Path(ca)
        self.profile  # noqa: B018  an address that is none is told of at once

    @cached_property
    def out(self) -> Out:
        """To `warnings` and `logging`."""
        return _Talk()

    @cached_property
    def profile(self) -> config.Profile:
        """What the address is."""
        named = self._address in (*config.BUILT_IN, *self.file.names)
        try:
            chosen = config.select(
                self.environment,
                profile=self._address if named else "",
                url="" if named else self._address,
                timeout=self._timeout,
                headers=self._headers,
                ask=_cannot_ask,
            )
        except DwError as error:
            raise self.worded(error) from None
        return chosen._replace(**self._changes)

    def told(self, values: Iterable[Value]) -> Iterator[Value]:
        """The same values, with errors in words of Python."""
        try:
            yield from values
        except DwError as error:
            raise self.worded(error) from error.__cause__

    def transfer(self, items: Iterable[Item]) -> Transfer:
        """What became of each."""
        tally, found = Tally(), []
        for item in self.told(items):
            tally.add(item)
            found.append(item)
        return Transfer(found, tally.code)

    def worded(self, error: DwError) -> DwError:
        """The same error, whose hint makes sense in a program."""
        if isinstance(error, AuthError):
            return error.worded(hint=_HOW_TO_LOG_IN)
        return error.worded(hint="") if _OF_THE_COMMAND_LINE.search(error.hint) else error


def _cannot_ask(_question: str) -> str:
    raise UsageError("this profile asks for its secret on a terminal", "pass password= or token= to connect()")


def _ref(given: "Ref | Row | str") -> Ref:
    match given:
        case Row():
            return given.ref
        case str():
            return refs.parse(given, None)
        case _:
            return given


def _each(given: "Ref | Row | str | Iterable[Ref | Row | str]") -> Iterator[Ref]:
    # A reference is a tuple, and a row a mapping: both iterate, and neither is a list of references.
    if isinstance(given, str | Row | refs.StudyRef | refs.SeriesRef | InstanceRef):
        yield _ref(given)
    else:
        yield from map(_ref, given)
