"""A model behind an OpenAI-compatible endpoint: chat completions, streamed, asked again only if nothing was shown."""

import gc
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import orjson

from ars_acp.errors import LLM_ERROR
from ars_acp.models.answer import Answer
from ars_acp.models.config import ModelConfig
from ars_acp.models.faults import Fault, Faults
from ars_acp.models.model import ModelError, Piece, Reply, Retrying
from ars_acp.models.quirks import Quirks, quirks_for, request_body
from ars_acp.models.retry import backoff
from ars_acp.models.tool_text import TextCalls

if TYPE_CHECKING:
    from ars_acp.models.endpoint import Endpoint


class OpenAIModel:
    """The `Model` of that name. Where none was configured, `name` is empty until `resolve_name` or the first stream."""

    def __init__(self, config: ModelConfig) -> None:
        self.config = config
        self.name = config.model or ""
        self._faults = Faults(config.secrets)
        self._endpoint: Endpoint | None = None
        self._warming = anyio.Lock()
        self._listed: list[str] = []
        self._listing = anyio.Lock()
        # Of a variant: the model whose connections it uses.
        self._origin: OpenAIModel | None = None

    @property
    def quirks(self) -> Quirks:
        """How this endpoint differs from others, as far as that is known."""
        return quirks_for(self.config.base_url, self.name, self.config.quirks)

    async def warm(self) -> None:
        """See `Model.warm`. Imports in a thread, with garbage collection off meanwhile. Raises ModelError."""
        await self._ready()

    async def aclose(self) -> None:
        """See `Model.aclose`."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            await endpoint.aclose()

    async def resolve_name(self) -> str:
        """The model's name: as configured, else the first that the endpoint lists. Raises ModelError."""
        try:
            return await self._resolve()
        except Fault as fault:
            error = fault.error
        raise error

    async def names(self) -> list[str]:
        """See `Model.names`."""
        try:
            return await self._names()
        except Fault as fault:
            error = fault.error
        raise error

    async def reach(self) -> None:
        """See `Model.reach`."""
        try:
            await (await self._ready()).reach()
        except Fault as fault:
            error = fault.error
        else:
            return
        raise error

    def variant(self, name: str, effort: str | None) -> "OpenAIModel":
        """See `Model.variant`."""
        other = OpenAIModel(replace(self.config, model=name, effort=effort))
        other._origin = self._origin or self
        return other

    async def stream(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]
    ) -> AsyncGenerator[list[Piece] | Retrying | Reply, None]:
        """See `Model.stream`."""
        began = time.monotonic()
        first_token: float | None = None
        failures = 0
        while True:
            answer: Answer | None = None
            try:
                answer = await self._ask(messages, tools)
                while pieces := await answer.next():
                    if first_token is None:
                        first_token = time.monotonic() - began
                    yield pieces
                outcome: Reply | Fault = answer.reply(first_token, time.monotonic() - began)
            except Fault as fault:
                outcome = fault
            finally:
                if answer is not None:
                    await answer.aclose()
            if isinstance(outcome, Reply):
                yield outcome
                return
            failures += 1
            retrying = self._again(outcome, failures, shown=first_token is not None)
            yield retrying
            await anyio.sleep(retrying.delay)

    def _again(self, failure: Fault, failures: int, *, shown: bool) -> Retrying:
        """The wait before the next attempt; where there is none, raises the ModelError."""
        config, error = self.config, failure.error
        delay = failure.wait or backoff(failures, config.backoff_seconds, config.backoff_cap_seconds)
        if shown or not failure.again or failures >= config.attempts or delay > config.retry_after_cap_seconds:
            if failure.again and error.retry_after_ms is None:
                error.retry_after_ms = round(delay * 1000)
            raise error
        return Retrying(failures + 1, delay, error.message)

    async def _ask(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> Answer:
        endpoint = await self._ready()
        await self._resolve()
        config, quirks = self.config, self.quirks
        body = request_body(
            quirks,
            self.name,
            messages,
            tools,
            max_tokens=config.max_tokens,
            temperature=config.temperature,
            effort=config.effort,
        )
        text_calls = TextCalls(tools) if quirks.tool_text and tools else None
        asked_at = anyio.current_time()
        return Answer(await endpoint.ask(_encode(body)), config, self._faults, text_calls, asked_at)

    async def _resolve(self) -> str:
        if not self.name:
            self.name = (await self._names())[0]
        return self.name

    async def _names(self) -> list[str]:
        async with self._listing:
            if not self._listed:
                self._listed = await (await self._ready()).models()
            return self._listed

    async def _ready(self) -> "Endpoint":
        if self._origin is not None:
            return await self._origin._ready()
        if self._endpoint is None:
            async with self._warming:
                if self._endpoint is None:
                    self._endpoint = await anyio.to_thread.run_sync(self._build, abandon_on_cancel=True)
        return self._endpoint

    def _build(self) -> "Endpoint":
        collecting = gc.isenabled()
        gc.disable()
        try:
            from ars_acp.models import light

            light.defer()
            with light.without_certificates():
                from ars_acp.models import endpoint

            body = _encode(request_body(self.quirks, self.name, [{"role": "user", "content": ""}], []))
            endpoint.rehearsal(self.config, self._faults, body)
            return endpoint.Endpoint(self.config, self._faults)
        except OSError as error:
            raise ModelError(
                LLM_ERROR, self._faults.text(f"the certificates cannot be used: {error}"), retryable=False
            ) from None
        finally:
            if collecting:
                gc.enable()


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except orjson.JSONEncodeError:  # lone surrogates, integers over 64 bits
        return json.dumps(body).encode("ascii")
