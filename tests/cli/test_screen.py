"""What ends up in the terminal, byte for byte."""

import io

from ars_cli.screen import Screen


class Terminal(io.TextIOWrapper):
    """An output with an encoding that can be read back."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, newline="")

    def text(self) -> str:
        self.flush()
        return self.bytes.getvalue().decode(self.encoding)


def test_colours_are_put_on_each_line_and_taken_off_again() -> None:
    out = Terminal()
    Screen(out, colour=True).write("a\n\nb", "bad")

    assert out.text() == "\x1b[31ma\x1b[0m\n\n\x1b[31mb\x1b[0m"


def test_without_colour_there_is_no_escape_sequence_at_all() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.write("text", "bad")
    screen.status("working")
    screen.line("line", "title")

    assert out.text() == "text\nline\n"


def test_the_status_line_vanishes_before_anything_else() -> None:
    out = Terminal()
    screen = Screen(out, live=True, width=20)
    screen.status("x" * 100)
    screen.status("two")
    screen.line("done")

    assert out.text() == "x" * 19 + "\r\x1b[Ktwo\r\x1b[Kdone\n"


def test_there_is_no_status_line_beside_text_that_is_being_written() -> None:
    out = Terminal()
    screen = Screen(out, live=True)
    screen.write("a word ")
    screen.status("working")
    screen.write("and the next")

    assert out.text() == "a word and the next"


def test_a_gap_is_one_blank_line_however_often_it_is_asked_for() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.gap()
    screen.write("a")
    screen.gap()
    screen.gap()
    screen.line("b")
    screen.line()
    screen.gap()
    screen.write("c\n\n")
    screen.gap()
    screen.line("d")

    assert out.text() == "a\n\nb\n\nc\n\nd\n"


def test_a_terminal_that_knows_only_ascii_gets_ascii() -> None:
    out = Terminal("ascii")
    Screen(out).line("✓ done – 'é' ▸")

    assert out.text() == "+ done - '?' >\n"
