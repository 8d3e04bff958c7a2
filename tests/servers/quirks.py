"""Servers that cannot be started here, as small scripted ones: the same few studies, each in its own accent.

What each does comes from its documents and from the recorded answers in the seeds; `Quirky` itself is a plain server.
"""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from dwcli.dicomweb import dialects, dictionary, nativexml
from servers import images
from servers.fake import Answer, Request

Row = dict[str, Any]
JSON = "application/dicom+json"


def one(vr: str, *values: Any) -> dict[str, Any]:
    return {"vr": vr, "Value": list(values)} if values else {"vr": vr}


class Quirky:
    """`studies` of one series each with two instances; UIDs are 1.N, 1.N.1 and 1.N.1.M. A `Fake`'s handler."""

    default_limit: int | None = None
    largest_limit: int | None = None
    content_type = JSON

    def __init__(self, studies: int = 3) -> None:
        self.studies = [
            {
                "00080020": one("DA", f"202401{1 + n % 28:02}"),
                "00080030": one("TM", f"1{n % 10}0000"),
                "00080061": one("CS", "CT" if n % 2 else "MR"),
                "00100010": one("PN", {"Alphabetic": f"Doe^{n}"}),
                "00100020": one("LO", f"ID{n}"),
                "0020000D": one("UI", f"1.{n}"),
                "00201208": one("IS", 2),
            }
            for n in range(studies)
        ]

    def __call__(self, request: Request) -> Answer:
        split = urlsplit(request.target)
        given = self.given(split.query)
        parts = [unquote(part) for part in split.path.strip("/").split("/")]
        below = parts[parts.index("studies") :] if "studies" in parts else parts[-1:]
        return self.answer(request, below, given) if request.method == "GET" else self.change(request, below)

    def given(self, query: str) -> dict[str, str]:
        return dict(parse_qsl(query, keep_blank_values=True))

    def change(self, request: Request, parts: list[str]) -> Answer:
        """A request that is no GET: here a plain DELETE of a study."""
        return self.removed(parts[1]) if request.method == "DELETE" and len(parts) == 2 else Answer(405)

    def removed(self, study: str) -> Answer:
        found = self.has(study)
        self.studies = [row for row in self.studies if row["0020000D"]["Value"] != [study]]
        return Answer(204 if found else 404)

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        match parts:
            case ["studies"]:
                return self.rows(request, self.studies, given)
            case ["studies", study, "series"]:
                return self.rows(request, self.series(study), given)
            case ["series"]:
                return self.rows(request, self.below(self.series), given)
            case ["instances"]:
                return self.rows(request, self.below(self.instances), given)
            case ["studies", study, "instances"] | ["studies", study, "series", _, "instances"]:
                return self.rows(request, self.instances(study), given)
            case ["studies", study, *_, "metadata"] if self.has(study):
                return self.rows(request, self.instances(study), {})
            case ["studies", study] | ["studies", study, "series", _]:
                return self.whole(request, study)
            case ["studies", study, "series", _, "instances", instance]:
                return self.instance(request, study, instance)
        return Answer(404)

    def below(self, rows: Callable[[str], list[Row]]) -> list[Row]:
        return [row for study in self.studies for row in rows(study["0020000D"]["Value"][0])]

    def series(self, study: str) -> list[Row]:
        row = {
            "00080060": one("CS", "CT"),
            "0020000D": one("UI", study),
            "0020000E": one("UI", f"{study}.1"),
            "00201209": one("IS", 2),
        }
        return [row] if self.has(study) else []

    def instances(self, study: str) -> list[Row]:
        above = {"0020000D": one("UI", study), "0020000E": one("UI", f"{study}.1")}
        rows = [{**above, "00080018": one("UI", f"{study}.1.{m}"), "00200013": one("IS", m)} for m in (1, 2)]
        return rows if self.has(study) else []

    def has(self, study: str) -> bool:
        return any(row["0020000D"]["Value"] == [study] for row in self.studies)

    def rows(self, request: Request, rows: list[Row], given: dict[str, str]) -> Answer:
        keys = {key: value for key, value in given.items() if key not in ("limit", "offset", "includefield")}
        kept = [row for row in rows if all(self.matches(row, key, value) for key, value in keys.items())]
        limit = int(given.get("limit", self.default_limit or len(kept) + 1))
        if self.largest_limit is not None:
            limit = min(limit, self.largest_limit)
        start = self.start(int(given.get("offset", 0)), limit)
        return self.encoded(request, kept[start : start + limit], len(kept))

    def start(self, offset: int, limit: int) -> int:
        return offset

    def matches(self, row: Row, key: str, value: str) -> bool:
        tag = dictionary.parse_tag(key)
        found = row.get(tag, {}).get("Value", [])
        words = [item["Alphabetic"] if isinstance(item, dict) else str(item) for item in found]
        return any(word == value or (value.endswith("*") and word.startswith(value[:-1])) for word in words)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        return Answer(200, {"Content-Type": self.content_type}, json.dumps(rows).encode())

    def whole(self, request: Request, study: str) -> Answer:
        return self.parts([self.file(study, f"{study}.1.{m}") for m in (1, 2)]) if self.has(study) else Answer(404)

    def instance(self, request: Request, study: str, instance: str) -> Answer:
        return self.parts([self.file(study, instance)])

    def file(self, study: str, instance: str) -> bytes:
        return images.instance(study, f"{study}.1", instance)

    def parts(
        self, files: list[bytes], head: str = 'multipart/related; type="application/dicom"; boundary=b'
    ) -> Answer:
        body = b"".join(b"--b\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files)
        return Answer(200, {"Content-Type": head} if head else {}, body + b"--b--")


class Orthanc(Quirky):
    """The plugin 1.7 as Debian has it: never decodes, knows no key but the usual ones, deletes by its core's REST."""

    def __call__(self, request: Request) -> Answer:
        if request.target.startswith("/tools/lookup"):
            uid = request.body.decode()
            found = [{"ID": uid, "Path": f"/studies/{uid}", "Type": "Study"}] if self.has(uid) else []
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(found).encode())
        if request.method == "DELETE" and not request.target.startswith("/studies"):
            return self.error(405, "Method not allowed")
        return super().__call__(request)

    def error(self, status: int, words: str) -> Answer:
        said = {"HttpStatus": status, "Message": words, "OrthancError": words, "OrthancStatus": 8}
        return Answer(status, {}, json.dumps(said).encode())

    def matches(self, row: Row, key: str, value: str) -> bool:
        strange = dictionary.parse_tag(key) not in row
        return strange or ("%" not in value and super().matches(row, key, value))

    def given(self, query: str) -> dict[str, str]:
        return dict(pair.partition("=")[::2] for pair in query.split("&") if pair)

    def whole(self, request: Request, study: str) -> Answer:
        if not str(request.header("Accept")).startswith("multipart/related"):
            return self.error(400, "Bad request")
        return super().whole(request, study)


