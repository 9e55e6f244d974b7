"""A model server in the test's own loop, and models of it with small time limits."""

from collections.abc import AsyncIterator, Callable

import pytest

from ars_acp.models.config import ModelConfig
from ars_acp.models.openai import OpenAIModel
from fixtures.model_server import ModelServer, model_server
from tests.models.support import KEY, QUICK

MakeModel = Callable[..., OpenAIModel]


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with model_server() as running:
        yield running


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[MakeModel]:
    """`model("cut")` is a model in that mode of the server; what is given by name goes into its configuration."""
    made: list[OpenAIModel] = []

    def make(mode: str, **settings: object) -> OpenAIModel:
        fields = {"base_url": server.base_url, "api_key": KEY, "model": f"mode:{mode}", **QUICK, **settings}
        made.append(OpenAIModel(ModelConfig(**fields)))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()
