"""The conformance kit for clients: a client's command is started again and again, each time with an agent of ours."""

import os
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial

import anyio

# Each of these enters its requirements in the table.
from acp_check import client_hands, client_judge, client_lines, client_scenes, client_turns  # noqa: F401
from acp_check.client_run import GRACE_SECONDS, Kit, Script, Turn, running
from acp_check.client_table import TABLE, Broken, Gone, InTurn, NotSeen, Opening, Row, Scene, Verdict, wanted
from acp_check.report import Finding, Outcome, one_line
from connector import environment

ANSWER_SECONDS = 10.0
STARTUP_SECONDS = 60.0
TOTAL_SECONDS = 900.0
PROMPT = "Please go on."
CHAPTERS = (
    *("WIRE", "LINE", "INIT", "AUTH", "SESSION", "CONFIG", "GATE", "TURN", "UPDATE", "EXT", "ERROR", "CANCEL"),
    *("CAPS", "PERM", "FS", "TERM", "ELICIT", "PROC"),
)
DEAF = "EXT-001"  # what a client breaks that answers nothing
PLACES = ("{agent}", "{agent_argv}")


async def check_client(
    argv: Sequence[str],
    *,
    patience: float = ANSWER_SECONDS,
    start_patience: float = STARTUP_SECONDS,
    timeout: float = TOTAL_SECONDS,
    silence: float | None = None,
    shows_text: bool = False,
    prompt: str = PROMPT,
    only: Sequence[str] = (),
    jobs: int = 1,
    grace: float = GRACE_SECONDS,
    env: Mapping[str, str] | None = None,
    on_finding: Callable[[Finding], None] = lambda finding: None,
) -> list[Finding]:
    """Starts a client a dozen times, plays its agent, and returns what was found, a finding a requirement.

    In `argv` `{agent}` stands for the command line of the agent, quoted as a shell wants it; the word `{agent_argv}`
    becomes its words; `{prompt}` and `{cwd}` are what to ask and where. A word that names a file from here is made
    absolute, as the client runs in a directory of its own. On stdin it gets the prompt as a line, and then the end.

    `patience` seconds are given to what takes no time, `start_patience` to the first prompt, `timeout` to all of it,
    and `silence` to what ends with a time limit of the client's own (without it that is not tried). `grace` is how long
    an agent may outlive its client, or a command the end of its terminal. `shows_text` says that the client prints what
    the agent says as it is. `only` are ids, or beginnings of ids. As many as `jobs` clients run at once; they have our
    environment, and `env`. `on_finding` hears of findings as they are made.

    Raises ValueError where the agent has no place in `argv` or `only` names nothing, `OSError` where the client cannot
    be started.
    """
    if not any(place in word for word in argv for place in PLACES):
        raise ValueError("the client's command does not say where the agent's goes: {agent} or {agent_argv}")
    if strange := [one for one in only if not any(wanted(row, [one]) for row in requirements())]:
        raise ValueError(f"no requirement's id begins with {', '.join(strange)}")
    given = {**environment.inherited(("*",)), **(env or {})}
    kit = Kit(_absolute(argv), given, patience, start_patience, grace, prompt, shows_text, silence)
    check = _Check(kit, tuple(only), on_finding)
    with anyio.move_on_after(timeout):
        await check.run(max(1, jobs))
    return check.findings()


def requirements() -> list[Row]:
    """All that is asked of a client, in the order of the findings."""
    return sorted(TABLE.rows.values(), key=lambda row: (CHAPTERS.index(row.id.partition("-")[0]), row.id))


