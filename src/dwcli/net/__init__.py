"""HTTP: the only room that imports httpx."""

import sys

# Where these are there, httpx loads them: what only asynchronous programs need, and a command line of its own, with
# rich and pygments. It does without where they are not; they would be a third of its time.
_UNUSED = [name for name in ("anyio", "trio", "httpx._main") if name not in sys.modules]

sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None says that there is no such module
try:
    import httpx as httpx
finally:
    for _name in _UNUSED:
        sys.modules.pop(_name, None)
