"""What the page is made of: how much goes over the wire, and that a browser is told of every module at once."""

import gzip
import re
from pathlib import Path

import ars_gateway

WEB = Path(ars_gateway.__file__).parent / "web"
MOST_BYTES = 150 * 1024
IMPORTS = re.compile(r"^(?:import|export)\b[^;]*?from '\./([^']+)'", re.MULTILINE)
PRELOADED = re.compile(r'<link rel="modulepreload" href="([^"]+)">')


def reached(name: str, known: set[str]) -> set[str]:
    """The modules that `name` needs, itself too, without those that are fetched when they are needed."""
    if name not in known:
        known.add(name)
        for one in IMPORTS.findall((WEB / name).read_text()):
            reached(one, known)
    return known


def test_all_of_it_is_small():
    packed = sum(len(gzip.compress(path.read_bytes(), 9)) for path in WEB.iterdir())
    assert packed < MOST_BYTES


def test_every_module_that_the_start_needs_is_asked_for_at_once():
    listed = PRELOADED.findall((WEB / "index.html").read_text())
    assert listed == sorted(reached("main.js", set()) - {"main.js"})


def test_nothing_in_the_page_reads_html_or_evaluates_text():
    forbidden = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\(|new Function|srcdoc"
    )
    for path in WEB.glob("*.js"):
        assert not forbidden.search(path.read_text()), path.name


def test_files_of_the_page_can_be_read_at_one_sitting():
    for path in WEB.glob("*.js"):
        assert len(path.read_text().splitlines()) <= 400, path.name
