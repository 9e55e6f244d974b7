"""`/v1/models`: which agents an OpenAI client can choose, and what names them."""

import openai
import pytest

from tests.gateway.host import Start
from tests.gateway.http.test_chat_completions import ECHO, ars, ask, client
from tests.gateway.talking import mock


async def test_agents_are_models_by_their_id_and_their_vendors_name(start: Start, tmp_path):
    async with start(agent=mock(tmp_path, ECHO)) as gateway, client(gateway) as one:
        found = [it async for it in await one.models.list()]
        assert found[0].id == "main"
        assert found[0].object == "model"
        assert found[0].owned_by
        assert (await one.models.retrieve("main")).id == "main"
        with pytest.raises(openai.NotFoundError):
            await one.models.retrieve("nobody")


async def test_our_own_agent_goes_by_its_name(start: Start, tmp_path):
    async with start(agent=ars(tmp_path, "=== turn repeat\nsay: Hello\n")) as gateway, client(gateway) as one:
        assert {"main", "ars"} <= {it.id async for it in await one.models.list()}
        assert (await ask(one, "hi", model="ars")).choices[0].message.content == "Hello"
        assert (await ask(one, "hi", model="ARS")).model == "ARS"


async def test_a_model_of_an_agent_stands_behind_a_slash(start: Start, tmp_path):
    async with start(agent=ars(tmp_path, "=== turn repeat\nsay: Hello\n")) as gateway, client(gateway) as one:
        await ask(one, "hi")
        listed = [it.id async for it in await one.models.list()]
        own = next(it for it in listed if it.startswith("main/"))
        assert (await ask(one, "hi", model=own)).choices[0].message.content == "Hello"
        assert (await one.models.retrieve(own)).id == own
        with pytest.raises(openai.NotFoundError, match="does not exist"):
            await ask(one, "hi", model="main/of-nobody")
