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


def modes_of(session: Session) -> Json | None:
    """The modes of a session and the one that it is in; None where it has none."""
    if (option := _option(session, "mode")) is not None:
        found = [{"id": it.value, "name": it.name, "description": it.description} for it in _values(option)]
        return {"current": option.current_value, "available": found}
    if session.modes is None:
        return None
    found = [{"id": it.id, "name": it.name, "description": it.description} for it in session.modes.available_modes]
    return {"current": session.modes.current_mode_id, "available": found}


def offered_models(session: Session) -> Json | None:
    """The models of a session and the one that answers; None where there is nothing to choose from."""
    offered, current = models_of(session, "")
    return (
        {"current": current, "available": [{"id": it["id"], "name": it["name"]} for it in offered]} if offered else None
    )


def offers(session: Session) -> Json:
    """What can be chosen in a session, and what is."""
    return {
        "modes": modes_of(session),
        "models": offered_models(session),
        "options": [option_of(option) for option in session.config_options],
    }


def elsewhere(offers: Json, model: str | None) -> Json:
    """The same for a session that is not open: what is chosen in it nobody knows but of its model, which is `model`
    where it has one of its own."""
    told = dict(offers)
    if told["modes"]:
        told["modes"] = {**told["modes"], "current": None}
    if told["models"] and model:
        told["models"] = {**told["models"], "current": model}
    chosen = {"model": (told["models"] or {}).get("current")}
    return told | {"options": [{**it, "value": chosen.get(it["category"])} for it in told["options"]]}


def option_of(option: Any) -> Json:
    """One of an agent's options, with what can be chosen of it."""
    told: Json = {"id": option.id, "name": option.name, "category": option.category, "type": option.type}
    told |= {"description": option.description, "value": option.current_value}
    if option.type == "select":
        told["choices"] = [
            {"value": value.value, "name": value.name, "description": value.description, "group": group}
            for group, values in _groups(option)
            for value in values
        ]
    return told


def command_of(command: Any) -> Json:
    """One of an agent's commands."""
    hint = command.input.hint if command.input is not None else None
    return {"name": command.name, "description": command.description, "hint": hint}


async def choose(session: Session, id: str, value: str | bool) -> str | None:
    """Makes a choice in a session, by an option's id, or `model` and `mode` where it has no such option; its category.

    Raises ValueError and `NotOffered` for what the agent does not offer, `ConnectorError`.
    """
    option = next((it for it in session.config_options if it.id == id), None)
    if option is not None:
        if option.type == "select" and value not in [it.value for it in _values(option)]:
            raise ValueError(f"{id} cannot be {value!r}")
        if isinstance(value, bool) != (option.type == "boolean"):
            raise ValueError(f"{id} is not to be chosen by {value!r}")
        await session.set_config_option(id, value)
        return str(option.category) if option.category else None
    if isinstance(value, bool) or id not in ("model", "mode"):
        raise ValueError(f"the agent offers nothing called {id!r}")
    if id == "model":
        await choose_model(session, None, value)
    elif (of_modes := _option(session, "mode")) is not None:
        return await choose(session, of_modes.id, value)
    else:
        await session.set_mode(value)
    return id


def _option(session: Session, category: str) -> Any:
    of_kind = (it for it in session.config_options if it.category == category and it.type == "select")
    return next(of_kind, None)


def _values(option: Any) -> list[Any]:
    return [value for _, values in _groups(option) for value in values]


def _groups(option: Any) -> list[tuple[str | None, list[Any]]]:
    """The values of an option, each group of them under its name."""
    return [(it.name, it.options) if hasattr(it, "options") else (None, [it]) for it in option.options]
