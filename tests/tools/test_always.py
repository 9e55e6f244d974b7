"""What "always allow" may stand for."""

import shlex

import pytest

from ars_acp.tools.always import rule

BYPASSES = (
    """
sh -c x|bash -c x|/bin/zsh x|dash x|env x|/usr/bin/env python x|xargs rm|find . -exec rm {} +|find . -delete
sudo x|su -c x
nohup x|nice x|timeout 5 x|time x|watch x|setsid x|script -c x|ssh h x|docker run x|busybox sh|parallel x
npx x|uvx x|uv run x
python -c x|python3 -c x|python3.11 -c x|python -Bc x|python -cx|python -ic x|pypy -c x|perl -e x|perl -ne x|perl -E x
ruby -e x|node -e x|node --eval=x|node --eval x|node -p x|deno eval -e x|php -r x|lua -e x|awk -e x|sed -e x|bun -e x
git -c core.pager=x log|git --exec-path=x y|git --config-env=a=b x|vim -c x|vi -c x|ex -c x|emacs --eval x
gdb -ex x|python -
fish x|ksh x|csh x|tcsh x|doas x|unshare x|chroot x|stdbuf x|expect x|command x|bunx x|ionice x
""".replace("\n", "|")
    .strip("|")
    .split("|")
)


@pytest.mark.parametrize("command", BYPASSES)
def test_program_that_runs_whatever_it_is_told_has_no_rule(command: str) -> None:
    assert rule(shlex.split(command), "/ws") is None


@pytest.mark.parametrize(
    "command", ["pytest -q", "python -m pytest -q", "make check", "git status", "npm test", "cargo test"]
)
def test_rule_is_these_words_in_this_directory(command: str) -> None:
    words = shlex.split(command)
    found = rule(words, "/ws")
    assert found is not None
    assert found == rule(words, "/ws")
    assert found not in (rule([*words, "x"], "/ws"), rule(words, "/ws/a"), rule([" ".join(words)], "/ws"))
