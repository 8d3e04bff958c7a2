"""Text for display: escaped control characters, sizes, plain values."""

import re

# C0, DEL, C1, line and paragraph separators, bidirectional overrides and isolates, halves of surrogate pairs
HIDDEN = "[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
_NAMED = {"\t": "\\t", "\n": "\\n", "\r": "\\r"}


def visible(text: str) -> str:
    """Return `text` with control characters, bidirectional overrides and lone surrogates escaped (`\\t`, `\\x1b`)."""
    if text.isprintable():
        return text
    return re.sub(HIDDEN, spell, text)


def size(count: float) -> str:
    """Return a number of bytes in decimal units: 999 B, 1.5 kB, 64.0 MB."""
    if count < 1000:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1000:.1f} TB"


def spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    return _NAMED.get(match[0]) or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}")


def plain(value: object) -> str:
    match value:
        case str():
            return value
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(map(plain, value))
    return str(value)
