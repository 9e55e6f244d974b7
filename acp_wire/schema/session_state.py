"""What session requests are answered with: modes, config options, and the rows of `session/list`.

Apart from `session`, because only a client reads it, and an agent starts faster without.
"""

from typing import Annotated

from pydantic import Field

from acp_wire.schema._base import SKIP_INVALID, Lenient, Model, OptionalText
from acp_wire.schema.config_options import ConfigOptions


class SessionMode(Model):
    id: str
    name: str
    description: OptionalText = None


class SessionModeState(Model):
    current_mode_id: str
    available_modes: Annotated[list[Annotated[SessionMode, SKIP_INVALID]], Lenient(list, required=True)]


class ModelInfo(Model):
    model_id: str
    name: str
    description: OptionalText = None


class SessionModelState(Model):
    """How agents listed their models before these became config options; set by `session/set_model`."""

    current_model_id: str
    available_models: Annotated[list[Annotated[ModelInfo, SKIP_INVALID]], Lenient(list, required=True)]


class LoadSessionResponse(Model):
    modes: Annotated[SessionModeState | None, Lenient()] = None
    config_options: Annotated[ConfigOptions | None, Lenient()] = None
    models: Annotated[SessionModelState | None, Lenient()] = None


class NewSessionResponse(LoadSessionResponse):
    session_id: str


ResumeSessionResponse = LoadSessionResponse


class SessionInfo(Model):
    session_id: str
    cwd: str
    additional_directories: Annotated[list[Annotated[str, SKIP_INVALID]], Lenient(list)] = Field(default_factory=list)
    title: OptionalText = None
    updated_at: OptionalText = None


class ListSessionsResponse(Model):
    sessions: Annotated[list[Annotated[SessionInfo, SKIP_INVALID]], Lenient(list, required=True)]
    next_cursor: OptionalText = None