class OldOrthanc(Orthanc):
    """The plugin before 0.5: JSON for one exact type only, names and counts as strings, Value before vr."""

    def given(self, query: str) -> dict[str, str]:
        return Quirky.given(self, query)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        if request.header("Accept") == "application/json":
            old = [{tag: self.old(element) for tag, element in row.items()} for row in rows]
            return Answer(200, {"Content-Type": "application/json"}, json.dumps(old).encode())
        documents = [nativexml.write(row).encode() for row in rows]
        body = b"".join(b"--x\r\nContent-Type: application/dicom+xml\r\n\r\n" + one + b"\r\n" for one in documents)
        kind = 'multipart/related; type="application/dicom+xml"; boundary=x'
        return Answer(200, {"Content-Type": kind}, body + b"--x--")

    def old(self, element: dict[str, Any]) -> dict[str, Any]:
        found = element.get("Value", [""])
        words = [item["Alphabetic"] if isinstance(item, dict) else str(item) for item in found]
        return {"Value": words, "vr": element["vr"]}


class Dcm4chee(Quirky):
    """204 for nothing; a raw `^` is refused; an instance alone is not had as one body; what goes is rejected."""

    def __call__(self, request: Request) -> Answer:
        if "^" in request.target:
            return Answer(400)
        return super().__call__(request)

    def change(self, request: Request, parts: list[str]) -> Answer:
        match request.method, parts:
            case "POST", ["studies", study, "reject", "113001^DCM"]:
                self.removed(study)
                return Answer(200, {"Content-Type": "application/json"}, b'{"count":2}')
        return Answer(405)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        return super().encoded(request, rows, total) if rows else Answer(204)

    def parts(self, files: list[bytes], head: str = "") -> Answer:
        start = 'multipart/related;start="<1e5b@resteasy-multipart>";transfer-syntax=1.2.840.10008.1.2.1;'
        return super().parts(files, f'{start}type="application/dicom"; boundary=b')


