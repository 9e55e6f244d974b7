"""Which addresses no MCP server may have, in whatever form they are written."""

from ipaddress import ip_address

import pytest

from ars_acp.mcp_addresses import AddressRefused, is_forbidden, vetted

FORBIDDEN = [
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "fd00:ec2::254",
    "fe80::1",
    "febf::1",
    "224.0.0.1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "::ffff:100.100.100.200",
    "::169.254.169.254",
    "64:ff9b::169.254.169.254",
    "2002:a9fe:a9fe::1",
]
ALLOWED = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.1",
    "fd00::1",
    "93.184.216.34",
    "2606:2800:220:1::1",
    "::ffff:127.0.0.1",
]
WRITTEN_OTHERWISE = ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "fe80::1%lo"]


@pytest.mark.parametrize("address", FORBIDDEN)
def test_addresses_that_hand_out_secrets_are_forbidden(address: str) -> None:
    assert is_forbidden(ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_this_host_private_networks_and_the_rest_of_the_world_are_allowed(address: str) -> None:
    assert not is_forbidden(ip_address(address))


@pytest.mark.parametrize("host", WRITTEN_OTHERWISE)
async def test_an_address_is_looked_at_after_it_was_resolved(host: str) -> None:
    with pytest.raises(AddressRefused):
        await vetted(host, 80)


async def test_what_is_allowed_is_given_as_an_address() -> None:
    assert "127.0.0.1" in await vetted("localhost", 80)
