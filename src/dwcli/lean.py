"""Loading a large library without what `dw` has no use for: a fifth of the time that a start would take."""

import importlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """In place of a module: loads it when something of it is used."""

    importing = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self.importing:
            # `from module import name` wants something now: a function that calls the real one.
            return lambda *words, **named: getattr(self._real(), name)(*words, **named)
        return getattr(self._real(), name)

    def _real(self) -> ModuleType:
        if sys.modules.get(self.__name__) is self:  # while the library is imported
            del sys.modules[self.__name__]
        return importlib.import_module(self.__name__)


@contextmanager
def imports(
    later: Sequence[str], *, absent: Sequence[str] = (), taken: Mapping[str, Mapping[str, Any]] | None = None
) -> Iterator[None]:
    """Import a library in the block. What somebody has loaded already is not touched, and all is as ever behind it.

    `later`: modules that it names as it is loaded, and uses late or never. `taken`: what it takes of these that has to
    be more than a function, as a class to inherit from. `absent`: modules that it does without where they are not
    installed; they seem so.
    """
    gone = [name for name in absent if name not in sys.modules]
    put_off = [_Later(name) for name in later if name not in sys.modules]
    for module in put_off:
        vars(module).update((taken or {}).get(module.__name__, {}))
        parent, _, child = module.__name__.rpartition(".")
        if parent in sys.modules or (parent and parent.partition(".")[0] in sys.stdlib_module_names):
            # `import a.b` finds `b` in `a`, where the real one takes its place as soon as somebody loads it.
            setattr(importlib.import_module(parent), child, module)
    sys.modules.update({module.__name__: module for module in put_off})
    sys.modules.update(dict.fromkeys(gone))  # type: ignore[arg-type]  # None says that there is no such module
    try:
        yield
    finally:
        for name in gone:
            if name in sys.modules and sys.modules[name] is None:
                del sys.modules[name]
        for module in put_off:
            module.importing = False
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
