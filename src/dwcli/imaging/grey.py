"""From stored samples to grey levels and colours: the tables and formulas of PS3.3 C.11 and C.7.9.

The steps are those of PS3.4 N.2: modality transformation, values of interest, presentation.
"""

from typing import TYPE_CHECKING, Any, cast

from dwcli.errors import DwError, UsageError
from dwcli.imaging.frame import attribute, macro_item, numbers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pydicom.dataset import Dataset

    Reals = NDArray[np.float64]
    Levels = NDArray[np.uint8]

Window = tuple[float, float, str]
"""Centre and width in the units after the modality transformation, function as in PS3.18: linear, linear-
exact, sigmoid.
"""

_WHITE = 255.0
_X_RAY_ANGIOGRAPHY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2")
_FUNCTIONS = {"LINEAR": "linear", "LINEAR_EXACT": "linear-exact", "SIGMOID": "sigmoid"}


def levels(samples: "NDArray[np.generic]", header: "Dataset", number: int, window: Window | None = None) -> "Levels":
    """Stored samples (rows, columns) of a MONOCHROME frame as display levels 0 (black) to 255 (white), same
    shape.

    `window` wins over the header's VOI LUT, which wins over its first window. With none of them: the whole
    range of a mask or of plain 8-bit pixels, else from the smallest to the largest value of the frame,
    padding left out. `UsageError` for a window that cannot be; `DwError` for tables that contradict
    themselves.
    """
    import numpy as np

    values = modality(samples, header, number)
    shown: Reals | None = None
    if window is not None:
        shown = windowed(values, _checked(window))
    elif table := _sequence_item(header, number, "VOILUTSequence", "FrameVOILUTSequence"):
        shown = _looked_up(values, table, header, scaled=True)
    elif found := _header_window(header, number):
        shown = windowed(values, found)
    if shown is None:
        low, high = _range(samples, values, header, number)
        shown = (np.clip(values, low, high) - low) / ((high - low) or 1.0) * _WHITE
    if header.get("PhotometricInterpretation") == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE":
        # a MONOCHROME1 image with INVERSE says one thing twice (PS3.3 C.8.11.1.1.2)
        shown = _WHITE - shown
    return cast("Levels", np.rint(np.nan_to_num(shown, nan=0.0, posinf=_WHITE, neginf=0.0)).astype(np.uint8))


def modality(samples: "NDArray[np.generic]", header: "Dataset", number: int) -> "Reals":
    """Samples in the units of the modality: LUT, rescale or dose grid scaling (PS3.3 C.11.1, C.8.8.3)."""
    import numpy as np

    values: Reals = samples.astype(np.float64)
    angiography = header.get("SOPClassUID") in _X_RAY_ANGIOGRAPHY
    if angiography and header.get("PixelIntensityRelationship") in ("LOG", "DISP"):
        return values  # PS3.3 C.8.7.1.1.2: that table leads back to X-ray intensity and is not for display
    if table := _sequence_item(header, number, "ModalityLUTSequence", "PixelValueTransformationSequence"):
        return _looked_up(values, table, header, scaled=False)
    slope, intercept = _rescale(header, number)
    if (slope, intercept) != (1.0, 0.0):
        values = values * slope + intercept
    return values


def windowed(values: "Reals", window: Window) -> "Reals":
    """Levels 0 to 255, not rounded, by the formulas of PS3.3 C.11.2.1.2.1 (linear), .3.1 (sigmoid), .3.2
    (exact).
    """
    import numpy as np

    center, width, function = window
    if function == "sigmoid":
        # beyond 700 the exponential overflows, and the level is 0 or 255 long before
        exponent = np.clip(-4.0 * (values - center) / width, -700.0, 700.0)
        return _WHITE / (1.0 + np.exp(exponent))
    if function == "linear":
        center, width = center - 0.5, width - 1.0
    if width == 0:
        return cast("Reals", np.where(values <= center, 0.0, _WHITE))
    return cast("Reals", np.clip(((values - center) / width + 0.5) * _WHITE, 0.0, _WHITE))


def coloured(samples: "NDArray[np.generic]", header: "Dataset") -> "Levels":
    """Stored samples (rows, columns) of a PALETTE COLOR frame as RGB (rows, columns, 3) (PS3.3 C.7.6.3.1.5,
    C.7.9).
    """
    import numpy as np

    names = ("Red", "Green", "Blue")
    tables = [_palette(header, name) for name in names]
    # what the entries hold counts: some writers put 8-bit colours under a descriptor of 16, and the reverse
    shift = 8 if max(int(table.max()) for table, _ in tables) > 0xFF else 0
    planes = []
    for table, first in tables:
        index = np.clip(samples.astype(np.int64) - first, 0, len(table) - 1)
        planes.append((table[index] >> shift).astype(np.uint8))
    return cast("Levels", np.stack(planes, axis=-1))


