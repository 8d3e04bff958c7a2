"""Converts user input to PostDICOM's parameters, before anything is sent. Every function may raise UsageError."""

import re
from collections.abc import Iterable
from datetime import date, datetime, timedelta

from dwcli.dicomweb import dictionary
from dwcli.dicomweb.query import parse_date
from dwcli.errors import UsageError

# PS3.3 C.7.3.1.1.1, with the retired ones
_CODES = (
    "ANN AR AS ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG EEG EMG EOG EPS ES FA "
    "FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS M3D MA MG MR MS NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV "
    "OSS OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RWV "
    "SEG SM SMR SR SRF ST STAIN TEXTUREMAP TG US VA VF XA XAPROTOCOL XC"
)
MODALITIES = frozenset(_CODES.split())
_ALSO_SAID = {"PET": "PT", "MRI": "MR", "CAT": "CT", "XRAY": "DX or CR", "X-RAY": "DX or CR", "ULTRASOUND": "US"}

_UUID = re.compile(r"\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?", re.IGNORECASE)
_UNITS = {"d": 1, "w": 7, "m": 30, "y": 365}


def expiry(typed: str, today: date) -> date:
    """The last day of a share: `2026-12-31`, `20261231`, `30d`, `2w`, `3m`, `1y` from today on, `today`, `tomorrow`."""
    text = typed.strip().lower()
    if text in ("today", "tomorrow"):
        return today + timedelta(days=text == "tomorrow")
    if match := re.fullmatch(r"(\d{1,4})([dwmy])", text):
        try:
            return today + timedelta(days=int(match[1]) * _UNITS[match[2]])
        except OverflowError:
            raise _bad_expiry(typed) from None
    day = _day(text)
    if day is None:
        raise _bad_expiry(typed)
    if day < today:
        raise UsageError(f"the expiry date {day} is in the past", "--expires 30d")
    return day


def _bad_expiry(typed: str) -> UsageError:
    return UsageError(f"not an expiry date: {typed}", "write 2026-12-31, 30d, 2w, 3m, 1y or tomorrow")


def birth_date(typed: str, today: date) -> date:
    """`1970-01-31` or `19700131`, not in the future."""
    day = _day(typed.strip())
    if day is None:
        raise UsageError(f"not a date of birth: {typed}", "write 1970-01-31")
    if day > today:
        raise UsageError(f"the date of birth {day} is in the future", "write 1970-01-31")
    return day


def scheduled(typed: str) -> datetime:
    """`2026-12-01 09:30`, also with a `T`."""
    try:
        return datetime.strptime(typed.strip().replace("T", " "), "%Y-%m-%d %H:%M")
    except ValueError:
        raise UsageError(f"not a date and time: {typed}", "write '2026-12-01 09:30'") from None


def date_range(typed: str | None, today: date) -> tuple[date | None, date | None]:
    """Return the ends of a day or range as `dw search --date` takes it (`2026-01..2026-03`, `7d`); None is open."""
    if typed is None:
        return None, None
    found = parse_date(typed, today)
    first, dash, last = found.partition("-")
    return _day(first), _day(last if dash else first)


def modality(typed: str) -> str:
    """Return a modality's code in upper case; refuses codes unknown to DICOM, naming similar ones."""
    code = typed.strip().upper()
    if code in MODALITIES:
        return code
    from difflib import get_close_matches  # only on the way to an error

    near = _ALSO_SAID.get(code) or " or ".join(get_close_matches(code, sorted(MODALITIES), n=3, cutoff=0.6))
    raise UsageError(f"unknown modality {typed!r}", f"did you mean {near}?" if near else "such as CT, MR, US or XA")


def modalities(typed: Iterable[str]) -> tuple[str, ...]:
    """`CT,MR`, or several of them: each code once."""
    return tuple(dict.fromkeys(modality(code) for text in typed for code in text.split(",") if code.strip()))


def sex(typed: str | None) -> str | None:
    """M, F or O, in any case."""
    if typed is None or typed.strip().upper() in ("M", "F", "O"):
        return typed and typed.strip().upper()
    raise UsageError(f"not a DICOM patient sex: {typed}", "write M, F or O")


def tags(typed: Iterable[str]) -> tuple[str, ...]:
    """Keywords or tags -> tags of 8 hex digits."""
    return tuple(dictionary.parse_tag(name) for name in typed)


def looks_like_uuid(typed: str) -> bool:
    """Return whether the text has the format of a UUID; other text is sent anyway."""
    return bool(_UUID.fullmatch(typed))


def _day(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-?\d\d-?\d\d", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
