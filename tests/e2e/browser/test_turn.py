"""A whole turn in the page, before the real agent: thoughts, a plan, a tool, a review, a command, a question, the end;
and how each moment of it looks on a desk and on a phone, by day and by night."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Browsers, Gateways

pytestmark = pytest.mark.e2e

GREET = 'def greet(name):\n    return f"Hello, {nme}!"\n\n\ndef part(name):\n    return f"Goodbye, {name}"\n'
PLAN = '"entries": [{"content": "Mend the greeting", "status": "%s"}, {"content": "Run it", "status": "%s"}]'
SCRIPT = f"""
=== turn
think: A name is misspelt, I suppose.
say: I look at **greet.py** first.
call update_plan {{{PLAN % ("in_progress", "pending")}}}
call read_file {{"path": "greet.py"}}
--- step
say:
  It has a typo. Two changes:

  | where | what |
  |---|---|
  | `greet` | `nme` is `name` |
  | `part` | a mark at the end |

  ```python
  return f"Hello, {{name}}!"
  ```
call apply_patch_review
  patch:
    --- a/greet.py
    +++ b/greet.py
    @@ -1,2 +1,2 @@
     def greet(name):
    -    return f"Hello, {{nme}}!"
    +    return f"Hello, {{name}}!"
    @@ -5,2 +5,2 @@
     def part(name):
    -    return f"Goodbye, {{name}}"
    +    return f"Goodbye, {{name}}!"
--- step
call apply_patch {{"patch": "$result"}}
--- step
call update_plan {{{PLAN % ("completed", "in_progress")}}}
call run_command {{"command": ["python3", "-c", "from greet import greet; print(greet('Ada'))"]}}
--- step
call update_plan {{{PLAN % ("completed", "completed")}}}
call prompt_user {{"question": "Which language shall it greet in?", "choices": ["English", "Welsh"]}}
--- step
say: Done: it greets in the language that you chose, $result
usage 5200 180
"""


def looked_at(page: Page, name: str) -> None:
    """A picture of this moment on either screen and in either scheme; nothing may stand out of a screen."""
    for screen, show in (("desktop", page.desktop), ("phone", page.phone)):
        show()
        for scheme in ("light", "dark"):
            page.scheme(scheme)
            page.shot(f"{name}-{screen}-{scheme}")
            assert page.js("return document.documentElement.scrollWidth <= innerWidth"), f"{name} on a {screen}"
    page.desktop()
    page.scheme("light")


def test_a_whole_turn_with_review_permission_and_a_question(gateways: Gateways, browsers: Browsers) -> None:
    gateway = gateways(SCRIPT)
    (gateway.workspace / "greet.py").write_text(GREET)
    page, other = browsers(), browsers()
    page.open(gateway.address)
    other.open(gateway.another_address())
    looked_at(page, "1-new")
    other.one("#composer")
    page.type("#composer", "Mend the greeting", Keys.ENTER)

    page.one(".hunk")
    assert "Mend the greeting" in page.text("main")
    looked_at(page, "2-review")
    first, second = page.all(".hunk")
    first.find_element("css selector", ".decide.accept").click()
    second.find_element("css selector", ".decide.reject").click()
    page.click("button.primary", "Apply 1 of 2")

    # What one browser has decided the other one sees, and goes on from there.
    other.one("button.primary", "Allow once")
    assert "{name}!" in (gateway.workspace / "greet.py").read_text()
    assert 'f"Goodbye, {name}"' in (gateway.workspace / "greet.py").read_text()
    looked_at(page, "3-permission")
    other.click("button.primary", "Allow once")

    page.shows("Which language shall it greet in?")
    looked_at(page, "4-question")
    other.shows("Which language shall it greet in?")
    page.click("label", "Welsh")
    page.click(".form button.primary, .ask button.primary")

    for one in (page, other):
        one.shows("Done: it greets in the language that you chose")
        one.gone(".send-button.stop")
    looked_at(page, "5-done")
    said = page.text(".thread")
    assert "Welsh" in said.partition("Done:")[2]
    other.reload()
    other.shows("Done: it greets in the language that you chose")
    assert "Welsh" in other.text(".thread").partition("Done:")[2]


def test_the_state_page_can_be_looked_at(gateways: Gateways, page: Page) -> None:
    gateway = gateways()
    page.open(gateway.address)
    page.one("#composer")
    page.js("location.hash = 'state'")
    page.shows("main", ".state-page")
    looked_at(page, "6-state")
