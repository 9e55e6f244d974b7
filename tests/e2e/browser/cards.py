"""What tests of cards share: signing in, saying something, an agent that does what a prompt says, contrasts."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

from selenium.webdriver.common.keys import Keys

from tests.e2e.browser.chromium import Page
from tests.e2e.browser.gateway import Gateway
from tests.gateway.host import TOKEN

Json = dict[str, Any]

OBEYS = shlex.join([sys.executable, "-S", str(Path(__file__).parents[3] / "fixtures" / "agents" / "asks.py")])
# Notes for how long the page was busy at a time, in milliseconds.
LONGEST = """
window.longest = 0;
const note = (list) => list.getEntries().forEach((it) => { window.longest = Math.max(window.longest, it.duration); });
new PerformanceObserver(note).observe({ type: 'longtask' });
"""
CONTRASTS = Path(__file__).with_name("contrasts.js").read_text()


def enter(page: Page, gateway: Gateway) -> None:
    """Signs in by the token, which opens any number of browsers, and waits for the conversation."""
    page.open(f"{gateway.url}/#token={TOKEN}")
    page.one("#composer")


def say(page: Page, text: str) -> None:
    """Sends a message."""
    page.type("#composer", text, Keys.ENTER)


def tell(page: Page, *steps: list[Any]) -> None:
    """Has the agent of `OBEYS` do these steps."""
    say(page, json.dumps(steps))


def go(page: Page) -> None:
    """Goes to what waits, as a person does by the bar: from then on the conversation stays where it is looked at."""
    page.click(".waiting-bar")
    page.until(lambda: page.js("return document.activeElement.closest('.ask') !== null"))


def call(id: str = "c1", **more: Any) -> list[Any]:
    """The step that shows a tool call."""
    shown = {"sessionUpdate": "tool_call", "toolCallId": id, "title": "Something", "kind": "other", "status": "pending"}
    return ["update", shown | more]


def changed(id: str = "c1", **more: Any) -> list[Any]:
    """The step that tells what has changed in a tool call."""
    return ["update", {"sessionUpdate": "tool_call_update", "toolCallId": id, **more}]


def form(properties: Json, *required: str, message: str = "Please fill this in.", **more: Any) -> list[Any]:
    """The step that asks for a form."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    asked = {"sessionId": "$session", "mode": "form", "message": message, "requestedSchema": schema}
    return ["ask", "elicitation/create", asked | more]


OPTIONS = (("once", "allow_once"), ("no", "reject_once"))


def permission(tool_call: Json, *options: tuple[str, str]) -> list[Any]:
    """The step that asks for permission; options are ids with their kinds."""
    offered = [{"optionId": id, "name": id.capitalize(), "kind": kind} for id, kind in options or OPTIONS]
    asked = {"sessionId": "$session", "toolCall": {"toolCallId": "c1", **tool_call}, "options": offered}
    return ["ask", "session/request_permission", asked]


def answers(page: Page) -> Any:
    """What the agent of `OBEYS` was answered in its last turn."""
    said = page.until(lambda: [it.text for it in page.all(".markdown") if it.text.startswith("[")][-1:])
    return json.loads(said[0])


def faint(page: Page, css: str) -> list[str]:
    """What is hard to read below these elements: less contrast than 4.5 to 1."""
    found: list[str] = page.js(CONTRASTS, css)
    return found
