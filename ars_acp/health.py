"""Whether the model's endpoint can be reached: the answer to `_ars/health`."""

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio

from acp_wire import build_extensions
from acp_wire.errors import RpcError

if TYPE_CHECKING:
    from ars_acp.model_choice import ModelChoice
    from ars_acp.models.model import ModelError

Json = dict[str, Any]
# An endpoint that lists no models says so by these; it is there.
NO_LIST = (404, 405)


class Health:
    """Asks one at a time, for so many `seconds`, and keeps what it found for a while."""

    def __init__(self, seconds: float = 5.0, kept: float = 15.0) -> None:
        self._seconds = seconds
        self._kept = kept
        self._asking = anyio.Lock()
        self._found: Json = {}
        self._models: ModelChoice | None = None
        self._until = 0.0

    async def of(self, models: "ModelChoice") -> Json:
        """The answer for these models: asked now, or a little while ago."""
        async with self._asking:
            if models is not self._models or anyio.current_time() >= self._until:
                self._found = await _ask(models, self._seconds)
                self._models, self._until = models, anyio.current_time() + self._kept
            return self._found


async def _ask(models: "ModelChoice", seconds: float) -> Json:
    began = anyio.current_time()
    reachable, why = False, f"no answer within {seconds:g} s"
    with anyio.move_on_after(seconds):
        reachable, why = await _reached(models)
    ms = round((anyio.current_time() - began) * 1000, 1)
    return build_extensions.health(
        models.default_name, endpoint=_endpoint(models), reachable=reachable, ms=ms, why=why or None
    )


async def _reached(models: "ModelChoice") -> tuple[bool, str]:
    from ars_acp import auth
    from ars_acp.models.model import ModelError

    if not models.settings.can_reach_a_model():
        return False, auth.NO_MODEL
    try:
        await models.base().reach()
    except ModelError as exc:
        return _told(exc)
    except RpcError as exc:
        return False, exc.message
    return True, ""


def _told(error: "ModelError") -> tuple[bool, str]:
    """Whoever answers is there, whatever the answer is."""
    status = error.details.get("status")
    if status is None:
        return False, error.message
    if status in (401, 403):
        return True, f"the model's endpoint refuses the key (HTTP {status})"
    return True, "" if status in NO_LIST else error.message


def _endpoint(models: "ModelChoice") -> str | None:
    """Its scheme, host and port; None for a model that has none."""
    from ars_acp.models.choose import OPENAI

    settings = models.settings
    if settings.script:
        return None
    parts = urlsplit(settings.base_url or OPENAI)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
