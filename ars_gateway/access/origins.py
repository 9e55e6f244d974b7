"""Who may knock: the Host, Origin and forwarding headers of a request, before anything else of it is looked at."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from urllib.parse import parse_qsl, urlsplit

from ars_gateway.clean import clean

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
UNIX = "unix"
# A request with one of these came through somebody else: it is not local, and what they say is not believed.
FORWARDED = (b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"true-client-ip", b"cf-connecting-ip")
FORWARDED_STARTS = (b"x-forwarded-", b"tailscale-", b"cf-")
# In the query of an address they would end in logs, histories and Referer headers.
CREDENTIAL_NAMES = frozenset({"token", "password", "auth", "devicetoken", "access_token", "secret", "authorization"})
BROWSER_IDS = frozenset({"webchat-ui", "webchat", "clawdbot-control-ui", "openclaw-control-ui"})

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Peer:
    """The other end of a socket, as far as the socket and the upgrade request tell."""

    address: str  # normalised: the bucket of failures; `unix` for the Unix socket
    local: bool  # on this machine, and not speaking for somebody elsewhere
    origin: str | None
    user_agent: str
    forwarded: bool
    shown: str  # the address as it is, for people

    @property
    def bucket(self) -> str:
        """What failures are counted by. What comes through a proxy shares none with what comes directly."""
        return f"{self.address}{' forwarded' if self.forwarded else ''} {self.origin or '-'}"


@dataclass(frozen=True)
class Doors:
    """Which Host and Origin values are ours: of the ports listened on, and those the settings name."""

    ports: frozenset[int]
    hosts: frozenset[str]  # as in a Host header, lower case
    origins: frozenset[str]  # scheme://host[:port], lower case

    def host_is_ours(self, values: Sequence[bytes], unix: bool) -> bool:
        """Whether there is exactly one Host and it is `name:port` of ours. On the Unix socket the port says nothing."""
        if len(values) != 1:
            return False
        host = values[0].decode("latin-1").lower()
        if host in self.hosts:
            return True
        if unix and host in LOOPBACK_NAMES:
            return True
        return any(host == f"{name}:{port}" for name in LOOPBACK_NAMES for port in self.ports)

    def origin_is_ours(self, values: Sequence[bytes]) -> bool:
        """Whether there is no Origin, or one that is exactly scheme, host and port of ours."""
        if not values:
            return True
        if len(values) != 1:
            return False
        origin = values[0].decode("latin-1").lower()
        own = (f"http://{name}:{port}" for name in LOOPBACK_NAMES for port in self.ports)
        return origin in self.origins or origin in own


def header(headers: Headers, name: bytes) -> list[bytes]:
    """Every value of one header; `name` in lower case."""
    return [value for key, value in headers if key.lower() == name]


def carries_credential(query: bytes) -> bool:
    """Whether a query string has a field that is named as a credential."""
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(name.lower().replace("-", "_") in CREDENTIAL_NAMES for name, _ in fields)


def peer_of(address: str, unix: bool, headers: Headers) -> Peer:
    """The peer behind a socket whose other end is `address` (empty for a Unix socket)."""
    forwarded = any(key.lower() in FORWARDED or key.lower().startswith(FORWARDED_STARTS) for key, _ in headers)
    # A proxy that tells nothing of itself may still ask for the name by which it is known.
    named = all(_is_loopback_host(host) for host in header(headers, b"host"))
    origin = header(headers, b"origin")
    agent = header(headers, b"user-agent")
    return Peer(
        address=UNIX if unix else normalised(address),
        local=(unix or is_loopback(address)) and not forwarded and named,
        origin=origin[0].decode("latin-1").lower() if origin else None,
        user_agent=clean(agent[0].decode("latin-1")) if agent else "",
        forwarded=forwarded,
        shown=UNIX if unix else address,
    )


def _is_loopback_host(value: bytes) -> bool:
    host = value.decode("latin-1").lower()
    name, colon, port = host.rpartition(":")
    return host in LOOPBACK_NAMES or (bool(colon) and name in LOOPBACK_NAMES and port.isdecimal())


def normalised(address: str) -> str:
    """One name for one neighbour: IPv4 within IPv6 as IPv4, IPv6 by its /64, all of loopback as one."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return "loopback"
    if isinstance(found, IPv6Address):
        return str(IPv6Address(int(found) >> 64 << 64)) + "/64"
    return str(found)


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own."""
    return normalised(address) == "loopback"


def listed(values: Iterable[str], read: Callable[[str], str | None]) -> frozenset[str]:
    """Settings' hosts or origins in the form in which they are compared. Raises `ValueError` for one that is none."""
    found = set()
    for value in values:
        one = read(value.strip().lower())
        if one is None:
            raise ValueError(value)
        found.add(one)
    return frozenset(found)


def as_origin(value: str) -> str | None:
    """`scheme://host[:port]`, or None where `value` is more or less than that."""
    parts = urlsplit(value)
    whole = f"{parts.scheme}://{parts.netloc}"
    return whole if parts.scheme in ("http", "https") and parts.netloc and whole == value.rstrip("/") else None


def as_host(value: str) -> str | None:
    """`host[:port]`, or None where `value` is more than that."""
    return value if value and not set(value) & set("/@?# ") and value != "*" else None
