"""The tools of a session change from one message to the next, without its being opened anew where the agent can."""

import json
import shlex
import sys
from pathlib import Path

from tests.connector.test_session import ABLE
from tests.gateway.conftest import Start
from tests.gateway.http.asking import asking
from tests.gateway.http.events import all_told, message, text_of, told
from tests.gateway.test_ars import ars

RUNS = '=== turn repeat\ncall run_command {"argv": ["true"]}\n--- step\nsay: done\n'


async def test_what_was_always_allowed_stays_allowed_when_a_message_names_other_tools(start: Start, tmp_path: Path):
    async with start(agent=ars(tmp_path, RUNS)) as gateway, asking(gateway, timeout=20) as client:
        asked = []
        for number, tools in enumerate(([], ["read_file"], ["git.diff"], [])):
            body = message("s", f"m{number}", tools=tools)
            async with told(client, "POST", "/agent/message/stream", json=body) as found:
                async for it in found:
                    if it.name == "approval":
                        asked.append(number)
                        said = {"session_id": "s", "approval_id": it.data["approval_id"], "decision": "allow-always"}
                        assert (await client.post("/agent/approval", json=said)).status_code == 200
        assert asked == [0]


async def test_an_agent_that_has_to_be_told_at_the_opening_is_told_so(start: Start, tmp_path: Path):
    offers = {"loadSession": True, "sessionCapabilities": {"resume": {}}, "_meta": {"ars/tools": True}}
    able = shlex.join([sys.executable, "-S", str(ABLE), json.dumps({"capabilities": offers})])
    async with start(agent=able) as gateway, asking(gateway, timeout=20) as client:
        await all_told(client, message("s", "m1", tools=["read_file"]))
        await all_told(client, message("s", "m2", tools=["git.diff"]))
        heard = json.loads(text_of(await all_told(client, message("s", "m3", "report", tools=["git.diff"]))))
    opened = [it for it in heard if it.get("method") in ("session/new", "session/resume")]
    assert [it["params"].get("_meta") for it in opened] == [{"ars/tools": ["read_file"]}, {"ars/tools": ["git.diff"]}]
