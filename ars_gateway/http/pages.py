"""The web page: the files of `ars_gateway/web`, and nothing else.

Which files there are is read from the package once. A request's path is looked up among their names: it never
reaches the file system.
"""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, partial
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.access.connect_tokens import page_origin
from ars_gateway.access.origins import UNIX
from ars_gateway.gateway import Gateway

TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "webmanifest": "application/manifest+json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "txt": "text/plain; charset=utf-8",
}
PACKED = frozenset({"png", "ico", "woff2"})
INDEX = "index.html"
# What a page of ours may do, whatever it was made to hold. Scripts and styles are files of ours, strings never become
# either; it talks to this gateway alone, and nobody frames it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self';"
    " manifest-src 'self'; connect-src {connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    # Kept, but asked about each time: after an update nobody has half of the old page.
    "cache-control": "no-cache",
    "vary": "accept-encoding",
}
# Pictures and fonts fit any page: browsers ask for icons at odd times, also while the gateway is away.
LASTING = frozenset({"svg", "png", "ico", "woff2"})
FOR_AN_HOUR = "private, max-age=3600"
# What can be opened by itself, and may hold scripts, has besides its policy:
DOCUMENTS = frozenset({"html", "svg"})
OF_DOCUMENTS = {
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_HOST = re.compile(r"[a-z0-9._-]+(:\d+)?|\[[0-9a-f:.]+\](:\d+)?")


@dataclass(frozen=True)
class File:
    """One file of the page."""

    source: Traversable

    @property
    def suffix(self) -> str:
        """What says its type."""
        return self.source.name.rpartition(".")[2]

    @cached_property
    def body(self) -> bytes:
        """What is in it, read when it is first asked for."""
        return self.source.read_bytes()

    @cached_property
    def packed(self) -> bytes | None:
        """The same compressed, always to the same bytes; None where that is no gain."""
        packed = gzip.compress(self.body, 9, mtime=0) if self.suffix not in PACKED else self.body
        return packed if len(packed) < len(self.body) else None

    @cached_property
    def tag(self) -> str:
        """Says that it is this content, compressed or not (RFC 9110, 8.8.3)."""
        return f'W/"{sha256(self.body).hexdigest()[:24]}"'


@cache
def found() -> dict[str, File]:
    """The files by their paths in an address. One of a type that has no row is a `ValueError`."""
    top = files("ars_gateway").joinpath("web")
    listed = {f"/{path}": File(source) for path, source in _walk(top, "")}
    if unknown := sorted(path for path, file in listed.items() if file.suffix not in TYPES):
        raise ValueError(f"files of the page without a type: {unknown}")
    return {**listed, "/": listed[f"/{INDEX}"]}


def _walk(directory: Traversable, path: str) -> Iterator[tuple[str, Traversable]]:
    for one in sorted(directory.iterdir(), key=lambda it: it.name):
        if one.name.startswith((".", "__")):
            continue
        if one.is_dir():
            yield from _walk(one, f"{path}{one.name}/")
        else:
            yield f"{path}{one.name}", one


async def page(file: File, request: Request) -> Response:
    """A file of the page, for whoever asks: it holds no secret, and signs in by itself."""
    headers = {**HEADERS, "etag": file.tag}
    if file.suffix in LASTING:
        headers["cache-control"] = FOR_AN_HOUR
    if file.suffix in DOCUMENTS:
        headers |= {**OF_DOCUMENTS, "content-security-policy": policy(request.headers.get("host", ""))}
    if _has(request.headers.get("if-none-match", ""), file.tag):
        return Response(status_code=304, headers=headers)
    body = file.body
    if file.packed is not None and takes_gzip(request.headers.get("accept-encoding", "")):
        body = file.packed
        headers["content-encoding"] = "gzip"
    return Response(body, headers=headers, media_type=TYPES[file.suffix])


def policy(host: str) -> str:
    """The content security policy of a page that came from `host`: it may talk there and nowhere else.

    WebSockets of the own origin are named, as not every browser counts them as 'self'. A host that is none is left out.
    """
    known = _HOST.fullmatch(host.lower()) is not None
    return POLICY.format(connect=f"'self' ws://{host.lower()} wss://{host.lower()}" if known else "'self'")


def origin_of(request: Request) -> str:
    """Where whoever has made this request finds the page."""
    gateway: Gateway = request.app.state.gateway
    if request.state.peer.address == UNIX:
        return page_origin(gateway.urls)
    host = request.headers.get("host", "").lower()
    known = (it for it in sorted(gateway.settings.allowed_origins) if it.partition("://")[2] == host)
    return next(known, f"http://{host}")


def takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding takes gzip (RFC 9110, 12.5.3)."""
    weights: dict[str, str] = {}
    for part in accepted.lower().split(","):
        name, _, weight = part.partition(";")
        weights[name.strip()] = weight.strip().removeprefix("q=").strip()
    return re.fullmatch(r"0(\.0*)?", weights.get("gzip", weights.get("*", "0"))) is None


def _has(listed: str, tag: str) -> bool:
    return any(one.strip() in (tag, tag.removeprefix("W/"), "*") for one in listed.split(","))


ROUTES = tuple(Route(path, partial(page, file), methods=["GET"]) for path, file in found().items())
