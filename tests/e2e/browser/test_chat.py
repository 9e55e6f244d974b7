"""The page's shell in a real browser: coming in, a turn, a reload and a restart in the middle, two browsers at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.e2e.browser.chromium import Page
from tests.e2e.browser.conftest import Browsers, Gateways
from tests.e2e.browser.gateway import Gateway
from tests.gateway.host import TOKEN

pytestmark = pytest.mark.e2e

MESSAGE = "#composer"
SLOW = """
=== turn if "slowly"
think: One after the other.
pace 0.04
say: one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen done
=== turn if "wait"
say: I wait.
wait 60
say: Too late.
=== turn repeat
say: You said: $prompt
"""
HOSTILE = """
=== turn repeat
think: <script>document.title = "owned"</script>
say:
  # <img src=x onerror="document.title='owned'">
  <script>document.title = "owned"</script> <b onclick="x()">bold</b> <iframe src=javascript:x>
  [click](javascript:alert(1)) [data](data:text/html,x) ![pixel](https://127.0.0.1:1/p.png)
  bidi \u202eabc\u202c zero\u200bwidth escape \x1b[31mred

  ```<script>
  </code></pre><script>document.title = "owned"</script>
  ```
"""

# A file, a picture of more than half a megabyte, and a file of that size: the first is dropped, the others are pasted.
FILES = """const done = arguments[0], canvas = document.createElement('canvas');
canvas.width = canvas.height = 900;
const context = canvas.getContext('2d'), picture = context.createImageData(900, 900);
for (let at = 0; at < picture.data.length; at += 65536) {
  crypto.getRandomValues(picture.data.subarray(at, Math.min(at + 65536, picture.data.length)));
}
context.putImageData(picture, 0, 0);
const of = (...files) => {
  const data = new DataTransfer();
  for (const file of files) data.items.add(file);
  return data;
};
const given = { bubbles: true, cancelable: true };
canvas.toBlob((blob) => {
  const box = document.querySelector('#composer');
  box.dispatchEvent(new DragEvent('drop', { dataTransfer: of(new File(['hello'], 'note.txt')), ...given }));
  const pictures = of(new File([blob], 'picture.png', { type: 'image/png' }), new File([blob, blob], 'huge.bin'));
  box.dispatchEvent(new ClipboardEvent('paste', { clipboardData: pictures, ...given }));
  done(blob.size);
});"""


def sign_in(page: Page, gateway: Gateway) -> None:
    page.open(f"{gateway.url}/#token={TOKEN}")
    page.one(MESSAGE)


def say(page: Page, text: str) -> None:
    page.type(MESSAGE, text, Keys.ENTER)


# ── coming in ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_address_signs_in_and_the_device_comes_back_by_itself(gateways: Gateways, page: Page):
    gateway = gateways()
    sign_in(page, gateway)
    assert "token" not in page.driver.current_url
    assert TOKEN not in str(page.js("return JSON.stringify(localStorage)"))
    page.open("about:blank")
    page.open(gateway.url)
    page.one(MESSAGE)
    page.click("button[aria-label='Sign out']")
    page.click(".dialog .button.primary")
    page.one("#token")
    assert page.js("return localStorage.getItem('ars.device')") is None
    page.reload()
    page.shows("Sign in to the gateway")


def test_a_wrong_token_is_told_and_guessing_ends_with_a_time(gateways: Gateways, page: Page):
    gateway = gateways()
    page.open(f"{gateway.url}/#token=wrong")
    page.shows("That token is not right")
    for _ in range(5):
        if "Too many wrong tokens" in page.text():
            break
        page.type("#token", "wrong", Keys.ENTER)
        page.until(lambda: page.one(".signin button").text == "Sign in" and page.text(".signin-note"))
    page.shows("Too many wrong tokens")
    page.shows("Try again in")


def test_a_token_is_pasted(gateways: Gateways, page: Page):
    page.open(gateways().url)
    page.type("#token", f" {TOKEN} ", Keys.ENTER)
    page.one(MESSAGE)


def test_an_address_signs_in_where_the_page_is_open_already(gateways: Gateways, page: Page):
    gateway = gateways()
    page.open(gateway.url)
    page.one("#token")
    sign_in(page, gateway)
    assert "token" not in page.driver.current_url


def test_a_browser_without_keys_of_its_own_comes_in_and_keeps_nothing(gateways: Gateways, page: Page):
    no_keys = "SubtleCrypto.prototype.generateKey = () => Promise.reject(new Error('none'));"
    page.cdp("Page.addScriptToEvaluateOnNewDocument", source=no_keys)
    sign_in(page, gateways())
    say(page, "hello")
    page.shows("You said: hello")
    assert TOKEN not in str(page.js("return JSON.stringify([localStorage, sessionStorage])"))
    page.reload()
    page.one("#token")


def test_a_device_that_is_revoked_is_asked_for_a_token(gateways: Gateways, browsers: Browsers):
    gateway, page = gateways(), browsers()
    sign_in(page, gateway)
    script = """const done = arguments[0]; (async () => {
      const { GatewayClient } = await import('/gateway.js');
      const { Credentials } = await import('/device.js');
      const credentials = new Credentials();
      const url = `ws://${location.host}/`;
      const client = new GatewayClient({ url, introduce: (nonce) => credentials.introduce(nonce) });
      const revoked = () => client.request('device.token.revoke', { deviceId: credentials.deviceId, role: 'operator' });
      client.on('hello', revoked);
      setTimeout(() => done(true), 0);
      client.start();
    })();"""
    page.driver.execute_async_script(script)
    page.one("#token")
    assert page.js("return localStorage.getItem('ars.device')") is None


def test_a_gateway_that_is_away_is_told_and_the_page_comes_in_when_it_is_back(gateways: Gateways, page: Page):
    page.means("WebSocket connection|icon.svg")  # it is asked for when the browser finds the time
    gateway = gateways()
    page.open(gateway.url)
    gateway.stop()
    page.type("#token", TOKEN, Keys.ENTER)
    page.shows("The gateway is not there")
    gateway.start()
    page.one(MESSAGE, within=20)


# ── a turn ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_reload_in_mid_stream_shows_everything_and_goes_on(gateways: Gateways, page: Page):
    sign_in(page, gateways(SLOW))
    say(page, "count slowly")
    page.shows("three", ".said")
    page.reload()
    page.shows("count slowly", ".prompt")
    page.shows("sixteen done", ".said")
    assert page.text(".said") == (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen done"
    )
    page.gone(".turn-foot")
    assert len(page.all(".prompt")) == 1


def test_two_browsers_see_the_same_and_what_waits_can_be_taken_back(gateways: Gateways, browsers: Browsers):
    gateway, one, other = gateways(SLOW), browsers(), browsers()
    for page in (one, other):
        sign_in(page, gateway)
    say(one, "wait for me")
    other.shows("I wait.", ".said")
    say(other, "the next one")
    for page in (one, other):
        page.shows("Queued", ".turn.queued")
        page.shows("the next one", ".turn.queued .prompt")
    one.click(".turn.queued button", "Take back")
    for page in (one, other):
        page.gone(".turn.queued")
    other.type(MESSAGE, Keys.ESCAPE)
    for page in (one, other):
        page.shows("Stopped.", ".thread")
        page.gone("button[aria-label=Stop]")
    say(one, "hello")
    other.shows("You said: hello")
    assert one.text(".thread") == other.text(".thread")


def test_the_page_comes_back_after_a_restart_and_shows_what_was_missed(gateways: Gateways, page: Page):
    page.means("WebSocket connection|ERR_CONNECTION")
    gateway = gateways(SLOW)
    sign_in(page, gateway)
    say(page, "hello")
    page.shows("You said: hello")
    gateway.stop()
    page.shows("The gateway is away", ".connection-line")
    say(page, "said meanwhile")
    page.shows("Waits for the connection", ".outbox")
    gateway.start()
    page.shows("You said: said meanwhile", within=20)
    page.gone(".connection-line")
    page.gone(".outbox .turn")
    assert [it.text for it in page.all(".prompt")] == ["hello", "said meanwhile"]


def test_sessions_are_begun_named_searched_and_deleted(gateways: Gateways, page: Page):
    sign_in(page, gateways(SLOW))
    say(page, "first of all")
    page.shows("You said: first of all")
    page.click(".new-session")
    page.shows("What shall be done?")
    say(page, "second thing")
    page.shows("You said: second thing")
    page.shows("first of all", ".session-list")
    page.type(".session-open[aria-current]", Keys.F2)
    page.type(".dialog input", "Renamed", Keys.ENTER)
    page.shows("Renamed", ".header .title")
    page.type(".session-search", "renam")
    page.until(lambda: len(page.all(".session")) == 1)
    page.type(".session-search", Keys.ESCAPE)
    page.until(lambda: len(page.all(".session")) == 2)
    page.type(".session-open[aria-current]", Keys.DELETE)
    page.click(".dialog .button.danger", "Delete")
    page.until(lambda: len(page.all(".session")) == 1)
    page.shows("You said: first of all")


def test_escape_stops_the_turn_and_what_waits_comes_next(gateways: Gateways, page: Page):
    sign_in(page, gateways(SLOW))
    say(page, "wait for me")
    page.shows("I wait.", ".said")
    say(page, "the next one")
    page.shows("Queued", ".turn.queued")
    page.type(MESSAGE, Keys.ESCAPE)
    page.shows("Stopped.", ".thread")
    page.shows("You said: the next one", ".thread")


def test_files_go_with_a_prompt_and_large_pictures_are_made_smaller(gateways: Gateways, page: Page):
    sign_in(page, gateways())
    page.driver.execute_async_script(FILES)
    page.shows("note.txt", ".attachments")
    page.shows("picture.png", ".attachments")
    page.shows("huge.bin: too large", "#toasts")
    say(page, "look")
    page.shows("You said: look")
    page.shows("note.txt", ".prompt")
    page.shows("image/jpeg", ".prompt")
    page.shows("hello", ".said")  # the model was given the text of the file
    page.gone(".attachment")


# ── the keyboard, the phone ───────────────────────────────────────────────────────────────────────────────────────────


def test_the_composer_by_keys(gateways: Gateways, page: Page):
    sign_in(page, gateways(SLOW))
    page.type(".pickers [data-id=mode]", Keys.ARROW_DOWN)  # what is offered is there before anything was said
    page.until(lambda: page.js("return document.activeElement.dataset.id") == "mode")
    assert page.js("return document.activeElement.selectedIndex") == 1
    page.type(MESSAGE, "one", Keys.SHIFT, Keys.ENTER, Keys.NULL, "two")
    page.type(MESSAGE, Keys.ENTER)
    page.shows("You said: one\ntwo")
    page.type(MESSAGE, Keys.ARROW_UP)
    assert page.js("return document.querySelector('#composer').value") == "one\ntwo"
    page.type(MESSAGE, Keys.ARROW_DOWN, Keys.ARROW_DOWN, "/hel")
    page.one(".slash [aria-selected=true]", "/help")
    page.type(MESSAGE, Keys.TAB)
    assert page.js("return document.querySelector('#composer').value") == "/help "
    page.gone(".slash")


def test_shortcuts_outside_of_fields(gateways: Gateways, page: Page):
    sign_in(page, gateways())
    page.shows("Esc and then ?", ".empty-chat")
    page.type(MESSAGE, Keys.ESCAPE)
    page.press("?")
    page.shows("Keyboard", "dialog")
    page.press(Keys.ESCAPE)
    page.gone("dialog")
    page.press("[")
    page.gone(".side")
    page.press("/")
    assert page.driver.switch_to.active_element.get_attribute("id") == "composer"


def test_a_phone_has_the_sessions_in_a_drawer(gateways: Gateways, page: Page):
    page.phone()
    sign_in(page, gateways())
    assert not page.all(".session-list")
    page.click("button[aria-label=Sessions]")
    page.one(".session-list")
    page.press(Keys.ESCAPE)
    page.gone(".session-list")
    assert page.js("return document.documentElement.scrollWidth <= innerWidth")


# ── what an agent may not do ──────────────────────────────────────────────────────────────────────────────────────────


def test_what_an_agent_says_never_becomes_html(gateways: Gateways, page: Page):
    sign_in(page, gateways(HOSTILE))
    say(page, "go on")
    page.shows("<script>document.title", ".said")
    page.shows("\\u202eabc\\u202c zero\\u200bwidth escape \\u001b[31mred", ".said")
    page.shows("click (javascript:alert(1))", ".said")
    page.click(".thought summary")
    page.shows("<script>", ".thought-body")
    inside = page.js(
        "return document.querySelectorAll('.thread :is(script, img, iframe, [onclick], [onerror], [style])').length"
    )
    links = page.js("return [...document.querySelectorAll('.thread a')].map(it => it.protocol)")
    assert (inside, links) == (0, ["https:"])
    assert "owned" not in page.driver.title


def test_a_turn_of_twenty_thousand_lines_scrolls_without_freezing(gateways: Gateways, page: Page):
    lines = "\n".join(
        f"  - line {n} with `code` and **words**\n" if n % 3 else f"  Paragraph {n}.\n" for n in range(10_000)
    )
    sign_in(page, gateways(f"=== turn repeat\nsay:\n{lines}\n  The end.\n"))
    say(page, "all of it")
    page.shows("The end.", ".said", within=60)
    frame = page.driver.execute_async_script(
        """const done = arguments[0], scroll = document.querySelector('.scroll');
        const times = []; let last = performance.now(), step = 0;
        const next = (now) => {
          times.push(now - last); last = now;
          if ((step += 1) > 120) return done(times.sort((one, other) => one - other)[Math.floor(times.length * 0.95)]);
          scroll.dispatchEvent(new WheelEvent('wheel'));
          scroll.scrollTop = (scroll.scrollHeight * ((step * 37) % 120)) / 120;
          requestAnimationFrame(next);
        };
        requestAnimationFrame(next);"""
    )
    assert frame < 1000  # milliseconds, of 95 in 100 pictures, on a machine that is busy with other tests


def test_a_cold_page_is_ready_soon(gateways: Gateways, page: Page):
    gateway = gateways()
    sign_in(page, gateway)
    page.open("about:blank")
    gateway.stop()
    gateway.start()
    page.open(gateway.url)
    page.one(MESSAGE)
    page.until(lambda: page.js("return performance.getEntriesByName('ready').length"))
    assert page.js("return performance.getEntriesByName('ready')[0].startTime") < 3000


def test_the_program_tells_how_to_come_in(gateways: Gateways, page: Page, tmp_path: Path):
    gateway = gateways()
    program = Path(sys.executable).parent / "ars-gateway"
    given = ["--port", str(gateway.port), "--state-dir", str(gateway.state)]
    env = {"ARS_GATEWAY_TOKEN": TOKEN, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    told = subprocess.run(
        [program, "address", *given], env=env, capture_output=True, text=True, timeout=20, check=False
    )
    assert told.returncode == 0, told.stderr
    page.open(told.stdout.strip())
    page.one(MESSAGE)


TEXTS = [
    "# Head\n\nA *b* **c** `d`\ne  \nf\n\n- one\n  - two\n\n    three\n- four\n",
    "1. a\n2. b\n\n> q\n> - r\nlazy\n\n---\n\nend",
    "Title\n===\n\n```py\nx = 1\n\n\ty\n```\nafter\n~~~\n```\n~~~\n\n|a|b|\n|-|-|\n|1|2|\n|3|4|\n\n`open",
    "\n".join(f"{n}. item *{n}*" for n in range(1, 200)) + "\n\n" + "\n".join(f"line {n}" for n in range(100)),
    "| a | b |\n|---|---|\n" + "\n".join(f"| {n} | `x` |" for n in range(150)) + "\n\n```\n" + "code\n" * 300,
    "a\r\nb\r\n\r\n- c\r\n- d\u202e\r\n",
]
PIECEMEAL = """const [texts, sizes, done] = arguments;
(async () => {
  const { MarkdownView, markdown } = await import('/markdown.js');
  const differ = [];
  for (const text of texts) for (const size of sizes) {
    const view = new MarkdownView();
    for (let at = 0; at < text.length; at += size) view.append(text.slice(at, at + size));
    view.finish();
    const [one, other] = [view.element, markdown(text)].map((element) => element.innerHTML);
    if (one !== other) differ.push([size, one.slice(-600), other.slice(-600)]);
  }
  done(differ);
})().catch((why) => done([String(why)]));"""


def test_markdown_that_comes_in_pieces_ends_as_the_whole(gateways: Gateways, page: Page):
    page.open(gateways().url)
    page.one("#token")
    assert page.driver.execute_async_script(PIECEMEAL, TEXTS, [1, 2, 3, 7, 50, 1000]) == []
