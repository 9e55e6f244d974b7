"""Where the model is and how patiently it is asked: the one value that a model client is built from."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """An OpenAI-compatible endpoint. `base_url` is used as given; without `model` the first of its /models is taken.

    Times are seconds. `proxy` and `ca_file` are used only when they are set: nothing is read from the environment.
    `quirks` names a row of the quirks table where the automatic choice is wrong. ValueError for an unusable value.
    """

    base_url: str
    api_key: str | None = field(default=None, repr=False)
    model: str | None = None
    connect_seconds: float = 5.0
    first_byte_seconds: float = 60.0
    idle_seconds: float = 60.0
    keep_alive_factor: float = 5.0
    attempts: int = 3
    backoff_seconds: float = 0.5
    backoff_cap_seconds: float = 8.0
    retry_after_cap_seconds: float = 60.0
    max_tokens: int | None = None
    temperature: float | None = None
    effort: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    quirks: str | None = None

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError("the model's base URL must start with http:// or https://")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise ValueError("the API key holds characters that no HTTP header may carry")
        if self.attempts < 1:
            raise ValueError("attempts must be at least 1")

    @property
    def secrets(self) -> tuple[str, ...]:
        """The values that no message may repeat."""
        return (self.api_key or "", *self.headers.values())