class Shanoir(Quirky):
    """Pages are numbered and must be asked for; instances are in metadata only; nothing says what it is."""

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        match parts:
            case ["studies"] if not {"limit", "offset"} <= given.keys():
                return Answer(
                    500, {"Content-Type": "application/json"}, b'{"status":500,"error":"Internal Server Error"}'
                )
            case ["studies", _] | ["studies", _, "series", _] | ["studies", _, "metadata"]:
                return Answer(404)
            case ["series"] | [*_, "instances"]:
                return Answer(200)
        return super().answer(request, parts, given)

    def change(self, request: Request, parts: list[str]) -> Answer:
        return Answer(405)

    def start(self, offset: int, limit: int) -> int:
        return offset * limit

    def matches(self, row: Row, key: str, value: str) -> bool:
        known = ("PatientName", "00100020", "StudyInstanceUID", "SeriesInstanceUID")
        return key not in known or super().matches(row, key, value)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        body = json.dumps(rows)
        return Answer(200, {}, (body[:-1] + ",]" if rows else body).encode())

    def parts(self, files: list[bytes], head: str = "") -> Answer:
        return super().parts(files, "")


class Google(Quirky):
    """Few keys, no wildcards, no counts; everything else is a 400. Pages of 100 where nobody says otherwise."""

    keys = frozenset(dialects.PRESETS["google"].known_keys)
    asked_for = frozenset[str]()
    default_limit = 100
    largest_limit = 5000

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        if parts[-1:] == ["operation"]:
            return Answer(
                200, {"Content-Type": "application/json"}, b'{"name":"projects/p/operations/operation","done":true}'
            )
        strange = given.keys() - self.keys - {"limit", "offset", "includefield"}
        if strange or int(given.get("limit", 1)) > (self.largest_limit or 0):
            words = {
                "error": {"code": 400, "message": "invalid query parameter or limit", "status": "INVALID_ARGUMENT"}
            }
            return Answer(400, {"Content-Type": "application/json"}, json.dumps(words).encode())
        return super().answer(request, parts, given)

    def change(self, request: Request, parts: list[str]) -> Answer:
        if super().change(request, parts).status != 204:
            return Answer(404)
        return Answer(200, {"Content-Type": "application/json"}, b'{"name":"projects/p/operations/operation"}')

    def series(self, study: str) -> list[Row]:
        return [{tag: element for tag, element in row.items() if tag != "00201209"} for row in super().series(study)]

    def rows(self, request: Request, rows: list[Row], given: dict[str, str]) -> Answer:
        wanted = parse_qsl(urlsplit(request.target).query)
        named = {dictionary.parse_tag(value) for key, value in wanted if key == "includefield"}
        hidden = self.asked_for - named
        found = [{tag: element for tag, element in row.items() if tag not in hidden} for row in rows]
        return super().rows(request, found, given)

    def matches(self, row: Row, key: str, value: str) -> bool:
        return "*" not in value and super().matches(row, key, value)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        return super().encoded(request, rows, total) if rows else Answer(204)


class Azure(Google):
    """The same with other keys, pages of 200 at most, times and counts on demand, and no type but DICOM JSON."""

    keys = frozenset(dialects.PRESETS["azure"].known_keys)
    asked_for = frozenset(("00080030", "00201208"))
    largest_limit = 200

    def change(self, request: Request, parts: list[str]) -> Answer:
        return Quirky.change(self, request, parts)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        if request.header("Accept") != JSON:
            return Answer(406)
        return super().encoded(request, rows, total)


