"""The base of all tools' argument models: as lenient as models need it, built when first used."""

from typing import Any, get_origin

from pydantic import BaseModel, ConfigDict, model_validator


class Arguments(BaseModel):
    """Unknown keys are ignored, a null is an absent key, and one value stands for a list of it."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _lenient(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        given = {key: value for key, value in raw.items() if value is not None}
        for key, field in cls.model_fields.items():
            if get_origin(field.annotation) is list and isinstance(given.get(key), str | dict):
                given[key] = [given[key]]
        return given
