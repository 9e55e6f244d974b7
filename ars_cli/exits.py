"""The exit codes of `ars`, one table for the program and for its help."""

DONE = 0
USAGE = 1
FAILED = 2
STOPPED_EARLY = 3
ABORTED = 4
INTERRUPTED = 130

MEANINGS = {
    DONE: "done",
    USAGE: "wrong usage or configuration: options, a missing agent or session, a sign-in that is needed",
    FAILED: "the agent, the model or the store failed; a file to import was refused",
    STOPPED_EARLY: "the turn stopped early: a limit was reached, or the model refused",
    ABORTED: "the turn was cancelled, or the program was told to end",
    INTERRUPTED: "interrupted with Ctrl-C",
}


def exit_of(stop_reason: str, *, interrupted: bool = False) -> int:
    """The exit code after a turn that ended with `stop_reason`."""
    if stop_reason == "cancelled":
        return INTERRUPTED if interrupted else ABORTED
    return DONE if stop_reason == "end_turn" else STOPPED_EARLY