def eight_bit(samples: "NDArray[np.generic]", header: "Dataset") -> "Levels":
    """RGB samples of any depth as 8-bit RGB, same shape: the eight highest of the stored bits."""
    import numpy as np

    stored = int(header.get("BitsStored") or 8)
    integers = cast("NDArray[np.integer[Any]]", samples)
    if samples.dtype.kind not in "iu" or samples.dtype.kind == "i" or samples.dtype.itemsize * 8 < stored:
        raise DwError(f"cannot render colour samples of {stored} bits as {samples.dtype}")
    if stored <= 8:
        top = (1 << stored) - 1
        return integers.astype(np.uint8) if stored == 8 else (integers * np.uint16(255) // top).astype(np.uint8)
    return cast("Levels", (integers >> (stored - 8)).astype(np.uint8))


def _checked(window: Window) -> Window:
    center, width, function = window
    if function not in _FUNCTIONS.values():
        raise UsageError(f"unknown window function {function!r}", hint="linear, linear-exact or sigmoid")
    if not (abs(center) < float("inf") and 0 < width < float("inf")):
        raise UsageError(f"invalid window: centre {center:g}, width {width:g}", hint="--window 40,400")
    if function == "linear" and width < 1:
        raise UsageError(
            f"a linear window must be at least 1 wide, not {width:g}",
            hint=f"--window {center:g},{width:g},linear-exact",
        )
    return window


def _header_window(header: "Dataset", number: int) -> Window | None:
    item = macro_item(header, number, "WindowCenter", "FrameVOILUTSequence")
    if item is None:
        return None
    centers, widths = numbers(item.get("WindowCenter")), numbers(item.get("WindowWidth"))
    if not centers or not widths or not widths[0] > 0:
        return None
    name = str(item.get("VOILUTFunction") or "LINEAR")
    if name not in _FUNCTIONS:
        raise DwError(f"unknown VOI LUT function {name}", hint="--window CENTRE,WIDTH sets another window")
    function = _FUNCTIONS[name]
    if function == "linear" and widths[0] < 1:
        function = "linear-exact"  # what writers of fractional windows mean; the linear formula forbids them
    return centers[0], widths[0], function


def _rescale(header: "Dataset", number: int) -> tuple[float, float]:
    macro = "PixelValueTransformationSequence"
    slope = numbers(attribute(header, number, "RescaleSlope", macro))
    intercept = numbers(attribute(header, number, "RescaleIntercept", macro))
    scaling = numbers(header.get("DoseGridScaling"))
    if scaling and not slope:
        slope = scaling
    if slope and slope[0] == 0:
        raise DwError("the header says Rescale Slope 0: every pixel would be the same")
    return (slope[0] if slope else 1.0), (intercept[0] if intercept else 0.0)


def _range(samples: "NDArray[np.generic]", values: "Reals", header: "Dataset", number: int) -> tuple[float, float]:
    import numpy as np

    if header.get("BitsStored") == 1 or header.get("BitsAllocated") == 1:
        return 0.0, 1.0
    segmentation = str(header.get("SegmentationType") or "")
    if segmentation == "FRACTIONAL" and (top := numbers(header.get("MaximumFractionalValue"))):
        return 0.0, top[0]
    as_stored = _rescale(header, number) == (1.0, 0.0) and "ModalityLUTSequence" not in header
    if as_stored and samples.dtype.kind == "u" and header.get("BitsStored") == 8 and segmentation != "LABELMAP":
        # screens, scans and ultrasound: black is 0 and white 255, however dark the frame
        return 0.0, 255.0
    wanted = np.isfinite(values) & ~_padding(samples, header)
    if not wanted.any():
        wanted = np.isfinite(values)
    if not wanted.any():
        return 0.0, 0.0
    return float(values[wanted].min()), float(values[wanted].max())


def _padding(samples: "NDArray[np.generic]", header: "Dataset") -> "NDArray[np.bool_]":
    """Where the stored samples are padding: the value, or the range up to its limit (PS3.3 C.7.5.1.1.2)."""
    import numpy as np

    for keyword in ("PixelPaddingValue", "FloatPixelPaddingValue", "DoubleFloatPixelPaddingValue"):
        if ends := numbers(header.get(keyword)):
            ends = ends[:1] + numbers(header.get(keyword.replace("Value", "RangeLimit")))[:1]
            if header.get("PixelRepresentation") == 1:
                # written as unsigned by many: 63536 for -2000
                allocated = int(header.BitsAllocated)
                ends = [end - 2**allocated if end >= 2 ** (allocated - 1) else end for end in ends]
            stored = samples.astype(np.float64)
            return (stored >= min(ends)) & (stored <= max(ends))
    return np.zeros(samples.shape, dtype=np.bool_)


def _sequence_item(header: "Dataset", number: int, keyword: str, macro: str) -> "Dataset | None":
    items = attribute(header, number, keyword, macro)
    return items[0] if items else None


def _looked_up(values: "Reals", table: "Dataset", header: "Dataset", *, scaled: bool) -> "Reals":
    """`values` through a Modality or VOI LUT item; `scaled`: the table's whole range becomes 0 to 255 (PS3.3
    C.11.1.1).
    """
    import numpy as np

    count, first, bits = _descriptor(table.get("LUTDescriptor"))
    entries = _entries(table.get("LUTData"), count, header)
    if first > 0x7FFF and values.size and float(np.nanmin(values)) < 0:
        first -= 0x10000  # a signed number that an implicit VR file leaves to guess
    index = np.clip(np.rint(np.nan_to_num(values)) - first, 0, len(entries) - 1).astype(np.int64)
    out: Reals = entries[index].astype(np.float64)
    if scaled:
        top = max(2**bits - 1, int(entries.max()))
        out = out / top * _WHITE
    return out


def _palette(header: "Dataset", name: str) -> "tuple[NDArray[np.int64], int]":
    import numpy as np

    descriptor = header.get(f"{name}PaletteColorLookupTableDescriptor")
    if descriptor is None:
        raise DwError(f"PALETTE COLOR without a {name.lower()} lookup table")
    count, first, bits = _descriptor(descriptor)
    if header.get("PixelRepresentation") == 1 and first > 0x7FFF:
        first -= 0x10000
    if data := header.get(f"{name}PaletteColorLookupTableData"):
        return _entries(data, count, header).astype(np.int64), first
    if data := header.get(f"Segmented{name}PaletteColorLookupTableData"):
        words = _packed(data, header) if bits <= 8 else np.frombuffer(data[: len(data) & ~1], _word(header))
        table = _expanded([int(word) for word in words], count, octets=bits <= 8)
        return np.array(table, dtype=np.int64), first
    raise DwError(f"PALETTE COLOR without a {name.lower()} lookup table")


def _descriptor(value: Any) -> tuple[int, int, int]:
    parts = numbers(value)
    if len(parts) != 3:
        raise DwError("a lookup table has no valid descriptor")
    return int(parts[0]) or 0x10000, int(parts[1]), int(parts[2])


def _entries(data: Any, count: int, header: "Dataset") -> "NDArray[np.uint16] | NDArray[np.uint8]":
    """The `count` entries of a table, 8 or 16 bits each as the length shows; `DwError` when it is shorter."""
    import numpy as np

    raw = data if isinstance(data, bytes) else None
    if raw is None:
        listed = [data] if isinstance(data, int) else list(data or [])
        if len(listed) >= count:
            return np.array(listed[:count], dtype=np.int64).astype(np.uint16)
        raw = np.array(listed, dtype=np.int64).astype(np.uint16).astype(_word(header)).tobytes()
    if len(raw) >= 2 * count:
        return np.frombuffer(raw[: 2 * count], _word(header)).astype(np.uint16)
    if len(raw) < count:
        raise DwError(f"a lookup table of {count} entries contains only {len(raw)} bytes")
    return _packed(raw, header)[:count]


def _packed(raw: bytes, header: "Dataset") -> "NDArray[np.uint8]":
    """Two 8-bit entries in each 16-bit word, the first in its low byte (PS3.3 C.7.6.3.1.6)."""
    import numpy as np

    octets = np.frombuffer(raw, np.uint8)
    if _word(header) == ">u2" and len(octets) % 2 == 0:
        return octets.reshape(-1, 2)[:, ::-1].reshape(-1)
    return octets


def _word(header: "Dataset") -> str:
    return "<u2" if header.file_meta.TransferSyntaxUID.is_little_endian else ">u2"


def _expanded(words: list[int], count: int, *, octets: bool) -> list[int]:
    """A segmented palette as `count` entries: discrete, linear and indirect segments (PS3.3 C.7.9.2).

    `octets`: the segments are written in 8-bit words, so that an offset takes four of them, else two.
    """
    table: list[int] = []
    starts: set[int] = set()

    def copy(at: int) -> int:
        opcode, length = words[at], words[at + 1]
        if opcode == 0 and at + 2 + length <= len(words):
            table.extend(words[at + 2 : at + 2 + length])
            return at + 2 + length
        if opcode == 1 and table:
            begin, goal = table[-1], words[at + 2]
            table.extend(round(begin + (goal - begin) * step / length) for step in range(1, length + 1))
            return at + 3
        raise DwError(f"a segmented palette has an invalid segment (opcode {opcode})")

    try:
        at = 0
        while len(table) < count:
            if words[at] != 2:
                starts.add(at)
                at = copy(at)
                continue
            parts = words[at + 2 : at + (6 if octets else 4)]
            offset = sum(part << shift for part, shift in zip(parts, range(0, 32, 8 if octets else 16), strict=True))
            target = offset if octets else offset // 2
            for _ in range(words[at + 1]):
                # an offset that meets no segment would copy colours out of the middle of one
                if target not in starts or (offset % 2 and not octets):
                    raise DwError("a segmented palette refers to a missing segment")
                target = copy(target)
            at += 6 if octets else 4
    except (IndexError, ValueError):
        raise DwError(f"a segmented palette of {count} entries contains only {len(table)}") from None
    return table[:count]
