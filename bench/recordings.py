"""Answers of a DICOMweb server as files: multipart bodies and lists of rows, made once and kept."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from servers import images

BOUNDARY = "b2e8f1c4-7d5a-4c1e-9f3b-0a6d2c8e4f71"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
ROWS = "application/dicom+json"


@dataclass(frozen=True, slots=True)
class Study:
    """A made-up study: `size` bytes in `count` instances, spread over so many series; its files in order."""

    uid: str
    size: int
    count: int
    series: int
    files: tuple[Path, ...]

    def series_of(self, number: int) -> str:
        """The Series Instance UID of instance `number`, from 1."""
        return images.uid(self.uid, number % self.series)


class Recordings:
    """A folder of answers and `routes.json`, which maps a path to the file and the media type of its answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.routes = folder / "routes.json"
        self._known: dict[str, tuple[str, str]] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def study(self, size: int, count: int, series: int = 1) -> Study:
        """The files of a study; written where they are not there yet."""
        uid = images.uid("bench", size, count, series)
        folder = self.folder / uid
        done = folder / "complete"
        if done.exists():
            files = sorted(folder.glob("*.dcm"))
        else:
            files = images.big_study(folder, size, count=count, series=series, study=uid)
            done.touch()
        return Study(uid, size, count, series, tuple(files))

    def record(self, study: Study) -> None:
        """Answers for a study: its series with their counts, each as a multipart body, and all of it as one."""
        members: dict[str, list[Path]] = {}
        for number, file in enumerate(study.files, 1):
            members.setdefault(study.series_of(number), []).append(file)
        rows = [_series_row(study.uid, uid, len(files)) for uid, files in members.items()]
        self._rows(f"/studies/{study.uid}/series", rows)
        whole = f"/studies/{study.uid}"
        self._parts(whole, list(study.files))
        for uid, files in members.items():
            path = f"{whole}/series/{uid}"
            if len(members) == 1:  # the same bytes
                self._add(path, self._file(whole), MULTIPART)
            else:
                self._parts(path, files)

    def record_search(self, base: str, count: int) -> None:
        """An answer of so many studies to any search for some below `base`."""
        self._rows(f"{base}/studies", (_study_row(number) for number in range(count)), name=f"studies-{count}")

    def _parts(self, path: str, files: list[Path]) -> None:
        body = self._file(path)
        if not body.exists():
            draft = body.with_suffix(".draft")
            with draft.open("wb") as out:
                for number, file in enumerate(files):
                    line = "\r\n" if number else ""
                    length = file.stat().st_size
                    head = f"{line}--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {length}\r\n\r\n"
                    out.write(head.encode())
                    with file.open("rb") as data:
                        while chunk := data.read(1 << 20):
                            out.write(chunk)
                out.write(f"\r\n--{BOUNDARY}--\r\n".encode())
            draft.rename(body)
        self._add(path, body, MULTIPART)

    def _rows(self, path: str, rows: Iterator[dict[str, object]] | list[dict[str, object]], name: str = "") -> None:
        body = self._file(name or path)
        if not body.exists():
            draft = body.with_suffix(".draft")
            with draft.open("w") as out:
                for number, row in enumerate(rows):
                    out.write(("," if number else "[") + json.dumps(row, separators=(",", ":")))
                out.write("]")
            draft.rename(body)
        self._add(path, body, ROWS)

    def _file(self, name: str) -> Path:
        return self.folder / (name.strip("/").replace("/", "_") + ".body")

    def _add(self, path: str, body: Path, media_type: str) -> None:
        self._known[path] = (body.name, media_type)
        draft = self.routes.with_suffix(".draft")
        draft.write_text(json.dumps(self._known, indent=1))
        draft.rename(self.routes)


def _element(vr: str, *values: object) -> dict[str, object]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


def _series_row(study: str, series: str, count: int) -> dict[str, object]:
    return {
        "00080060": _element("CS", "OT"),
        "0020000D": _element("UI", study),
        "0020000E": _element("UI", series),
        "00200011": _element("IS", 1),
        "00201209": _element("IS", count),
    }


def _study_row(number: int) -> dict[str, object]:
    """What a server gives of a study by default (PS3.18 table 10.6.3-3)."""
    uid = images.uid("bench row", number)
    return {
        "00080005": _element("CS", "ISO_IR 192"),
        "00080020": _element("DA", f"2024{number % 12 + 1:02}{number % 28 + 1:02}"),
        "00080030": _element("TM", "101500.000"),
        "00080050": _element("SH", f"ACC{number:07}"),
        "00080056": _element("CS", "ONLINE"),
        "00080061": _element("CS", "CT", "SR"),
        "00080090": _element("PN", {"Alphabetic": "Referring^Doctor"}),
        "00081030": _element("LO", "Thorax und Abdomen mit Kontrastmittel"),
        "00081190": _element("UR", f"http://127.0.0.1/dicom-web/studies/{uid}"),
        "00100010": _element("PN", {"Alphabetic": f"Family{number}^Given"}),
        "00100020": _element("LO", f"ID{number:08}"),
        "00100030": _element("DA", "19700101"),
        "00100040": _element("CS", "O"),
        "0020000D": _element("UI", uid),
        "00200010": _element("SH", str(number)),
        "00201206": _element("IS", 4),
        "00201208": _element("IS", 412),
    }
