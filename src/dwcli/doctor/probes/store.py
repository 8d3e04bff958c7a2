"""The doctor's look at storing (PS3.18 10.5): made instances of nobody go up, rightly and in odd forms."""

from collections.abc import Iterator

from dwcli.dicomweb import refs
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import InstanceRef
from dwcli.dicomweb.request import Body
from dwcli.dicomweb.stow import Failed, Reply, Stored, Warned
from dwcli.dicomweb.stow import read as read_reply
from dwcli.doctor.finding import Answer, Finding, judged
from dwcli.doctor.probes.responses import ANY
from dwcli.doctor.probes.retrieve import first_part
from dwcli.doctor.probes.rows import character_set, groups, raw
from dwcli.doctor.session import Examination
from dwcli.doctor.synthetic import BOUNDARY, EXPLICIT, Padded, Specimen, made_uid, parts
from dwcli.net.body import Bytes

_NAME = "00100010"
_RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
_NAMED = "200, and the instance in 00081199"
_COUNTS = "dw counts what the reply names, and asks for what it does not"
_JAPANESE = "Yamada^Tarou=山田^太郎="
_CHINESE = "Wang^XiaoDong=王^小东="
_KATAKANA = "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"
_NO_DICOM = b"this is no DICOM file" * 20
_SIZES = (64 * 1024**2 + 1, 64 * 1024**2, 16 * 1024**2, 4 * 1024**2, 1024**2)


