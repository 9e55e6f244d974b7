"""What can be chosen in a session, a row each: mode, model, level of thought, whether thoughts are shown.

What is chosen is an entry of the session's log, and holds from the next act, the next request to the model, the next
piece. The modes of `session/set_mode` are the values of the option `mode`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from acp_wire import build
from acp_wire.errors import INVALID_PARAMS
from ars_acp.blocks import Takes, model_takes
from ars_acp.errors import invalid_message
from ars_acp.model_choice import ModelChoice
from ars_acp.session import Session

if TYPE_CHECKING:
    from ars_acp.catalog import Known
    from ars_acp.models.model import Model

Json = dict[str, Any]
Value = tuple[str, str, str | None]  # value, name, description
NAMED_IN_ERRORS = 20
DEFAULT = "default"
MODES: tuple[Value, ...] = (
    ("ask", "Ask", "Asks before every change and every command"),
    ("accept-edits", "Accept edits", "Changes files without asking; asks before commands and protected files"),
    ("read-only", "Read only", "Reads and searches; changes nothing and runs nothing"),
    ("full", "Full", "Changes files and runs commands without asking; asks before protected files"),
)


@dataclass(frozen=True)
class Option:
    """One thing to choose. `values` is None for what is on or off; an option without values is not offered now."""

    id: str
    name: str
    category: str | None
    description: str
    current: Callable[["SessionConfig"], str | bool]
    values: Callable[["SessionConfig"], Sequence[Value]] | None = None


class SessionConfig:
    """The options of one session for one client; `boolean` says whether it knows those that are on or off."""

    def __init__(self, session: Session, models: ModelChoice, *, boolean: bool = False) -> None:
        self.session = session
        self.models = models
        self.boolean = boolean

    @property
    def model_name(self) -> str:
        """The model that the session uses; "" while nobody has named one."""
        return str(self.session.facts.config.get("model") or self.models.default_name)

    @property
    def effort(self) -> str | None:
        """The level of thought that was chosen, if the session's model has it."""
        chosen = self.session.facts.config.get("thought_level")
        return chosen if chosen in self.models.thought_levels(self.model_name) else None

    @property
    def shows_thoughts(self) -> bool:
        """Whether the client is sent the model's thoughts. One that could not turn them on again always is."""
        return not self.boolean or self.session.facts.config.get("show_thoughts") is not False

    def thought_levels(self) -> list[Value]:
        """The values of that option: those of the model, and the one that leaves it to the model's provider."""
        levels = self.models.thought_levels(self.model_name)
        return [(DEFAULT, "Default", "As the provider has it"), *((it, it, None) for it in levels)] if levels else []

    def model(self) -> "Model":
        """The model to ask now. Raises `RpcError` where the settings cannot be used."""
        return self.models.variant(str(self.session.facts.config.get("model") or ""), self.effort)

    def known(self) -> "Known | None":
        """What is known of that model."""
        return self.models.known(self.model_name)

    def takes(self) -> Takes:
        """What the session's model takes besides text. Raises `RpcError` where the user's file of models is wrong."""
        known = None if self.models.settings.script else self.known()
        if known is None:
            return model_takes(self.models.settings, self.model_name)
        return Takes(known.images, known.audio)

    def state(self) -> Json:
        """What the answer to a session request says: `modes` and `configOptions`."""
        modes = [build.session_mode(value, name, description) for value, name, description in MODES]
        return {"modes": build.session_modes(self.session.mode, modes), "configOptions": self.options()}

    def options(self) -> list[Json]:
        """The complete list of options as they are now."""
        found = []
        for option in OPTIONS:
            current = option.current(self)
            if option.values is None:
                if self.boolean:
                    found.append(
                        build.config_boolean(
                            option.id, option.name, bool(current), description=option.description, category=None
                        )
                    )
            elif values := option.values(self):
                rows = [build.config_value(*value) for value in values]
                found.append(
                    build.config_select(
                        option.id,
                        option.name,
                        str(current),
                        rows,
                        description=option.description,
                        category=option.category,
                    )
                )
        return found

    async def choose(self, option_id: str, value: str | bool, field: str = "value") -> list[Json]:
        """Chooses, and returns the updates that tell it: none where nothing changed.

        Raises `RpcError` that says what is possible where this is not, and what `Session.record` raises. `field` is
        what the client called the value.
        """
        if option_id == "model" and value not in self.models.names(self.model_name):
            await self.models.list()
        option = self._offered(option_id)
        self._check(option, value, field)
        if value == option.current(self):
            return []
        self.session.record({"type": "config", "id": option_id, "value": value})
        told = [build.current_mode_update(self.session.mode)] if option_id == "mode" else []
        options = self.options()
        if self.session.told_options is not None:
            self.session.told_options = options  # nobody else needs to tell them, least of all before the answer
        return [*told, build.config_option_update(options)]

    def _offered(self, option_id: str) -> Option:
        offered = {listed["id"] for listed in self.options()}
        for option in OPTIONS:
            if option.id == option_id and option.id in offered:
                return option
        raise invalid_message(INVALID_PARAMS, f"configId: there is no such option; there are {_named(sorted(offered))}")

    def _check(self, option: Option, value: str | bool, field: str) -> None:
        if option.values is None:
            if not isinstance(value, bool):
                what = f"value: {option.id} is on or off"
                raise invalid_message(INVALID_PARAMS, f'{what}; send "type": "boolean" and true or false')
            return
        possible = [known for known, _, _ in option.values(self)]
        if value not in possible:
            raise invalid_message(
                INVALID_PARAMS, f"{field}: no such {option.name.lower()}; there are {_named(possible)}"
            )


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:NAMED_IN_ERRORS])
    more = len(names) - NAMED_IN_ERRORS
    return f"{shown} and {more} more" if more > 0 else shown


OPTIONS = (
    Option("mode", "Mode", "mode", "What the agent asks for", lambda it: it.session.mode, lambda it: MODES),
    Option(
        "model",
        "Model",
        "model",
        "Which model answers",
        lambda it: it.model_name,
        lambda it: [(name, name, None) for name in it.models.names(it.model_name)],
    ),
    Option(
        "thought_level",
        "Thought level",
        "thought_level",
        "How long the model thinks before it answers",
        lambda it: it.effort or DEFAULT,
        lambda it: it.thought_levels(),
    ),
    Option(
        "show_thoughts",
        "Show thoughts",
        None,
        "Whether what the model thinks is shown",
        lambda it: it.shows_thoughts,
    ),
)
