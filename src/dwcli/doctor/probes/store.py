"""Probes of storing (PS3.18 10.5): synthetic instances are sent, in valid and in odd requests."""

from collections.abc import Iterator

from dwcli.dicomweb import refs, tags
from dwcli.dicomweb.dicomjson import text
from dwcli.dicomweb.refs import InstanceRef
from dwcli.dicomweb.request import Body
from dwcli.dicomweb.stow import Failed, Reply, Stored, Warned
from dwcli.dicomweb.stow import read as read_reply
from dwcli.doctor.finding import Finding, assess
from dwcli.doctor.probes.responses import ANY
from dwcli.doctor.probes.retrieve import first_part
from dwcli.doctor.probes.rows import character_set, groups, raw
from dwcli.doctor.session import Response, Session
from dwcli.doctor.synthetic import BOUNDARY, EXPLICIT, Padded, SyntheticInstance, multipart_body, new_uid
from dwcli.net.body import Bytes

_NAME = tags.PatientName
_RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
_REFERENCED = "200, and the instance in 00081199"
_COUNTS = "dw counts the instances in the store response, and queries the others"
_JAPANESE = "Yamada^Tarou=山田^太郎="
_CHINESE = "Wang^XiaoDong=王^小东="
_KATAKANA = "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"
_NOT_DICOM = b"this is not a DICOM file" * 20
_SIZES = (64 * 1024**2 + 1, 64 * 1024**2, 16 * 1024**2, 4 * 1024**2, 1024**2)


