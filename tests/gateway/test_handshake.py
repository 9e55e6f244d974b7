"""The handshake: what lets in, what is refused, in which words and with which close code."""

import pytest

from tests.gateway.client import Refusal, connect_params


async def test_the_shared_token_lets_in_as_admin(running):
    async with running.client() as client:
        assert client.hello["auth"] == {"role": "operator", "scopes": ["operator.admin"]}
        assert client.hello["protocol"] == 3
        presence = await client.request("system-presence")
        assert presence[0]["mode"] == "gateway"


async def test_a_wrong_token_is_refused_with_a_hint(running):
    async with running.socket() as client:
        with pytest.raises(Refusal, match="gateway token mismatch \\(provide gateway auth token\\)"):
            await client.connect(connect_params("nope-nope-nope-nope"))
        assert await client.ended() == (1008, "unauthorized: gateway token mismatch (provide gateway auth token)")
