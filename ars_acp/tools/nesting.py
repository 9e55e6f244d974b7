"""How deep a JSON value is nested: what can just be read cannot always be written."""

from collections.abc import Iterable
from typing import Any

DEEPEST = 100


def too_deep(value: Any) -> bool:
    """Whether `value` is nested deeper than anything that was meant."""
    level = [value]
    for _ in range(DEEPEST):
        level = [inner for outer in level for inner in _inside(outer)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