class StoreProbes:
    """The store probes; `studies` holds the UID of each study to be deleted afterwards."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.studies: list[str] = []
        self.first = SyntheticInstance(new_uid(), name=_JAPANESE.encode())

    def store(self) -> Iterator[Finding]:
        """Store one instance as `dw store` does. The other probes run only where this succeeds."""
        response, reply = self._store(multipart_body(self.first.file()), self.first)
        good = self._stored(reply, self.first)
        yield assess("store", "10.5.3", _REFERENCED, self._summary(response, good), good, "dw store shows the reason")

    def store_again(self) -> Iterator[Finding]:
        """Store the same instance again, then a different one with the same UID."""
        response, reply = self._store(multipart_body(self.first.file()), self.first)
        yield assess(
            "store again",
            "10.5.3.1",
            "200, 202 or 409",
            self._outcome(response, reply, self.first),
            response.status in (200, 202, 409),
            "dw compares the bytes when the server reports a duplicate",
        )
        other = SyntheticInstance(self.first.study, self.first.series, self.first.instance, self.first.name, grey=1)
        response, reply = self._store(multipart_body(other.file()), other)
        here = first_part(self.session.get(refs.path(InstanceRef(other.study, other.series, other.instance)), ANY))
        kept = "the first remains" if self._pixels(self.first) in here else "the second replaced it"
        if self._pixels(self.first) not in here and self._pixels(other) not in here:
            kept = "neither is returned"
        silent = self._stored(reply, other) and kept != "the second replaced it"
        yield assess(
            "same UID, other bytes",
            "10.5.3.1",
            "409 or a warning, or replaced",
            f"{self._outcome(response, reply, other)}; {kept}",
            not silent,
            "only dw store --verify detects it",
        )

    @staticmethod
    def _pixels(one: SyntheticInstance) -> bytes:
        return one.file()[-16:]

    def odd_parts(self) -> Iterator[Finding]:
        """Store with unusual part headers, and with a body that lacks its closing boundary."""
        for check, head in (
            ("part with a transfer syntax", f"Content-Type: application/dicom; transfer-syntax={EXPLICIT}\r\n"),
            ("part type in upper case", "Content-Type: APPLICATION/DICOM\r\n"),
            ("part type in quotes", 'Content-Type: "application/dicom"\r\n'),
            ("part without a type", ""),
        ):
            yield self._variant(check, "8.6.1.2, 10.5.1", head=head)
        yield self._variant("body without closing boundary", "RFC 2046 5.1.1", closed=False)

    def _variant(self, check: str, section: str, **options: object) -> Finding:
        one = SyntheticInstance(self.first.study, self.first.series)
        response, reply = self._store(multipart_body(one.file(), **options), one)  # type: ignore[arg-type]
        taken = self._stored(reply, one)
        return assess(
            check,
            section,
            "stored, or refused in the response",
            self._outcome(response, reply, one)
            if taken or response.status >= 300
            else f"{response.summary}: accepted, not stored",
            taken or response.status >= 300 or isinstance(reply.outcomes[one.instance], Failed),
            f"dw never sends it; {_COUNTS}",
        )

    def invalid_parts(self) -> Iterator[Finding]:
        """Store a part that is not DICOM, beside an instance and alone; then an empty body."""
        one = SyntheticInstance(self.first.study, self.first.series)
        response, reply = self._store(multipart_body(one.file(), _NOT_DICOM), one)
        yield from self._refusal(
            "one valid, one invalid part", "202", response, reply, f"{self._outcome(response, reply, one)}"
        )
        response, reply = self._store(multipart_body(_NOT_DICOM))
        yield from self._refusal("only an invalid part", "400 or 409", response, reply, response.summary)
        response, _ = self._store(b"")
        yield assess(
            "empty body",
            "10.5.3.1",
            "400",
            response.summary,
            response.status in (400, 409, 411, 415),
            "dw never sends it",
        )

    def _refusal(self, check: str, status: str, response: Response, reply: Reply, found: str) -> Iterator[Finding]:
        """Check status and Content-Type of a store response, and that it lists the failed instance."""
        yield assess(
            check,
            "10.5.3.1",
            status,
            found,
            str(response.status) in status,
            "dw reads the store response, whatever the status",
        )
        yield assess(
            f"{check}: failed instance",
            "10.5.3.3, I.2",
            "in 00081198 or 0008119A",
            "listed" if any(isinstance(stray, Failed) for stray in reply.strays) else "not listed",
            any(isinstance(stray, Failed) for stray in reply.strays),
            "dw queries the instances that the response does not list",
        )
        if response.body and not response.content_type:
            yield Finding(
                f"{check}: store response",
                "8.4.3",
                "with a Content-Type",
                "without one",
                "dw detects the format from the body",
                True,
            )

    def wrong_study(self) -> Iterator[Finding]:
        """Store an instance into the URL of another study."""
        one = SyntheticInstance(new_uid(), self.first.series)
        response, reply = self._store(multipart_body(one.file()), one, path=f"studies/{self.first.study}")
        yield assess(
            "store into another study",
            "10.5.1.1",
            "refused, with the reason",
            self._outcome(response, reply, one),
            not self._stored(reply, one) and response.status >= 300,
            "dw store --study checks each file before sending it",
        )

    def odd_requests(self) -> Iterator[Finding]:
        """Store with unusual request headers, and with a body that is not multipart."""
        for check, kind, good in (
            ("request type without type=", f"multipart/related; boundary={BOUNDARY}", (400, 415)),
            (
                "request type without quotes",
                f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
                (400, 415),
            ),
            ("boundary in quotes", f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"', ()),
        ):
            one = SyntheticInstance(self.first.study, self.first.series)
            response, reply = self._store(multipart_body(one.file()), one, kind=kind)
            yield assess(
                check,
                "RFC 2387, RFC 2046",
                "stored, or 400 or 415" if good else "stored",
                self._outcome(response, reply, one),
                self._stored(reply, one) or response.status in good,
                "dw never sends it",
            )
        one = SyntheticInstance(self.first.study, self.first.series)
        response, reply = self._store(one.file(), one, kind="application/dicom")
        yield assess(
            "body without multipart",
            "10.5.1",
            "stored, or 415",
            self._outcome(response, reply, one),
            self._stored(reply, one) or response.status == 415,
            "dw always sends multipart",
        )

    def character_sets(self) -> Iterator[Finding]:
        """Store names in other scripts, and compare them with those in rows and metadata."""
        yield from self._name("Japanese, in UTF-8", self.first, _JAPANESE)
        for check, name, charset, written in (
            ("Chinese, in GB18030", _CHINESE, "GB18030", _CHINESE.encode("gb18030")),
            ("Japanese, in ISO 2022 IR 13 and 87", _KATAKANA, "ISO 2022 IR 13\\ISO 2022 IR 87", _encode_jis(_KATAKANA)),
        ):
            one = SyntheticInstance(new_uid(), name=written, charset=charset)
            _, reply = self._store(multipart_body(one.file()), one)
            if self._stored(reply, one):
                yield from self._name(check, one, name)

    def _name(self, check: str, one: SyntheticInstance, sent: str) -> Iterator[Finding]:
        rows = self.session.get(f"studies?StudyInstanceUID={one.study}").rows()
        found = next((row for row in rows if text(row, refs.STUDY_UID) == one.study), {})
        path = refs.path(InstanceRef(one.study, one.series, one.instance))
        metadata = next(iter(self.session.get(f"{path}/metadata").rows()), {})
        for where, row in (("rows", found), ("metadata", metadata)):
            if not row:
                continue
            received = text(row, _NAME)
            other = "dw metadata" if metadata and where == "rows" else "dw retrieve"
            yield assess(
                f"{check}: {where}",
                "8.8, F.2.1",
                "the name as it was stored",
                "as stored" if received == sent.rstrip("=") else "with different characters",
                received == sent.rstrip("="),
                f"dw shows such names incorrectly; use {other}",
            )
        if found and one is self.first:
            yield from groups(f"{check}: component groups of the name", raw(found, _NAME))
        if metadata:
            yield character_set(f"{check}: character set of metadata", metadata)

    def large_request(self) -> Iterator[Finding]:
        """Find out how large a request may be, by storing the first instance again with padding."""
        refused = 0
        for size in _SIZES:
            response, _ = self._store(Padded(multipart_body(self.first.file()), size), self.first)
            if response.status != 413:
                break
            refused = size
        found = f"{size} bytes: {response.summary}" + (f"; {refused} bytes: 413" if refused else "")
        accepted = response.status in (200, 202, 409)
        if not refused and accepted:
            yield Finding("large request", "8.5", "left open", f"{found}; larger sizes not tried")
            return
        consequence = f"dw store sends at most {size} bytes per request, and refuses larger files"
        yield Finding(
            "large request",
            "8.5",
            "left open",
            found,
            consequence if accepted else "dw store sends smaller requests after a 413",
            setting={"store_bytes": size} if accepted else {},
        )

    def _store(
        self, body: bytes | Body, one: SyntheticInstance | None = None, *, kind: str = _RELATED, path: str = ""
    ) -> tuple[Response, Reply]:
        client = self.session.client
        where = path or ("" if client.dialect.store_at_root else "studies")
        # Before sending: it may be stored even where no response comes.
        if one and one.study not in self.studies:
            self.studies.append(one.study)
        sent = Bytes(body) if isinstance(body, bytes) else body
        response = self.session.get(where, method="POST", body=sent, Content_Type=kind)
        return response, read_reply(
            response.status, response.content_type, response.body, [one.instance] if one else []
        )

    @staticmethod
    def _stored(reply: Reply, one: SyntheticInstance) -> bool:
        return isinstance(reply.outcomes[one.instance], Stored | Warned)

    def _outcome(self, response: Response, reply: Reply, one: SyntheticInstance) -> str:
        failure = reply.outcomes[one.instance]
        reason = f" ({failure.code:04X})" if isinstance(failure, Failed) and failure.code else ""
        return self._summary(response, self._stored(reply, one)) + reason

    @staticmethod
    def _summary(response: Response, taken: bool) -> str:
        return f"{response.summary}, {'stored' if taken else 'not stored'}"


def _encode_jis(name: str) -> bytes:
    """Return a name as Japanese modalities encode it: half-width first, other groups with escapes (PS3.5 H.3)."""
    first, *others = name.split("=")
    return b"=".join(
        [first.encode("shift_jis"), *(g.encode("iso2022_jp").replace(b"\x1b(B", b"\x1b(J") for g in others)]
    )
