"""WADO-RS of whole instances and of their metadata (PS3.18 10.4)."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dwcli.archive import jsonmodel
from dwcli.archive.accept import EXPLICIT, Wanted, wants_dicom, wants_json
from dwcli.archive.folder import Folder, Held
from dwcli.archive.reply import CHUNK, Part, Refusal, Reply, array, dumped, parts, retrieve_url
from dwcli.dicomweb import tags
from dwcli.dicomweb.media import DICOM
from dwcli.dicomweb.refs import Ref
from dwcli.errors import DwError
from dwcli.imaging import native, reading

Json = dict[str, Any]


def instances(folder: Folder, ref: Ref, accept: str) -> Reply:
    """The files below a reference, as stored or in Explicit VR Little Endian. Raises Refusal 404, 406."""
    held = folder.held(ref)
    refusals = []
    for way in wants_dicom(accept):
        try:
            return _as_wanted(held, way)
        except Refusal as refusal:
            if refusal.status != 406:
                raise
            refusals.append(refusal)
    raise refusals[0]


def _as_wanted(held: list[Held], way: Wanted) -> Reply:
    if not way.multipart and len(held) > 1:
        raise Refusal(406, f'{len(held)} instances come as multipart/related; type="{DICOM}" only')
    syntax = way.transfer_syntax or EXPLICIT
    foreign = {one.syntax or "an unknown transfer syntax" for one in held if syntax not in ("*", one.syntax)}
    if foreign and syntax != EXPLICIT:
        raise Refusal(406, f"stored as {', '.join(sorted(foreign))}; this archive converts to {EXPLICIT} only")
    there = [one for one in held if one.path.is_file()]
    if not there:
        raise Refusal(404, "the files are missing from the archive")
    headers = {}
    if len(there) < len(held):
        headers["Warning"] = f'299 dw "{len(held) - len(there)} files are missing from the archive"'
    status = 206 if headers else 200
    as_stored = [one for one in there if syntax in ("*", one.syntax)]
    if len(as_stored) == len(there):
        return _reply([_stored(one) for one in there], way, status, headers)
    for one in there:
        _see_that_it_decodes(one)
    if len(there) == 1:
        # Convert before the response begins, so that a failure gets the right status.
        return _reply([_converted(there[0])], way, status, headers)
    return parts(DICOM, _each(there, syntax), status, headers)


def _reply(found: list[Part], way: Wanted, status: int, headers: dict[str, str]) -> Reply:
    """The parts as a multipart body, or the only one as the body."""
    if way.multipart:
        return parts(DICOM, found, status, headers)
    return Reply(status, found[0].content_type, found[0].body, found[0].length, headers)


def _each(held: list[Held], syntax: str) -> Iterator[Part]:
    """Yield one after the other; one that cannot be converted after all ends the response there."""
    for one in held:
        yield _stored(one) if one.syntax == syntax else _converted(one)


def _stored(one: Held) -> Part:
    size = one.path.stat().st_size
    return Part(_type(one.syntax), native.slices(one.path, 0, size), size)


def _converted(one: Held) -> Part:
    try:
        made = native.explicit_little(one.path)
    except DwError as error:
        stored = one.syntax or "an unknown transfer syntax"
        raise Refusal(406, f"{one.instance} is stored as {stored} and {error.message}") from error
    size = made.seek(0, 2)
    made.seek(0)
    return Part(_type(EXPLICIT), _drained(made), size)


def _see_that_it_decodes(one: Held) -> None:
    """Raises Refusal 406 where a syntax cannot be decoded here."""
    from pydicom.pixels.decoders.base import get_decoder
    from pydicom.uid import UID

    if not one.syntax:
        return
    syntax = UID(one.syntax)
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise Refusal(406, f"{one.instance} is stored as {one.syntax}, which is not known here")
    if not syntax.is_encapsulated or syntax.is_deflated:
        return
    try:
        if get_decoder(syntax).is_available:
            return
    except NotImplementedError:
        pass
    raise Refusal(406, f"{one.instance} is stored as {syntax.name} ({syntax}), which cannot be decoded here")


def _type(syntax: str) -> str:
    return f"{DICOM}; transfer-syntax={syntax}" if syntax else DICOM


def _drained(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while data := file.read(CHUNK):
            yield data


def metadata(folder: Folder, ref: Ref, accept: str, base: str) -> Reply:
    """The metadata of every instance below a reference, in DICOM JSON (PS3.18 10.4.1.1.2)."""
    answer = wants_json(accept)
    held = folder.held(ref)
    if len(held) == 1:
        return Reply(200, answer, [body := b"[" + dumped(read(held[0], base)) + b"]"], len(body))
    rest = (read(one, base) for one in held)
    return Reply(200, answer, array(next(rest), rest))


def read(one: Held, base: str) -> Json:
    """The metadata of one instance: binary values over 1 KiB, and all pixels, by a URI. Raises Refusal 404."""
    named = retrieve_url(base, one.ref)
    url = f"{named['00081190']['Value'][0]}/bulk/" if named else "bulk/"
    found, little = load(one.path)
    with _quiet():
        made = jsonmodel.data_set(found, lambda path: url + path, little=little)
    try:
        pixels = native.describe(one.path)
    except DwError:
        pixels = None  # the rest of the metadata is still good
    if pixels:
        made[pixels.tag] = {"vr": pixels.vr, "BulkDataURI": url + pixels.tag}
    if one.syntax:
        made[tags.AvailableTransferSyntaxUID] = {"vr": "UI", "Value": [one.syntax]}
    if tags.SpecificCharacterSet in made:  # the file's own, but JSON is UTF-8 (PS3.18 F.2)
        made[tags.SpecificCharacterSet] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return dict(sorted(made.items()))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what pydicom warns of, which reads its values only when they are asked for."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def load(path: Path) -> tuple[Any, bool]:
    """The data set before the pixels, and whether it is little endian. Raises Refusal 404, 500."""
    with _quiet():
        try:
            with path.open("rb") as stream:
                found = reading.read(stream)
            little = found.original_encoding[1] is not False
            if found.original_encoding[0]:
                from pydicom.filewriter import correct_ambiguous_vr

                correct_ambiguous_vr(found, little)
        except FileNotFoundError:
            raise Refusal(404, "the file is missing from the archive") from None
        except Exception as error:  # whatever pydicom meets in bytes that break the rules
            raise Refusal(500, f"{path.name} cannot be read: {error}") from error
    return found, little


def attributes(folder: Folder, path: str, tags: frozenset[str]) -> Json:
    """Single attributes for a search (`tags` empty: all that stand in metadata), from the file at `path`."""
    found, little = load(folder.file(path))
    with _quiet():
        made = jsonmodel.data_set(found, lambda _path: "", little=little)
    kept = {tag: value for tag, value in made.items() if (not tags or tag in tags) and "BulkDataURI" not in value}
    return {tag: value for tag, value in kept.items() if value["vr"] not in jsonmodel.BINARY}
