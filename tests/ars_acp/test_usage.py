"""What replies use and cost: in the log, on the wire, over a session that is loaded again."""

from pathlib import Path
from typing import Any

import pytest

from acp_wire import methods
from ars_acp import usage
from ars_acp.catalog import Known, Price
from ars_acp.models.model import Usage
from ars_acp.session import Facts
from tests.support.in_memory import House, house

Json = dict[str, Any]
PRICED = "[[model]]\npattern = '^scripted$'\nwindow = 100000\n"
PRICED += "price = { input = 2, cached = 0.5, output = 8, currency = 'EUR' }\n"
TWO = "=== turn repeat\nsay: one\nusage 100 10\ncall unheard_of\n--- step\nsay: two\nusage 200 20 50 5\n"


@pytest.fixture
def priced(tmp_path: Path) -> str:
    file = tmp_path / "models.toml"
    file.write_text(PRICED)
    return str(file)


def told(it: House) -> list[Json]:
    return [p["update"] for p in it.client.updates if p["update"]["sessionUpdate"] == "usage_update"]


@pytest.mark.parametrize(
    ("used", "price", "cost"),
    [
        (Usage(1_000_000, 0), Price(input=2, output=8), 2.0),
        (Usage(0, 500_000, 0, 400_000), Price(input=2, output=8), 4.0),
        (Usage(1000, 100, 600), Price(input=2, output=8, cached=0.5), 0.0019),
        (Usage(1000, 0, 600), Price(input=2, output=8), 0.002),
        (Usage(10, 0, 999), Price(input=2, output=8, cached=0), 0.0),
    ],
)
def test_cost(used: Usage, price: Price, cost: float) -> None:
    assert usage.cost(used, price) == pytest.approx(cost)


def test_no_price_no_cost() -> None:
    assert usage.entry(Usage(5, 6, 1, 2), Known(pattern="x")) == {"input": 5, "output": 6, "cached": 1, "thought": 2}
    assert usage.entry(Usage(5, 6), None) == {"input": 5, "output": 6}


def test_sums_are_kept_apart_by_currency() -> None:
    facts = Facts()
    for amount, currency in ((1.0, "USD"), (2.0, "EUR"), (3.0, "USD")):
        counted = {"input": 1, "output": 2, "cost": {"amount": amount, "currency": currency}}
        facts.apply({"type": "reply", "calls": [], "usage": counted})
    assert facts.cost == (4.0, "USD")


async def test_each_reply_is_told_with_the_window_and_the_cost_so_far(priced: str) -> None:
    async with house(TWO, models_file=priced) as it:
        await it.prompt()
        first, second = told(it)
        assert (first["used"], first["size"], first["cost"]["currency"]) == (110, 100_000, "EUR")
        assert first["cost"]["amount"] == pytest.approx(0.00028)
        assert (second["used"], second["cost"]["amount"]) == (220, pytest.approx(0.00028 + 0.000485))
        replies = [entry for entry in await it.entries() if entry["type"] == "reply"]
        assert [reply["model"] for reply in replies] == ["scripted", "scripted"]
        cost = {"amount": pytest.approx(0.000485), "currency": "EUR"}
        assert replies[1]["usage"] == {"input": 200, "output": 20, "cached": 50, "thought": 5, "cost": cost}


async def test_a_session_that_is_loaded_again_goes_on_counting(priced: str) -> None:
    async with house(TWO, models_file=priced) as it:
        await it.prompt()
        before = told(it)
        await it.wire.request(methods.SESSION_CLOSE, {"sessionId": it.session})
        it.client.updates.clear()
        await it.wire.request(methods.SESSION_LOAD, {"sessionId": it.session, "cwd": "/project", "mcpServers": []})
        again = await it.update(lambda update: update["sessionUpdate"] == "usage_update")
        assert again == before[-1]
        await it.prompt()
        assert told(it)[-1]["cost"]["amount"] == pytest.approx(2 * before[-1]["cost"]["amount"])


async def test_a_reply_that_counts_nothing_and_a_model_without_a_price_are_told_as_they_are() -> None:
    async with house("=== turn\nsay: quiet\n=== turn\nsay: loud\nusage 3 4\n") as it:
        await it.prompt()
        assert told(it) == []
        await it.prompt()
        assert told(it) == [{"sessionUpdate": "usage_update", "used": 7, "size": 128_000}]


@pytest.mark.parametrize("notices", [True, False])
async def test_that_nothing_is_known_of_a_model_is_told_once_where_there_are_notices(notices: bool) -> None:
    told_of = {"capabilities": {"session": {"notices": {}} if notices else {}}}
    settings = {"script": None, "base_url": "http://127.0.0.1:9/v1", "model": "nobody-knows"}
    async with house(TWO.replace("usage 100 10", ""), **told_of, **settings) as it:
        it.agent._models.base().name = "nobody-knows"
        await it.prompt()
        await it.prompt()
        shown = [p["update"] for p in it.client.updates]
        titles = [update["title"] for update in shown if update["sessionUpdate"] == "notice"]
        assert titles == (["Nothing is known of the model nobody-knows"] if notices else [])
        assert it.said("agent_thought_chunk") == ""
