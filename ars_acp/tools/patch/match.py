"""Finds the place of a hunk in a file: where it says, else the only place it fits, else none.

Never a guess: a hunk that fits several places is refused, and so is one that fits only by changing what it says.
"""

from collections.abc import Callable, Sequence

from ars_acp.tools.patch.model import Hunk, PatchError

_MOST_PLACES = 1000
_MOST_BLOCKS = 100
_LEVELS: tuple[Callable[[str], str], ...] = (
    lambda line: line,
    str.rstrip,
    lambda line: " ".join(line.split()),
)


class Haystack:
    """A file's lines, as hunks are sought in them."""

    def __init__(self, name: str, lines: Sequence[str]) -> None:
        self.name = name
        self.lines = lines
        self._by_level: dict[int, tuple[list[str], dict[str, list[int]]]] = {}

    def place(self, hunk: Hunk, number: int) -> int:
        """The index of the first line of `hunk`'s old side. `number` is what the hunk is called in errors."""
        at = self._place(hunk, number) if hunk.old else self._insertion(hunk, number)
        if hunk.old and self._repeats(hunk, at):
            raise PatchError(f"{self.name}: hunk {number} is already applied: leave it out, or give it context around")
        return at

    def _place(self, hunk: Hunk, number: int) -> int:
        if hunk.start is not None and self._fits(0, hunk.old, hunk.start - 1):
            return hunk.start - 1
        for level in range(len(_LEVELS)):
            last = len(self.lines) - len(hunk.old)
            if (hunk.at_end or hunk.old_open) and self._fits(level, hunk.old, last):
                return last
            found = self._found(level, hunk.old)
            if 1 < len(found) < _MOST_PLACES and hunk.header:
                found = self._below(hunk.header, found)
            if len(found) > 1:
                raise PatchError(self._ambiguous(number, found))
            if found and level > 0 and self._fits(0, hunk.new, found[0]):
                break  # the new side stands there to the letter, the old one only nearly
            if found:
                return found[0]
        raise PatchError(self._lost(hunk, number))

    def _insertion(self, hunk: Hunk, number: int) -> int:
        if not self.lines or hunk.at_end:
            return len(self.lines)
        if hunk.inserts and hunk.start is not None and hunk.start <= len(self.lines):
            return hunk.start
        raise PatchError(f"{self.name}: hunk {number} only adds lines and does not say where: give it lines of context")

    def _repeats(self, hunk: Hunk, at: int) -> bool:
        """Whether `hunk` only adds lines at its edge, and just these stand there already.

        A diff has context on both sides but where the file begins and ends, and there nothing stands.
        """
        ops = [op for op, _ in hunk.lines]
        count = ops.count("+")
        if "-" in ops or not count:
            return False
        new = [text for op, text in hunk.lines if op == "+"]
        after = at + len(hunk.old)
        if set(ops[-count:]) == {"+"}:
            return self._fits(0, new, after)
        return set(ops[:count]) == {"+"} and self._fits(0, new, at - count)

    def _fits(self, level: int, wanted: list[str], at: int) -> bool:
        lines = self.lines[at : at + len(wanted)] if at >= 0 else []
        return [_LEVELS[level](line) for line in lines] == [_LEVELS[level](line) for line in wanted]

    def _found(self, level: int, wanted: list[str]) -> list[int]:
        """Where `wanted` stands, at most _MOST_PLACES of the places."""
        lines, index = self._level(level)
        wanted = [_LEVELS[level](line) for line in wanted]
        # From the line that is rarest in the file: a file of equal lines must not cost the square of its length.
        rarest = min(range(len(wanted)), key=lambda it: len(index.get(wanted[it], ())))
        found = []
        for at in index.get(wanted[rarest], ()):
            first = at - rarest
            if first >= 0 and lines[first : first + len(wanted)] == wanted:
                found.append(first)
                if len(found) == _MOST_PLACES:
                    break
        return found

    def _level(self, level: int) -> tuple[list[str], dict[str, list[int]]]:
        if level not in self._by_level:
            lines = [_LEVELS[level](line) for line in self.lines]
            index: dict[str, list[int]] = {}
            for at, line in enumerate(lines):
                index.setdefault(line, []).append(at)
            self._by_level[level] = lines, index
        return self._by_level[level]

    def _below(self, header: str, found: list[int]) -> list[int]:
        """Those of `found` that lie in the block that `header` opens; without any there, those after it."""
        starts = [-1]
        for wanted in header.split("\n"):
            _, index = self._level(2)
            lines = index.get(" ".join(wanted.split()), [])
            starts = [at for at in lines if at > starts[0]]
            if not starts or len(starts) > _MOST_BLOCKS:
                return found
        blocks = [range(at, self._block_end(at)) for at in starts]
        inside = [it for it in found if any(it in block for block in blocks)]
        return inside or [it for it in found if it > starts[0]] or found

    def _block_end(self, start: int) -> int:
        """The first line after `start` that is indented no deeper than it is."""
        depth = _depth(self.lines[start])
        for at in range(start + 1, len(self.lines)):
            if self.lines[at].strip() and _depth(self.lines[at]) <= depth:
                return at
        return len(self.lines)

    def _ambiguous(self, number: int, found: list[int]) -> str:
        where = ", ".join(str(it + 1) for it in found[:10]) + (", ..." if len(found) > 10 else "")
        return (
            f"{self.name}: hunk {number} fits {len(found)} places (lines {where}): "
            "give it more context, or the right line number"
        )

    def _lost(self, hunk: Hunk, number: int) -> str:
        """Why a hunk that fits nowhere does not: already applied, or where it fits best and what stands there."""
        if any(op == "+" for op, _ in hunk.lines) and self._found(0, hunk.new):
            return f"{self.name}: hunk {number} is already applied: leave it out"
        wanted = [line.strip() for line in hunk.old]
        best, at = 0, 0
        anchors = [it for it, line in enumerate(self.lines) if line.strip() == wanted[0]]
        for first in anchors[:1000]:
            count = 0
            while count < len(wanted) and first + count < len(self.lines):
                if self.lines[first + count].strip() != wanted[count]:
                    break
                count += 1
            best, at = max((best, at), (count, first))
        if best == 0:
            return f"{self.name}: hunk {number} does not fit: the file has no line {hunk.old[0][:200]!r}; read it again"
        there = repr(self.lines[at + best][:200]) if at + best < len(self.lines) else "the end of the file"
        wanted_line = hunk.old[best][:200] if best < len(hunk.old) else hunk.old[-1][:200]
        return (
            f"{self.name}: hunk {number} does not fit: it matches {best} lines from line {at + 1} on, "
            f"then expects {wanted_line!r} where there is {there}"
        )


def _depth(line: str) -> int:
    return len(line.expandtabs(8)) - len(line.expandtabs(8).lstrip())
