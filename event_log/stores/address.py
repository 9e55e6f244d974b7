"""The address of a server, in a store's URL. What is wrong with it is told without repeating it: it has a password."""

from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from event_log.errors import StoreInvalid

_TELLING = ("dbname", "host", "options", "port", "search_path")  # options that lead to other logs


@dataclass(frozen=True, slots=True)
class Address:
    """`url` is for the driver; `shown` is for people; `password` is there for who takes it out of texts."""

    url: str = field(repr=False)
    scheme: str
    shown: str
    password: str | None = field(repr=False)
    prefix: str
    directory: str  # names what is kept on this host for this address, whatever the password is


def parse(url: str) -> Address:
    """Raises StoreInvalid."""
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query)
        shown = f"{parts.scheme}://{_place(parts)}{parts.path}"
    except ValueError:
        raise StoreInvalid(
            "the store's URL cannot be read: it is scheme://user:password@host:port/database, where a password has"
            " %2F for /, %23 for #, %3F for ?, %40 for @"
        ) from None
    if not url.isprintable() or " " in url or parts.fragment or not parts.netloc:
        raise StoreInvalid(
            "the store's URL is scheme://user:password@host:port/database, where a password has %23 for #"
        )
    prefix = options.pop("prefix", [""])[-1]
    named_as_its_user = parts.scheme == "postgresql" and not parts.path.strip("/")  # the database, that is
    telling = [shown, named_as_its_user and parts.username, prefix, *(options.get(name) for name in _TELLING)]
    password = unquote(parts.password) if parts.password else options.get("password", [None])[-1]
    return Address(
        url=parts._replace(
            query="&".join(it for it in parts.query.split("&") if not it.startswith("prefix="))
        ).geturl(),
        scheme=parts.scheme,
        shown=shown,
        password=password,
        prefix=prefix,
        directory=f"{parts.scheme}-{sha256(repr(telling).encode()).hexdigest()[:16]}",
    )


def _place(parts: SplitResult) -> str:
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"
