"""Check a folder for completeness: compare the instances that a server lists with the files."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dwcli.client import Client
from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.query import Query, Term
from dwcli.dicomweb.refs import InstanceRef, Level, Ref, SeriesRef, StudyRef
from dwcli.errors import AbsentError, AuthError, DwError, ExitCode, ProtocolError, RefusedError
from dwcli.files.existing import is_truncated
from dwcli.files.layout import unescape
from dwcli.files.scan import DicomFile, Skipped, Unreadable, scan
from dwcli.jobs import compare
from dwcli.jobs.pool import Pool
from dwcli.jobs.result import Item, failed
from dwcli.jobs.selection import ended

_CANNOT = (RefusedError, AbsentError, ProtocolError)


class NamelessError(ProtocolError):
    """A listing whose rows do not say what they are."""


def check(
    client: Client,
    asked: Iterable[Ref],
    root: Path,
    *,
    deep: bool,
    jobs: int,
    on_expect: Callable[[int], None] = lambda _n: None,
) -> Iterator[Item]:
    """One item for each instance: present, missing in the folder, extra there, or in conflict with the server's.

    `deep` fetches each instance and compares its bytes; otherwise a file that has the UIDs counts as the instance.
    What a server that can list does not list is a failure (absent); where it cannot, the whole is unverified. Raises
    AuthError.
    """
    here = _read(root)
    yield from here.twins
    yield from _Check(client, here, deep=deep, jobs=jobs, on_expect=on_expect).run(asked)
    yield from here.left()


class _Check:
    def __init__(
        self, client: Client, here: "_Folder", *, deep: bool, jobs: int, on_expect: Callable[[int], None]
    ) -> None:
        self._client = client
        self._here = here
        self._deep = deep
        self._on_expect = on_expect
        self._pool: Pool[Item] = Pool(jobs, abort=client.transport.stop)

    def run(self, asked: Iterable[Ref]) -> Iterator[Item]:
        yield from self._pool.run(partial(self._guarded, ref, partial(self._start, ref)) for ref in asked)

    def _guarded(self, ref: Ref, task: Callable[[], None]) -> None:
        """Continue after one failed check; a failed login ends the run."""
        try:
            task()
        except AuthError:
            raise
        except DwError as error:
            self._pool.emit(failed(error, ref.study, ref.series, ref.instance))

    def _start(self, ref: Ref) -> None:
        found = self._client.resolve(ref)
        match found:
            case StudyRef(study):
                try:
                    there = [text(row, refs.SERIES_UID) for row in self._client.series_of(study)]
                    if not there:
                        raise AbsentError(f"the server lists no series in study {study}")
                    if not all(there):
                        raise NamelessError("the server lists a series without its Series Instance UID")
                except _CANNOT as error:
                    self._unlisted(found, error)
                    return
                only_here = [series for owner, series in self._here.series if owner == study and series not in there]
                for series in [*there, *only_here]:
                    part = SeriesRef(study, series)
                    self._pool.add(partial(self._guarded, part, partial(self._series, part)))
            case _:
                self._series(found)

    def _series(self, ref: SeriesRef | InstanceRef) -> None:
        """A series, or one instance of it, as the server lists it."""
        files = self._here.series.get((ref.study, ref.series), {})
        try:
            rows = self._client.search(Query(Level.INSTANCE, study=ref.study, series=ref.series))
            named = [text(row, refs.INSTANCE_UID) for row in rows]
            there = _of(ref, named)
            if not there and not all(named):
                raise NamelessError("the server lists instances without their SOP Instance UIDs")
            if not there and (isinstance(ref, InstanceRef) or not files):
                raise AbsentError("not found in the server's lists")
        except _CANNOT as error:
            self._unlisted(ref, error)
            return
        self._against(ref, there, nameless=named.count(""))

    def _unlisted(self, ref: Ref, error: DwError) -> None:
        """A server that does not list it by a search: by its metadata perhaps, or not at all."""
        found = self._described(ref)
        if found:
            nameless = len(found.pop("", []))
            for series, uids in found.items():
                part = ref if isinstance(ref, InstanceRef) else SeriesRef(ref.study, series)
                self._against(part, _of(part, uids), nameless=uids.count(""))
            if nameless:
                self._nameless(ref, nameless)
            return
        if not isinstance(error, NamelessError) and self._lists():
            raise error
        for (study, series), files in self._here.series.items():
            if study == ref.study and ref.series in ("", series) and self._deep:
                for file in files.values():
                    if ref.instance in ("", file.instance):
                        self._pool.emit(self._compared(file))
        words = f"the server lists nothing, so missing instances are unknown ({error.message})"
        if isinstance(error, NamelessError):
            words = f"cannot be verified: {error.message}"
        above = ref.study, ref.series, ref.instance
        self._pool.emit(Item("unverified", *above, reason=words, code=ExitCode.PARTIAL))

    def _described(self, ref: Ref) -> dict[str, list[str]]:
        """The SOP Instance UIDs in the metadata of a reference, by series; empty where they tell nothing of it."""
        found: dict[str, list[str]] = {}
        try:
            for row in self._client.metadata(ref):
                series = ref.series or text(row, refs.SERIES_UID)
                # Of a row without its series nothing can be said but that there is one more instance.
                found.setdefault(series, []).append(text(row, refs.INSTANCE_UID) if series else "")
        except _CANNOT:
            return {}
        meant = not ref.instance or any(uid in ("", ref.instance) for uids in found.values() for uid in uids)
        return found if meant else {}

    def _lists(self) -> bool:
        """Whether the server can list at all: request a study that cannot exist."""
        try:
            for _ in self._client.search(Query(Level.STUDY, terms=(Term(refs.STUDY_UID, "2.25.0"),), limit=1)):
                break
        except _CANNOT:
            return False
        return True

    def _against(self, ref: SeriesRef | InstanceRef, there: Iterable[str], *, nameless: int = 0) -> None:
        """What the server lists of a series against the files that claim to be of it.

        `nameless`: how many rows name no instance, so that a file may be one of those.
        """
        files = self._here.series.get((ref.study, ref.series), {})
        uids = dict.fromkeys(there)  # in the server's order
        self._on_expect(len(uids))
        for uid in uids:
            file = files.get(uid)
            if file is None:
                self._pool.emit(self._here.lacks(ref.study, ref.series, uid))
            else:
                self._pool.emit(self._compared(file) if self._deep else self._looked_at(file))
        if nameless and (isinstance(ref, SeriesRef) or not uids):
            self._nameless(ref, nameless)
        elif isinstance(ref, SeriesRef):
            for uid, file in files.items():
                if uid not in uids:
                    self._pool.emit(ended(file, "extra", "the server does not list it", ExitCode.FAILED))

    def _nameless(self, ref: Ref, count: int) -> None:
        """Report rows without UIDs, which cannot be compared with anything."""
        rows = "1 row names" if count == 1 else f"{count} rows name"
        words = f"cannot be verified: {rows} no SOP Instance UID, or no Series Instance UID"
        above = ref.study, ref.series, ref.instance
        self._pool.emit(Item("unverified", *above, reason=words, code=ExitCode.PARTIAL))

    def _looked_at(self, file: DicomFile) -> Item:
        """A file that is there, by itself."""
        try:
            if is_truncated(file.path):
                words = "present, but truncated: it ends inside a data element; --deep compares it with the server's"
                return ended(file, "conflict", words, ExitCode.FAILED)
        except OSError as error:
            return ended(file, "failed", f"cannot be read: {error.strerror or error}", ExitCode.FAILED)
        return ended(file, "present")

    def _compared(self, file: DicomFile) -> Item:
        ref = InstanceRef(file.study, file.series, file.instance)
        match compare.with_server(self._client, ref, file.open):
            case compare.Verdict.EQUAL if is_truncated(file.path):
                return ended(file, "warned", "truncated on the server")
            case compare.Verdict.EQUAL:
                return ended(file, "present")
            case compare.Verdict.DIFFERENT:
                return ended(file, "conflict", "its content differs from the server's", ExitCode.FAILED)
            case compare.Verdict.ABSENT:
                return ended(file, "extra", "the server does not have it", ExitCode.FAILED)
            case compare.Verdict.UNKNOWN:
                words = "the server does not return it, so it cannot be compared"
                return ended(file, "failed", words, ExitCode.FAILED)


def _of(ref: SeriesRef | InstanceRef, uids: Iterable[str]) -> list[str]:
    """Those that are meant by a reference."""
    return [uid for uid in uids if uid and ref.instance in ("", uid)]


@dataclass(slots=True)
class _Folder:
    """What lies in a folder that is checked: the instances, and the files whose names promise what they do not hold.

    `series`: the instances by study and series, then by SOP Instance UID. `twins`: further files of one of them.

    `broken`: by the UID that is the file's name, a file that is no instance, or is another one.
    """

    series: dict[tuple[str, str], dict[str, DicomFile]] = field(default_factory=dict)
    twins: list[Item] = field(default_factory=list)
    broken: dict[str, DicomFile | Skipped | Unreadable] = field(default_factory=dict)
    unreadable: dict[Path, Unreadable] = field(default_factory=dict)

    def lacks(self, study: str, series: str, instance: str) -> Item:
        """The reason why an instance is not here."""
        item = Item("missing", study, series, instance, reason="not in the folder", code=ExitCode.FAILED)
        found = self.broken.get(instance)
        if found is None:
            return item
        match found:
            case DicomFile(path):
                return item.ended("missing", f"{path} has its name but contains {found.instance}", ExitCode.FAILED)
            case Skipped(path, reason):
                outcome, words = "conflict", f"present, but damaged: {reason}"
            case Unreadable(path, reason):
                self.unreadable.pop(path, None)
                outcome, words = "failed", f"present, but {reason}"
        return Item(outcome, study, series, instance, str(path), reason=words, code=ExitCode.FAILED)  # type: ignore[arg-type]

    def left(self) -> list[Item]:
        """The files that cannot be read and that no `lacks` has named."""
        found = list(self.unreadable.values())
        return [Item("failed", path=str(one.path), reason=one.reason, code=ExitCode.FAILED) for one in found]


def _read(root: Path) -> _Folder:
    """Look at every file below a folder."""
    folder = _Folder()
    for file in scan([root]):
        name = unescape(file.path.stem) or file.path.stem
        match file:
            case DicomFile():
                if name != file.instance:
                    folder.broken[name] = file
                series = folder.series.setdefault((file.study, file.series), {})
                first = series.setdefault(file.instance, file)
                if first is not file:
                    if name == file.instance:  # the one that is named so is the instance
                        series[file.instance], first, file = file, file, first
                    words = f"{first.path} has the same SOP Instance UID"
                    folder.twins.append(ended(file, "extra", words, ExitCode.FAILED))
            case Unreadable():
                folder.broken[name] = folder.unreadable[file.path] = file
            case Skipped():
                folder.broken[name] = file
    return folder
