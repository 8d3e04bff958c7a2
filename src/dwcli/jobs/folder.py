"""What lies in a folder that is checked: the instances, and the files whose names promise what they do not hold."""

from dataclasses import dataclass, field
from pathlib import Path

from dwcli.errors import ExitCode
from dwcli.files.layout import unescape
from dwcli.files.scan import DicomFile, Skipped, Unreadable, scan
from dwcli.jobs.result import Item
from dwcli.jobs.selection import ended


@dataclass(slots=True)
class Folder:
    """`series`: the instances by study and series, then by SOP Instance UID. `twins`: further files of one of them.

    `broken`: by the UID that is the file's name, a file that is no instance, or is another one.
    """

    series: dict[tuple[str, str], dict[str, DicomFile]] = field(default_factory=dict)
    twins: list[Item] = field(default_factory=list)
    broken: dict[str, DicomFile | Skipped | Unreadable] = field(default_factory=dict)
    unreadable: dict[Path, Unreadable] = field(default_factory=dict)

    def lacks(self, study: str, series: str, instance: str) -> Item:
        """Why an instance is not here."""
        item = Item("missing", study, series, instance, reason="not in the folder", code=ExitCode.FAILED)
        found = self.broken.get(instance)
        if found is None:
            return item
        match found:
            case DicomFile(path):
                return item.ended("missing", f"{path} has its name, and holds {found.instance}", ExitCode.FAILED)
            case Skipped(path, reason):
                outcome, words = "conflict", f"there, but spoilt: {reason}"
            case Unreadable(path, reason):
                self.unreadable.pop(path, None)
                outcome, words = "failed", f"there, but {reason}"
        return Item(outcome, study, series, instance, str(path), reason=words, code=ExitCode.FAILED)  # type: ignore[arg-type]

    def left(self) -> list[Item]:
        """The files that cannot be read and that no `lacks` has named."""
        found = list(self.unreadable.values())
        return [Item("failed", path=str(one.path), reason=one.reason, code=ExitCode.FAILED) for one in found]


def read(root: Path) -> Folder:
    """Look at every file below a folder."""
    folder = Folder()
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
