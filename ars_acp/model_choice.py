"""The models of one endpoint: the configured one, the others it lists, what is known of each, and which a session uses.

Nothing heavy is loaded here before the first session was answered: until then only the configured name is known.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio

from acp_wire.errors import RpcError
from ars_acp.errors import LLM_ERROR, SettingsError, rpc_error

if TYPE_CHECKING:
    from ars_acp.catalog import Catalog, Known
    from ars_acp.models.model import Model
    from ars_acp.settings import Settings

LISTING_SECONDS = 2.0


class ModelChoice:
    """Which models there are, for all sessions of an agent. `catalog` is None until `load`."""

    def __init__(self, settings: "Settings", make_model: "Callable[[Settings], Model]") -> None:
        self.settings = settings
        self._make_model = make_model
        self._made: Model | None = None
        self._variants: dict[tuple[str, str | None], Model] = {}
        self._listing = anyio.Lock()
        self.listed: tuple[str, ...] = ()
        self.catalog: Catalog | None = None

    def base(self) -> "Model":
        """The model of the settings, built when it is first needed. Raises `RpcError` where they cannot be used."""
        if self._made is None:
            try:
                self._made = self._make_model(self.settings)
            except SettingsError as exc:
                raise rpc_error(LLM_ERROR, str(exc), retryable=False) from None
        return self._made

    def variant(self, name: str, effort: str | None) -> "Model":
        """The model of that name, thinking that hard; "" is the one of the settings."""
        base = self.base()
        name = name or base.name
        if effort is None and name == base.name:
            return base
        if (name, effort) not in self._variants:
            self._variants[name, effort] = base.variant(name, effort)
        return self._variants[name, effort]

    @property
    def default_name(self) -> str:
        """The name of the model that a session uses unless another is chosen; "" while it is not known."""
        if self._made is not None and self._made.name:
            return self._made.name
        if self.settings.script:
            return "scripted"
        return self.settings.model or (self.listed[0] if self.listed else "")

    def names(self, current: str) -> list[str]:
        """What can be chosen: all that the endpoint lists, and the one that is used whether it is listed or not."""
        first = [name for name in dict.fromkeys((self.default_name, current)) if name and name not in self.listed]
        return [*first, *self.listed]

    def known(self, name: str) -> "Known | None":
        """What is known of a model. Raises `RpcError` where the user's file of models is wrong."""
        self.load()
        return self.catalog.find(name) if self.catalog is not None else None

    def thought_levels(self, name: str) -> tuple[str, ...]:
        """The levels of thought that can be chosen for a model, as far as they are known by now."""
        found = self.catalog.find(name) if self.catalog is not None else None
        if found is None or not found.thought_levels:
            return ()
        if self.settings.script:
            return found.thought_levels
        from ars_acp.models.choose import OPENAI
        from ars_acp.models.quirks import quirks_for

        quirks = quirks_for(self.settings.base_url or OPENAI, name, self.settings.quirks)
        return found.thought_levels if quirks.effort else ()

    def load(self) -> None:
        """Reads the catalog, unless it is there. Raises `RpcError` where the user's file of models is wrong."""
        if self.catalog is None:
            from ars_acp.catalog import Catalog

            try:
                self.catalog = Catalog(self.settings.models_file)
            except SettingsError as exc:
                raise rpc_error(LLM_ERROR, str(exc), retryable=False) from None

    async def list(self) -> None:
        """Asks the endpoint, once and for a bounded time, which models it has; it may well not say. Raises nothing."""
        from ars_acp.models.model import ModelError

        async with self._listing:
            if self.listed:
                return
            try:
                with anyio.move_on_after(LISTING_SECONDS):
                    self.listed = tuple(await self.base().names())
            except (ModelError, RpcError):
                return  # the configured one is still there; if it cannot be reached either, its prompt says so
