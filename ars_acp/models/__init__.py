"""The models that can drive a turn, by name; each is imported when it is first asked for."""

from importlib import import_module
from typing import Any

MODELS = {
    "openai": "ars_acp.models.openai:OpenAIModel",
    "scripted": "ars_acp.models.scripted:ScriptedModel",
}


def model_class(name: str) -> Any:
    """The class behind a name of MODELS (a `Model`); KeyError for any other name."""
    module, _, attribute = MODELS[name].partition(":")
    return getattr(import_module(module), attribute)
