"""The model that the settings name."""

from typing import TYPE_CHECKING

from ars_acp.errors import SettingsError
from ars_acp.models import model_class

if TYPE_CHECKING:
    from ars_acp.models.model import Model
    from ars_acp.settings import Settings

OPENAI = "https://api.openai.com/v1"


def make_model(settings: "Settings") -> "Model":
    """Builds it, without connecting anywhere. Raises `SettingsError` for a script or endpoint that cannot be used."""
    from ars_acp.models.script import ScriptError

    try:
        if settings.script:
            model: Model = model_class("scripted").load(settings.script)
            return model
        return _endpoint(settings)
    except OSError as exc:
        raise SettingsError(f"setting script: {exc.strerror}: {settings.script}") from None
    except (ValueError, ScriptError) as exc:
        raise SettingsError(str(exc)) from None


def _endpoint(settings: "Settings") -> "Model":
    from ars_acp.models.config import ModelConfig

    config = ModelConfig(
        base_url=settings.base_url or OPENAI,
        api_key=settings.api_key.value if settings.api_key else None,
        model=settings.model,
        connect_seconds=settings.connect_seconds,
        first_byte_seconds=settings.first_byte_seconds,
        idle_seconds=settings.idle_seconds,
        attempts=settings.attempts,
        backoff_seconds=settings.backoff_seconds,
        proxy=settings.proxy,
        ca_file=settings.ca_file,
        quirks=settings.quirks,
        max_tokens=settings.max_tokens,
        temperature=settings.temperature,
    )
    model: Model = model_class("openai")(config)
    return model
