"""The `openai` package's client for one endpoint: sign-in, headers, connections, and its errors as ours.

The one module that imports `openai`, late and in a thread: `light` leaves out most of it, and still it is 0.1 s.
Bodies are ready bytes both ways: the package's own transform costs 0.17 ms a message, and its parser 90 µs a chunk.
"""

import re
import ssl
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import anyio
import httpx2
import openai
import orjson
from aiohttp.http_exceptions import HttpProcessingError

from ars_acp.models.answer import Broken
from ars_acp.models.config import ModelConfig
from ars_acp.models.faults import Fault, Faults
from ars_acp.trace import headers

ERROR_BODY_LIMIT = 64 << 10
# What is larger goes out in slices, so that other tasks run meanwhile; aiohttp warns above 1 MiB.
DIRECT_BODY_LIMIT = 512 << 10
SLICE = 64 << 10
# A person reads and types between two prompts; the next one should not pay for a TLS handshake again.
KEEP_ALIVE_SECONDS = 60.0
# What reading a body raises: the package's transport maps most of aiohttp's errors, but not all.
BODY_ERRORS = (
    httpx2.HTTPError,
    httpx2.StreamError,
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    EOFError,
    anyio.EndOfStream,
)
# Models of other kinds, which share the list with those that a conversation is possible with.
NO_CHAT = re.compile(
    r"embed|whisper|\btts|dall-e|moderation|realtime|transcribe|\bsora|davinci|babbage|\bimage|-image|rerank", re.I
)
STREAM_HEADERS = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}


class Endpoint:
    """One endpoint's client. Its methods raise Fault."""

    def __init__(self, config: ModelConfig, faults: Faults, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._config = config
        self._faults = faults
        self._host = urlsplit(config.base_url).hostname or config.base_url
        # Redirects are not followed: the key and the conversation go nowhere but to the configured address.
        http_client = openai.DefaultAioHttpClient(
            trust_env=False,
            verify=_trust(config) if transport is None else False,
            proxy=config.proxy if transport is None else None,
            follow_redirects=False,
            limits=httpx2.Limits(max_connections=1000, keepalive_expiry=KEEP_ALIVE_SECONDS),
            event_hooks={"response": [_limit_error_body]},
            transport=transport,
        )
        self._client = openai.AsyncOpenAI(
            api_key=config.api_key or "none",
            admin_api_key="",
            organization="",
            project="",
            webhook_secret="",
            base_url=config.base_url,
            max_retries=0,
            timeout=httpx2.Timeout(None, connect=config.connect_seconds, pool=config.connect_seconds),
            default_headers=dict(config.headers),
            http_client=http_client,
        )
        self._client.organization = self._client.project = None

    async def ask(self, body: bytes) -> "Response":
        """Posts a chat completions request and returns the response as soon as its headers have come."""
        large = len(body) > DIRECT_BODY_LIMIT
        sent = {**headers(), **STREAM_HEADERS} | ({"Content-Length": str(len(body))} if large else {})
        call: Awaitable[Any] = self._client.post(
            "/chat/completions",
            cast_to=httpx2.Response,
            content=_slices(body) if large else body,
            options={"headers": sent},
            stream=True,
            stream_cls=openai.AsyncStream[Any],
        )
        return Response(await self._request(call))

    async def models(self) -> list[str]:
        """The names of the models that the endpoint lists, at least one; those that cannot chat are left out."""
        response = await self._request(self._client.get("/models", cast_to=httpx2.Response))
        try:
            names = [str(model["id"]) for model in orjson.loads(response.content)["data"]]
        except (ValueError, LookupError, TypeError):
            names = []
        chatting = [name for name in dict.fromkeys(names) if name and not NO_CHAT.search(name)]
        if not (chatting or names):
            raise self._faults.unusable("no_model", "the model's endpoint lists no model; name one in the settings")
        return chatting or names

    async def reach(self) -> None:
        """Asks for the list of models, and does not read it."""
        asked: Awaitable[Any] = self._client.get(
            "/models", cast_to=httpx2.Response, stream=True, stream_cls=openai.AsyncStream[Any]
        )
        await (await self._request(asked)).aclose()

    async def rehearse(self, body: bytes) -> None:
        """Carries out one request on the transport it was built with, so that no first time is left for a real one."""
        response = await self.ask(body)
        while await response.receive() is not None:
            pass
        await response.aclose()
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.close()

    async def _request(self, call: Awaitable[httpx2.Response]) -> httpx2.Response:
        try:
            with anyio.fail_after(self._config.first_byte_seconds):
                return await call
        except TimeoutError:
            raise self._unreachable(f"no answer within {self._config.first_byte_seconds:g} seconds") from None
        except openai.APIStatusError as error:
            raise self._faults.status(error.status_code, error.response.headers, error.body) from None
        except (openai.APIConnectionError, *BODY_ERRORS) as error:
            raise self._unreachable(_cause(error)) from None
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise self._faults.unusable("request", f"the request to the model cannot be made: {error}") from None

    def _unreachable(self, why: str) -> Fault:
        return self._faults.unreachable(f"the model's endpoint {self._host} cannot be reached: {why}")


class Response:
    """A response's body as bytes: the `Source` of an Answer."""

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._broken = False
        self._bytes = response.aiter_bytes()
        self.content_type = response.headers.get("content-type", "no content type")

    async def receive(self) -> bytes | None:
        """See `Source.receive`."""
        if self._broken:
            raise Broken
        try:
            return await anext(self._bytes, None)
        except BODY_ERRORS:
            self._broken = True
            if unread := self._unread():
                return unread
            raise Broken from None

    def _unread(self) -> bytes:
        # When a connection breaks, aiohttp's reader raises at once and keeps to itself what had arrived before.
        stream: Any = self._response.stream
        while hasattr(stream, "_stream"):
            stream = stream._stream
        content = getattr(getattr(stream, "_aiohttp_response", None), "content", None)
        held = b"".join(getattr(content, "_buffer", ()))
        return held[getattr(content, "_buffer_offset", 0) :]

    async def aclose(self) -> None:
        """See `Source.aclose`."""
        await self._response.aclose()


def rehearsal(config: ModelConfig, faults: Faults, body: bytes) -> None:
    """One request, start to end, on a transport that answers by itself. Runs in a thread that has no event loop."""

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=b"data: [DONE]\n\n")

    anyio.run(Endpoint(config, faults, httpx2.MockTransport(answer)).rehearse, body)


def _trust(config: ModelConfig) -> ssl.SSLContext | bool:
    if config.ca_file is not None:
        return ssl.create_default_context(cafile=config.ca_file)
    # Plain http needs no certificates, whose loading costs 16 ms; redirects to https are not followed.
    return config.base_url.startswith("https://") or (config.proxy or "").startswith("https://")


async def _slices(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), SLICE):
        yield body[at : at + SLICE]


async def _limit_error_body(response: httpx2.Response) -> None:
    if response.status_code >= 300:
        response.stream = _FirstBytes(response.stream, ERROR_BODY_LIMIT)


class _FirstBytes(httpx2.AsyncByteStream):
    """The beginning of a body: an error's text needs no more, whatever its sender keeps sending."""

    def __init__(self, stream: Any, limit: int) -> None:
        self._stream = stream
        self._limit = limit

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for data in self._stream:
            yield data
            size += len(data)
            if size >= self._limit:
                return

    async def aclose(self) -> None:
        await self._stream.aclose()


def _cause(error: BaseException) -> str:
    """What the innermost cause says: the outer ones say "Connection error." and worse."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
