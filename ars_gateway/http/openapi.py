"""The OpenAPI document, merged from a fragment for each door when somebody first asks, and the checks in it."""

from functools import cache
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.http.errors import json_response
from ars_gateway.protocol.validate import Check, compile_schema

Json = dict[str, Any]
_REF = "#/components/schemas/"
# Keywords that tell a reader something and check nothing.
_TOLD = {"title", "description", "default", "example", "examples", "format", "deprecated", "readOnly", "writeOnly"}


async def openapi(request: Request) -> Response:
    """The document. It holds nothing of anybody's."""
    return json_response(document())


ROUTES = (Route("/openapi.json", openapi),)


@cache
def document() -> Json:
    """All fragments as one. The parts of `openapi/` may be in any order; a name that two of them give is an error."""
    whole: Json = {"paths": {}, "components": {}}
    for file in sorted(files(__package__).joinpath("openapi").iterdir(), key=lambda it: it.name):
        if file.name.endswith(".json"):
            _merge(whole, orjson.loads(file.read_bytes()), file.name)
    whole["info"]["version"] = version("ars-acp")
    return whole


def _merge(whole: Json, part: Json, where: str) -> None:
    for key, value in part.items():
        if key in ("paths", "components", "schemas", "responses", "parameters", "securitySchemes", "headers"):
            _merge(whole.setdefault(key, {}), value, where)
        elif key in whole:
            raise ValueError(f"{where}: {key} is in another fragment already")
        else:
            whole[key] = value


def problems(name: str, value: Any) -> list[str]:
    """What keeps `value` from being one of schema `name`, each with the field it is about; none for nothing."""
    found: list[str] = []
    _check(name)(value, "", found)
    return [*dict.fromkeys(found)]


@cache
def _check(name: str) -> Check:
    return compile_schema(_plain(document()["components"]["schemas"][name]))


def _plain(schema: Any) -> Json:
    """The schema with what it refers to in place, and without what checks nothing."""
    if (ref := schema.get("$ref")) is not None:
        return _plain(document()["components"]["schemas"][ref.removeprefix(_REF)])
    found: Json = {}
    for key, value in schema.items():
        if key in ("properties", "patternProperties"):
            found[key] = {name: _plain(it) for name, it in value.items()}
        elif key in ("items", "additionalProperties") and isinstance(value, dict):
            found[key] = _plain(value)
        elif key in ("anyOf", "oneOf"):
            found[key] = [_plain(it) for it in value]
        elif key not in _TOLD and not key.startswith("x-"):
            found[key] = value
    return found