class Aws(Quirky):
    """Instances one by one, as one body each; no search across studies or series."""

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        match parts:
            case ["series"] | ["instances"] | ["studies", _, "instances"]:
                return Answer(404)
            case ["studies", _] | ["studies", _, "series", _] | ["studies", _, "metadata"]:
                return Answer(404)
        return super().answer(request, parts, given)

    def change(self, request: Request, parts: list[str]) -> Answer:
        return Answer(405)

    def instance(self, request: Request, study: str, instance: str) -> Answer:
        if "multipart" in str(request.header("Accept")):
            return Answer(406)
        return Answer(200, {"Content-Type": "application/dicom"}, self.file(study, instance))


class Xnat(Quirky):
    """Pages of 100, 1000 at most; the whole count in a header; 204 for nothing."""

    default_limit = 100
    largest_limit = 1000

    def change(self, request: Request, parts: list[str]) -> Answer:
        return Answer(405)

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        if not rows:
            return Answer(204)
        return Answer(200, {"Content-Type": JSON, "X-Total-Count": str(total)}, json.dumps(rows).encode())

    def whole(self, request: Request, study: str) -> Answer:
        if not str(request.header("Accept")).startswith("multipart/related"):
            return Answer(406)
        return super().whole(request, study)


class TinyPacs(Quirky):
    """No wildcards, no tags as keys, nothing across studies, no metadata; instances as one body; 204 for nothing."""

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        match parts:
            case ["series"] | ["instances"] | ["studies", _, "instances"] | [*_, "metadata"]:
                return Answer(404, {"Content-Type": "text/plain", "Server": "tiny_pacs"}, b"Not found")
        return super().answer(request, parts, given)

    def change(self, request: Request, parts: list[str]) -> Answer:
        return Answer(405, {"Content-Type": "text/plain", "Server": "tiny_pacs"}, b"Method not allowed.")

    def series(self, study: str) -> list[Row]:
        return [{tag: element for tag, element in row.items() if tag != "00201209"} for row in super().series(study)]

    def matches(self, row: Row, key: str, value: str) -> bool:
        return key[:1].isdigit() or ("*" not in value and super().matches(row, key, value))

    def encoded(self, request: Request, rows: list[Row], total: int) -> Answer:
        return super().encoded(request, rows, total) if rows else Answer(204)

    def instance(self, request: Request, study: str, instance: str) -> Answer:
        syntax = "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
        return Answer(200, {"Content-Type": syntax}, self.file(study, instance))


class PostDicom(Quirky):
    """Paths by an object's own UID, keys by tag, one key at least and nothing else; reasons in a header."""

    def answer(self, request: Request, parts: list[str], given: dict[str, str]) -> Answer:
        wanted = {"0020000D": "series", "0020000E": "instances"}
        match parts:
            case ["studies"] if given.keys() <= {"00100020", "0020000D"} and given:
                return self.rows(request, self.studies, given)
            case ["studies", "series"] if given.keys() == {"0020000D"}:
                return self.rows(request, self.series(given["0020000D"]), {})
            case ["studies", "series", "instances"] if given.keys() == {"0020000E"}:
                return self.rows(request, self.instances(given["0020000E"].rpartition(".")[0]), {})
            case ["studies", study] if self.has(study) and study not in wanted.values():
                return self.whole(request, study)
            case ["studies", "series", series]:
                return self.whole(request, series.rpartition(".")[0])
            case ["studies", "series", "instances", instance]:
                study = instance.rpartition(".")[0].rpartition(".")[0]
                return self.instance(request, study, instance) if self.has(study) else self.refused()
        return self.refused()

    def change(self, request: Request, parts: list[str]) -> Answer:
        return self.refused(405)

    def refused(self, status: int = 400) -> Answer:
        return Answer(status, {"X-Error-Reason": "this is not offered"})


class Deaf(Quirky):
    """`offset` is ignored, and so is every key."""

    def start(self, offset: int, limit: int) -> int:
        return 0

    def matches(self, row: Row, key: str, value: str) -> bool:
        return True


KINDS: dict[str, type[Quirky]] = {
    "standard": Quirky,
    "orthanc": Orthanc,
    "orthanc-0.4": OldOrthanc,
    "dcm4chee": Dcm4chee,
    "shanoir": Shanoir,
    "google": Google,
    "azure": Azure,
    "aws": Aws,
    "xnat": Xnat,
    "kheops": Quirky,
    "tiny-pacs": TinyPacs,
    "postdicom": PostDicom,
}
"""A server for each preset but `archive`, which is a real one in the tests."""
