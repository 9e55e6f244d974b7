"""A small client of the gateway: websockets below, every frame held against the schema, every wait bounded."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any, Self

import anyio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from tests.gateway.wire import check_frame

Json = dict[str, Any]
WITHIN = 20.0


class Refusal(Exception):
    """An answer that says no."""

    def __init__(self, error: Json, payload: Any = None) -> None:
        super().__init__(f"{error['code']}: {error['message']}")
        self.code: str = error["code"]
        self.message: str = error["message"]
        self.error = error
        self.payload = payload


class Device:
    """An Ed25519 identity."""

    def __init__(self) -> None:
        self.key = Ed25519PrivateKey.generate()
        self.raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = sha256(self.raw).hexdigest()

    @property
    def public_key(self) -> str:
        return _text(self.raw)

    @property
    def pem(self) -> str:
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, text: str) -> str:
        return _text(self.key.sign(text.encode()))

    def proof(self, params: Json, nonce: str | None, version: str = "v2", signed_at: int | None = None) -> Json:
        """The `device` of these connect params, signed as clients of this version do."""
        import time

        at = time.time_ns() // 1_000_000 if signed_at is None else signed_at
        client = params["client"]
        fields = [version, self.id, client["id"], client["mode"], params.get("role", "operator")]
        fields += [",".join(params.get("scopes", [])), str(at), (params.get("auth") or {}).get("token", "")]
        if version != "v1":
            fields.append(nonce or "")
        if version == "v3":
            fields += [client["platform"].strip().lower(), client.get("deviceFamily", "").strip().lower()]
        made = {"id": self.id, "publicKey": self.public_key, "signature": self.sign("|".join(fields)), "signedAt": at}
        return made | ({} if nonce is None else {"nonce": nonce})


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def connect_params(token: str | None = None, **changed: Any) -> Json:
    """Proper connect params of a test client; a value of None takes a field out."""
    params: Json = {
        "minProtocol": 3,
        "maxProtocol": 3,
        "client": {"id": "test", "version": "1.0.0", "platform": "linux", "mode": "test"},
        "caps": [],
    }
    if token is not None:
        params["auth"] = {"token": token}
    return {key: value for key, value in (params | changed).items() if value is not None}


class Client:
    """One socket. `events` grows as they come; `closed` is set at the end, with `code` and `reason`."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.events: list[Json] = []
        self.strays: list[Json] = []  # answers to no request of ours
        self.frames: list[Json] = []
        self.hello: Json = {}
        self.nonce = ""
        self.code: int | None = None
        self.reason = ""
        self.closed = asyncio.Event()
        self._changed = asyncio.Event()
        self._ids = itertools.count(1)
        self._methods: dict[Any, str] = {}
        self._answers: dict[Any, list[Json]] = {}

    async def read(self) -> None:
        """Sorts frames until the end; run by `client`."""
        try:
            async for message in self.socket:
                self._sort(json.loads(message))
        except ConnectionClosed:
            pass
        finally:
            self.code, self.reason = self.socket.close_code, self.socket.close_reason or ""
            self.closed.set()
            self._tell()

    def _sort(self, frame: Json) -> None:
        check_frame(frame, self._methods.get(frame.get("id")) if frame["type"] == "res" else None)
        self.frames.append(frame)
        if frame["type"] == "event":
            self.events.append(frame)
            if frame["event"] == "connect.challenge":
                self.nonce = frame["payload"]["nonce"]
        elif frame["id"] in self._answers:
            self._answers[frame["id"]].append(frame)
        else:
            self.strays.append(frame)
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def until(self, condition: Callable[[], Any], within: float = WITHIN) -> Any:
        """The condition's first true value; fails the test when there is none in time, or the socket closes before."""
        with anyio.fail_after(within):
            while not (found := condition()):
                if self.closed.is_set():
                    raise AssertionError(f"closed {self.code} {self.reason!r} while waiting; {self.frames[-3:]}")
                await self._changed.wait()
        return found

    async def ended(self, within: float = WITHIN) -> tuple[int | None, str]:
        """How the other end closed the socket."""
        with anyio.fail_after(within):
            await self.closed.wait()
        return self.code, self.reason

    async def send(self, frame: Any) -> None:
        await self.socket.send(frame if isinstance(frame, str | bytes) else json.dumps(frame))

    async def begin(self, method: str, params: Any = None, request_id: str | None = None) -> str:
        """Sends a request and returns its id."""
        found = request_id or f"r{next(self._ids)}"
        self._methods[found] = method
        self._answers.setdefault(found, [])
        await self.send({"type": "req", "id": found, "method": method} | ({} if params is None else {"params": params}))
        return found

    async def answer(self, request_id: str, number: int = 1, within: float = WITHIN) -> Any:
        """The payload of an answer to a request, its `number`-th. Raises `Refusal` where it says no."""
        await self.until(lambda: len(self._answers[request_id]) >= number, within)
        frame = self._answers[request_id][number - 1]
        if not frame["ok"]:
            raise Refusal(frame["error"], frame.get("payload"))
        return frame.get("payload")

    async def request(self, method: str, params: Any = None, within: float = WITHIN) -> Any:
        """One request's (first) answer."""
        return await self.answer(await self.begin(method, params), within=within)

    async def challenge(self) -> str:
        await self.until(lambda: self.nonce)
        return self.nonce

    async def connect(self, params: Json, device: Device | None = None, version: str = "v2") -> Json:
        """The handshake; hello's payload. Raises `Refusal`."""
        nonce = await self.challenge()
        if device is not None:
            params = params | {"device": device.proof(params, None if version == "v1" else nonce, version)}
        self.hello = await self.request("connect", params)
        return self.hello

    def named(self, event: str) -> list[Json]:
        """The events of this name that have come."""
        return [one for one in self.events if one["event"] == event]

    async def event(self, name: str, number: int = 1, within: float = WITHIN) -> Json:
        """The `number`-th event of this name."""
        await self.until(lambda: len(self.named(name)) >= number, within)
        return self.named(name)[number - 1]

    @property
    def conn_id(self) -> str:
        return str(self.hello["server"]["connId"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.socket.close()


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[Client]:
    """A socket to `url` (or `unix=path`), not yet connected in the protocol's sense."""
    path = options.pop("unix", None)
    options = {"compression": None, "max_size": None, "proxy": None, "close_timeout": 1} | options
    if path is not None:
        options.pop("proxy")
    opening = connect(url, **options) if path is None else unix_connect(str(path), url, **options)
    async with opening as socket:
        one = Client(socket)
        reading = asyncio.ensure_future(one.read())
        try:
            yield one
        finally:
            await socket.close()
            await reading
