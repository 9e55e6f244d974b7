"""Where an MCP server may be reached: anywhere but at the addresses that hand out a machine's own secrets.

A client names the servers, so this host and the private networks are allowed: the editor's own servers live there.
Link-local addresses and those of the clouds' metadata services are refused, in whatever form they are written, after
the name is resolved; the connection then goes to an address that was looked at and to no other.
"""

import ipaddress
import socket

import anyio

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
METADATA = frozenset(map(ipaddress.ip_address, ("100.100.100.200", "fd00:ec2::254", "fd20:ce::254")))
# Networks whose addresses carry an IPv4 address in their last four bytes.
_CARRIERS = tuple(map(ipaddress.IPv6Network, ("::ffff:0:0/96", "64:ff9b::/96", "::/96")))


class AddressRefused(Exception):
    """The host leads where no MCP server may be."""


async def vetted(host: str, port: int) -> list[str]:
    """The addresses of `host`, best first. Raises `AddressRefused` if any is forbidden, `OSError` if there is none."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(info[4][0]) for info in found]
    for address in addresses:
        if is_forbidden(ipaddress.ip_address(address.partition("%")[0])):
            raise AddressRefused(f"{host} is a link-local or metadata address, which no MCP server may have")
    return list(dict.fromkeys(addresses))


def is_forbidden(address: Address) -> bool:
    """Whether nothing may be asked there."""
    inner = _carried(address)
    return any(it.is_link_local or it.is_multicast or it in METADATA for it in (address, inner))


def _carried(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address):
        if address.sixtofour is not None:
            return address.sixtofour
        if int(address) > 1 and any(address in network for network in _CARRIERS):
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address