class Storing:
    """What was stored, to be deleted again: `studies` by UID."""

    def __init__(self, patient: Examination) -> None:
        self.patient = patient
        self.studies: list[str] = []
        self.first = Specimen(made_uid(), name=_JAPANESE.encode())

    def store(self) -> Iterator[Finding]:
        """One instance, as `dw store` would send it. What follows is tried only where that is taken."""
        answer, reply = self._store(parts(self.first.file()), self.first)
        good = self._taken(reply, self.first)
        yield judged("store", "10.5.3", _NAMED, self._said(answer, good), good, "dw store tells why")

    def store_again(self) -> Iterator[Finding]:
        """The same once more, and another one of the same UID."""
        answer, reply = self._store(parts(self.first.file()), self.first)
        yield judged(
            "store again",
            "10.5.3.1",
            "200, 202 or 409",
            self._outcome(answer, reply, self.first),
            answer.status in (200, 202, 409),
            "dw compares the bytes where it is told that an instance is there",
        )
        other = Specimen(self.first.study, self.first.series, self.first.instance, self.first.name, grey=1)
        answer, reply = self._store(parts(other.file()), other)
        here = first_part(self.patient.get(refs.path(InstanceRef(other.study, other.series, other.instance)), ANY))
        kept = "the first stays" if self._pixels(self.first) in here else "the second replaced it"
        if self._pixels(self.first) not in here and self._pixels(other) not in here:
            kept = "neither comes back"
        silent = self._taken(reply, other) and kept != "the second replaced it"
        yield judged(
            "same UID, other bytes",
            "10.5.3.1",
            "409 or a warning, or replaced",
            f"{self._outcome(answer, reply, other)}; {kept}",
            not silent,
            "dw store --verify finds it: nothing else tells",
        )

    @staticmethod
    def _pixels(one: Specimen) -> bytes:
        return one.file()[-16:]

    def odd_parts(self) -> Iterator[Finding]:
        """Heads of parts that mean the same, or nothing; and a body that does not end."""
        for check, head in (
            ("part with a transfer syntax", f"Content-Type: application/dicom; transfer-syntax={EXPLICIT}\r\n"),
            ("part type in upper case", "Content-Type: APPLICATION/DICOM\r\n"),
            ("part type in quotes", 'Content-Type: "application/dicom"\r\n'),
            ("part without a type", ""),
        ):
            yield self._tried(check, "8.6.1.2, 10.5.1", head=head)
        yield self._tried("body without its end", "RFC 2046 5.1.1", closed=False)

    def _tried(self, check: str, section: str, **how: object) -> Finding:
        one = Specimen(self.first.study, self.first.series)
        answer, reply = self._store(parts(one.file(), **how), one)  # type: ignore[arg-type]
        taken = self._taken(reply, one)
        return judged(
            check,
            section,
            "stored, or refused in the reply",
            self._outcome(answer, reply, one) if taken or answer.status >= 300 else f"{answer.words}: swallowed",
            taken or answer.status >= 300 or isinstance(reply.outcomes[one.instance], Failed),
            f"dw never sends it; {_COUNTS}",
        )

    def store_no_dicom(self) -> Iterator[Finding]:
        """What is no DICOM, beside an instance and alone; and nothing at all."""
        one = Specimen(self.first.study, self.first.series)
        answer, reply = self._store(parts(one.file(), _NO_DICOM), one)
        yield from self._refusal("one good, one bad", "202", answer, reply, f"{self._outcome(answer, reply, one)}")
        answer, reply = self._store(parts(_NO_DICOM))
        yield from self._refusal("no DICOM at all", "400 or 409", answer, reply, answer.words)
        answer, _ = self._store(b"")
        yield judged(
            "empty body", "10.5.3.1", "400", answer.words, answer.status in (400, 409, 411, 415), "dw never sends it"
        )

    def _refusal(self, check: str, status: str, answer: Answer, reply: Reply, found: str) -> Iterator[Finding]:
        """Is the status right, does the reply say what it is, and does it name the failure?"""
        yield judged(
            check, "10.5.3.1", status, found, str(answer.status) in status, "dw reads the reply, whatever the status"
        )
        yield judged(
            f"{check}: the failure",
            "10.5.3.3, I.2",
            "in 00081198 or 0008119A",
            "named" if any(isinstance(stray, Failed) for stray in reply.strays) else "not named",
            any(isinstance(stray, Failed) for stray in reply.strays),
            "dw looks whether an instance is there that the reply does not name",
        )
        if answer.body and not answer.content_type:
            yield Finding(
                f"{check}: the reply", "8.4.3", "with a Content-Type", "without one", "dw goes by the bytes", True
            )

    def store_elsewhere(self) -> Iterator[Finding]:
        """An instance of another study than the address says."""
        one = Specimen(made_uid(), self.first.series)
        answer, reply = self._store(parts(one.file()), one, path=f"studies/{self.first.study}")
        yield judged(
            "store into another study",
            "10.5.1.1",
            "refused, with the reason",
            self._outcome(answer, reply, one),
            not self._taken(reply, one) and answer.status >= 300,
            "dw store --study looks at each file before it sends it",
        )

    def odd_requests(self) -> Iterator[Finding]:
        """Other heads of the request, and a body without parts."""
        for check, kind, good in (
            ("request type without type=", f"multipart/related; boundary={BOUNDARY}", (400, 415)),
            (
                "request type without quotes",
                f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
                (400, 415),
            ),
            ("boundary in quotes", f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"', ()),
        ):
            one = Specimen(self.first.study, self.first.series)
            answer, reply = self._store(parts(one.file()), one, kind=kind)
            yield judged(
                check,
                "RFC 2387, RFC 2046",
                "stored, or 400 or 415" if good else "stored",
                self._outcome(answer, reply, one),
                self._taken(reply, one) or answer.status in good,
                "dw never sends it",
            )
        one = Specimen(self.first.study, self.first.series)
        answer, reply = self._store(one.file(), one, kind="application/dicom")
        yield judged(
            "bare body",
            "10.5.1",
            "stored, or 415",
            self._outcome(answer, reply, one),
            self._taken(reply, one) or answer.status == 415,
            "dw sends parts always",
        )

    def other_scripts(self) -> Iterator[Finding]:
        """Names in other scripts: do they come back from a search and from metadata as they went?"""
        yield from self._name("Japanese, in UTF-8", self.first, _JAPANESE)
        for check, name, charset, written in (
            ("Chinese, in GB18030", _CHINESE, "GB18030", _CHINESE.encode("gb18030")),
            ("Japanese, in ISO 2022 IR 13 and 87", _KATAKANA, "ISO 2022 IR 13\\ISO 2022 IR 87", _in_jis(_KATAKANA)),
        ):
            one = Specimen(made_uid(), name=written, charset=charset)
            _, reply = self._store(parts(one.file()), one)
            if self._taken(reply, one):
                yield from self._name(check, one, name)

    def _name(self, check: str, one: Specimen, sent: str) -> Iterator[Finding]:
        rows = self.patient.get(f"studies?StudyInstanceUID={one.study}").rows()
        found = next((row for row in rows if text(row, refs.STUDY_UID) == one.study), {})
        path = refs.path(InstanceRef(one.study, one.series, one.instance))
        metadata = next(iter(self.patient.get(f"{path}/metadata").rows()), {})
        for where, row in (("rows", found), ("metadata", metadata)):
            if not row:
                continue
            came = text(row, _NAME)
            other = "dw metadata" if metadata and where == "rows" else "dw retrieve"
            yield judged(
                f"{check}: {where}",
                "8.8, F.2.1",
                "the name as it was stored",
                "as stored" if came == sent.rstrip("=") else "with other letters",
                came == sent.rstrip("="),
                f"dw shows such names wrongly; {other} may have them",
            )
        if found and one is self.first:
            yield from groups(f"{check}: groups of the name", raw(found, _NAME))
        if metadata:
            yield character_set(f"{check}: character set of metadata", metadata)

    def large_request(self) -> Iterator[Finding]:
        """How many bytes does a request carry? The first instance again, behind white space that means nothing."""
        refused = 0
        for size in _SIZES:
            answer, _ = self._store(Padded(parts(self.first.file()), size), self.first)
            if answer.status != 413:
                break
            refused = size
        words = f"{size} bytes: {answer.words}" + (f"; {refused} bytes: 413" if refused else "")
        taken = answer.status in (200, 202, 409)
        if not refused and taken:
            yield Finding("large request", "8.5", "left open", f"{words}; more was not tried")
            return
        told = f"dw store sends no more than {size} bytes at once, and refuses larger files by name"
        yield Finding(
            "large request",
            "8.5",
            "left open",
            words,
            told if taken else "dw store makes its requests smaller after a 413",
            setting={"store_bytes": size} if taken else {},
        )

    # Small things

    def _store(
        self, body: bytes | Body, one: Specimen | None = None, *, kind: str = _RELATED, path: str = ""
    ) -> tuple[Answer, Reply]:
        client = self.patient.client
        where = path or ("" if client.dialect.store_at_root else "studies")
        # Before it is sent: where no answer comes it may be there all the same.
        if one and one.study not in self.studies:
            self.studies.append(one.study)
        sent = Bytes(body) if isinstance(body, bytes) else body
        answer = self.patient.get(where, method="POST", body=sent, Content_Type=kind)
        return answer, read_reply(answer.status, answer.content_type, answer.body, [one.instance] if one else [])

    @staticmethod
    def _taken(reply: Reply, one: Specimen) -> bool:
        return isinstance(reply.outcomes[one.instance], Stored | Warned)

    def _outcome(self, answer: Answer, reply: Reply, one: Specimen) -> str:
        failure = reply.outcomes[one.instance]
        reason = f" ({failure.code:04X})" if isinstance(failure, Failed) and failure.code else ""
        return self._said(answer, self._taken(reply, one)) + reason

    @staticmethod
    def _said(answer: Answer, taken: bool) -> str:
        return f"{answer.words}, {'stored' if taken else 'not stored'}"


def _in_jis(name: str) -> bytes:
    """A name as Japanese machines write it: half-width letters first, the other groups behind escapes (PS3.5 H.3)."""
    first, *others = name.split("=")
    return b"=".join(
        [first.encode("shift_jis"), *(g.encode("iso2022_jp").replace(b"\x1b(B", b"\x1b(J") for g in others)]
    )
