"""What the `openai` package and its HTTP client bring along and a request never uses is left out until it is asked for.

`import openai` runs the `__init__` of packages that import all they have: 500 modules, of which a client needs a tenth.
Those packages are deferred: their submodules can be imported, and `__init__` runs when somebody asks them for what
is in no submodule of that front. So all of it is there as ever, for whoever wants it, at the time when he wants it; a
release that is laid out in another way costs time and nothing else.
"""

import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

# Package → its front, the submodules in which its names are looked for first.
DEFERRED: dict[str, tuple[str, ...]] = {
    "openai": ("_exceptions", "_streaming", "_base_client", "_client"),
    "openai.types": (),
    "openai.types.shared": (),
    "openai.lib": (),
    "httpcore2": ("_ssl",),
}


class _Deferred(ModuleType):
    """A package whose `__init__` has not run."""

    def __getattr__(self, name: str) -> Any:
        for part in (*vars(self)["__front__"], name):
            try:
                module = import_module(f"{self.__name__}.{part}")
            except ModuleNotFoundError as error:
                if error.name != f"{self.__name__}.{part}":
                    raise
                continue
            if part == name:
                return module
            if name in vars(module):
                return vars(module)[name]
        if vars(self).get("__runner__") == threading.get_ident():  # its `__init__` itself, too early
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} yet", name=name, obj=self)
        vars(self)["__runner__"] = threading.get_ident()
        try:
            assert self.__spec__ is not None
            assert self.__spec__.loader is not None
            self.__spec__.loader.exec_module(self)
        finally:
            vars(self).pop("__runner__", None)
        # Not before: other threads go on finding the front meanwhile.
        self.__class__ = ModuleType  # type: ignore[assignment]
        return getattr(self, name)


def defer(packages: Mapping[str, tuple[str, ...]] = DEFERRED) -> None:
    """Defers those of the packages that are there and not imported yet. A package comes after the one it is in."""
    for name, front in packages.items():
        if name not in sys.modules and (spec := _find(name)) is not None:
            package = module_from_spec(spec)
            vars(package)["__front__"] = front
            package.__class__ = _Deferred
            sys.modules[name] = package


def _find(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ModuleNotFoundError:  # the package that it was in is gone
        return None


@contextmanager
def without_certificates() -> Iterator[None]:
    """No TLS context that this thread makes meanwhile loads the machine's certificates: such a one trusts nobody.

    For the import of aiohttp, which makes two (40 ms) for connectors that are given none; ours always are.
    """
    importer = threading.get_ident()

    def load(context: ssl.SSLContext) -> None:
        if threading.get_ident() != importer:
            super(ssl.SSLContext, context).set_default_verify_paths()

    ssl.SSLContext.set_default_verify_paths = load  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        del ssl.SSLContext.set_default_verify_paths  # the inherited one is visible again
