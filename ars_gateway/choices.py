"""What can be chosen in an agent's session, as the protocol speaks of it: models and levels of thought."""

from typing import Any

from connector import Session

Json = dict[str, Any]
LEVELS = ("off", "minimal", "low", "medium", "high", "xhigh")
_ALIASES = {"on": "low", "min": "minimal", "mid": "medium", "med": "medium", "max": "high", "none": "off"}


def level_of(text: str) -> str | None:
    """The level that a client means; None where it is none."""
    plain = text.strip().lower()
    plain = _ALIASES.get(plain, plain)
    return plain if plain in LEVELS else None


def models_of(session: Session, provider: str) -> tuple[list[Json], str | None]:
    """The models that an agent offers in a session, and the id of the one that answers in it.

    An id that names its provider (`provider/model`) is told with that one, any other with `provider`.
    """
    option = _option(session, "model")
    if option is not None:
        found = [(value.value, value.name) for value in _values(option)]
        return [model(*one, provider) for one in found], option.current_value
    if session.models is not None:
        known = [(it.model_id, it.name) for it in session.models.available_models]
        return [model(*one, provider) for one in known], session.models.current_model_id
    return [], None


def model(id: str, name: str, provider: str) -> Json:
    """A row of models.list."""
    return {"id": id, "name": name or id, "provider": id.partition("/")[0] if "/" in id else provider}


def names_of_standing(facts: Json) -> list[str]:
    """How a client may call the model that answers by itself, by what its agent has told: with its provider or not."""
    current = facts.get("model")
    rows = [row for row in facts.get("models", ()) if row["id"] == current]
    return [name for row in rows for name in (row["id"], f"{row['provider']}/{row['id']}")]


def split(model: str) -> tuple[str | None, str]:
    """`provider/model` in two; a model alone has no provider."""
    provider, slash, rest = model.partition("/")
    return (provider, rest) if slash and rest else (None, model)


async def choose_model(session: Session, provider: str | None, model: str) -> None:
    """Makes `model` answer in the session. Raises ValueError where the agent has no such model, `ConnectorError`."""
    offered, current = models_of(session, "")
    names = [it["id"] for it in offered]
    wanted = next((name for name in (f"{provider}/{model}", model) if name in names), None)
    if wanted is None:
        asked = f"{provider}/{model}" if provider else model
        raise ValueError(f"the agent has no model {asked}; it has {', '.join(names) or 'none to choose from'}")
    if wanted != current:
        await session.set_model(wanted)


async def choose_thinking(session: Session, level: str) -> None:
    """Makes the agent think as long as `level` says, where it offers that or something near. Else nothing changes."""
    option = _option(session, "thought_level")
    if option is None:
        return
    offered = [value.value for value in _values(option)]
    near = [level, *({"xhigh": ("high",), "minimal": ("low",), "off": ("none",)}.get(level, ()))]
    wanted = next((name for name in near if name in offered), None)
    if wanted is not None and wanted != option.current_value:
        await session.set_config_option(option.id, wanted)


def _option(session: Session, category: str) -> Any:
    of_kind = (it for it in session.config_options if it.category == category and it.type == "select")
    return next(of_kind, None)


def _values(option: Any) -> list[Any]:
    values: list[Any] = []
    for value in option.options:
        values += value.options if hasattr(value, "options") else [value]
    return values