class _Check:
    """One check of one client."""

    def __init__(self, kit: Kit, only: tuple[str, ...], on_finding: Callable[[Finding], None]) -> None:
        self._kit = kit
        self._only = only
        self._on_finding = on_finding
        self._seconds: dict[str, float] = {}

    async def run(self, jobs: int) -> None:
        """A plain turn first: how that ends tells how the rest is to be judged, and whether there is a rest."""
        plain, *scenes = TABLE.scenes
        await self._scene(plain)
        if self._kit.results[plain.rows[0].id][0] != "met":
            return
        works: list[Callable[[], Awaitable[None]]] = []
        if turns := [it for it in TABLE.turns if wanted(it.row, self._only)]:
            works.append(partial(self._turns, turns))
        openings = [it for it in TABLE.openings if wanted(it.row, self._only)]
        groups = dict.fromkeys(it.group for it in openings)
        works += [partial(self._openings, [it for it in openings if it.group == group]) for group in groups]
        works += [partial(self._scene, it) for it in scenes if any(wanted(row, self._only) for row in it.rows)]
        limiter = anyio.CapacityLimiter(jobs)

        async def work(one: Callable[[], Awaitable[None]]) -> None:
            async with limiter:
                await one()

        async with anyio.create_task_group() as tasks:
            for one in works:
                tasks.start_soon(work, one)

    def findings(self) -> list[Finding]:
        """A finding a row that is wanted, in the table's order."""
        found = []
        for row in requirements():
            if wanted(row, self._only):
                outcome, why = self._result(row)
                found.append(Finding(row.id, row.level, row.title, outcome, why, self._seconds.get(row.id, 0.0)))
        return found

    def _result(self, row: Row) -> tuple[Outcome, str]:
        tally = self._kit.tally
        if row.id in TABLE.judged:
            why = tally.broken.get(row.id, "")
            return ("broken" if why else "met" if row.id in tally.seen else "not seen"), why
        return self._kit.results.get(row.id, ("not seen", "it never came to that"))

    def _settled(self, began: float, *rows: Row) -> None:
        for row in rows:
            self._seconds[row.id] = time.monotonic() - began
            if wanted(row, self._only):
                self._on_finding(Finding(row.id, row.level, row.title, *self._result(row), self._seconds[row.id]))

    # ── a run of the client each ────────────────────────────────────────────────────────────────────────────────────

    async def _scene(self, scene: Scene) -> None:
        began = time.monotonic()
        failure: Verdict = NotSeen("it never came to that")
        if scene.needs and getattr(self._kit, scene.needs) is None:
            failure = NotSeen(f"it takes as long as the client's own limits: say how long with --{scene.needs}")
        else:
            script = Script()
            scene.script(script)
            async with running(self._kit, script) as run:
                try:
                    await scene.play(run)
                except Verdict as why:
                    failure = why
                except Gone:
                    failure = NotSeen(f"the client was gone before that: {run.told()}")
        for row in scene.rows:
            if row.id not in self._kit.results:
                self._kit.results[row.id] = (failure.outcome, one_line(str(failure)))
        self._settled(began, *scene.rows)

    async def _openings(self, openings: list[Opening]) -> None:
        """All of them in one run; where that goes wrong, each alone."""
        began = time.monotonic()
        together = await self._opened(openings)
        for one in openings:
            why = await self._opened([one]) if together is not None and len(openings) > 1 else together
            self._kit.results[one.row.id] = ("met", "") if why is None else (why.outcome, one_line(str(why)))
            self._settled(began, one.row)

    async def _opened(self, openings: list[Opening]) -> Verdict | None:
        script = Script()
        for one in openings:
            one.change(script)
        async with running(self._kit, script) as run:
            try:
                turn = await run.prompted()
                await turn.find_out()
                if not await turn.alive():
                    return Broken(f"it answered nothing more: {run.told()}")
                await turn.end(late=script.late)
                await run.ends_as_usual()
            except NotSeen as why:
                return Broken(str(why))
            except Verdict as why:
                return why
            except Gone:
                return Broken(f"it was gone: {run.told()}")
        return None

    # ── one turn for many ───────────────────────────────────────────────────────────────────────────────────────────

    async def _turns(self, trials: list[InTurn]) -> None:
        """One after the other in one turn; in a new one of a new client after one that this one did not survive."""
        left = list(trials)
        while left:
            async with running(self._kit, Script()) as run:
                try:
                    turn = await run.prompted()
                    await turn.find_out()
                except (Verdict, Gone) as why:
                    for trial in left:
                        self._kit.results[trial.row.id] = ("not seen", one_line(str(why) or run.told()))
                    return
                if turn.probe is None:
                    for trial in left:
                        self._kit.results[trial.row.id] = ("not seen", "it answers no request at all")
                    self._kit.results[DEAF] = ("broken", "neither this nor any other request was answered")
                    return
                alive = True
                while left and alive:
                    alive = await self._try(left.pop(0), turn)
                with suppress(Gone, Broken):
                    await turn.end()
                    await run.ended()

    async def _try(self, trial: InTurn, turn: Turn) -> bool:
        """Settles one, and tells whether the client is still there."""
        began = time.monotonic()
        await turn.run.settling(trial.row.id, lambda: trial.play(turn))
        alive = await turn.alive()
        if not alive and self._kit.results[trial.row.id][0] != "broken":
            turn.run.settle(trial.row.id, Broken(f"it answered nothing more: {turn.run.told()}"))
        self._settled(began, trial.row)
        return alive


def _absolute(argv: Sequence[str]) -> list[str]:
    """The client runs in a directory of its own; what is named from here is found from there too."""
    words = [os.path.abspath(word) if os.path.isfile(word) else word for word in argv]
    return [shutil.which(words[0]) or words[0], *words[1:]]
