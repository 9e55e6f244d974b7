"""jsonrpcserver's dispatcher, without the rest of its package.

`import jsonrpcserver` brings an HTTP server and a JSON-schema validator that nothing here calls: four fifths of what it
costs, and that is a third of a whole start. Its modules are imported under a package name of our own, whose `__init__`
is not run; who imports jsonrpcserver itself in the same process gets it whole and separate.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonrpcserver import Result

_PACKAGE = "acp_wire.jsonrpcserver"


def _module(name: str) -> Any:
    if _PACKAGE not in sys.modules:
        found = find_spec("jsonrpcserver")
        if found is None:
            raise ImportError("acp_wire needs the package jsonrpcserver")
        alias = ModuleSpec(_PACKAGE, None, is_package=True)
        alias.submodule_search_locations = found.submodule_search_locations
        sys.modules[_PACKAGE] = module_from_spec(alias)
    return import_module(f"{_PACKAGE}.{name}")


_dispatch = _module("async_dispatcher").dispatch_to_response_pure
_serializable = _module("response").to_serializable_one
success: Callable[[Any], "Result"] = _module("result").Success
error: Callable[..., "Result"] = _module("result").Error


async def dispatch(methods: Mapping[str, Callable[..., Any]], request: dict[str, Any], context: Any) -> Any:
    """The answer to `request`, as a plain dict. `methods[name](context)` returns `success(…)` or `error(…)`."""
    return await _dispatch(
        request=request,
        methods=methods,
        context=context,
        deserializer=_as_it_is,
        validator=_as_it_is,
        post_process=_serializable,
    )


def _as_it_is(message: Any) -> Any:
    return message
