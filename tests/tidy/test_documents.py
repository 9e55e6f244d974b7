"""What the documents point at is there: files, modules, and headings of their own and of each other."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`[^`\n]*`")


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have where it is shown."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page: Path) -> list[str]:
    """The links of a page, but those to elsewhere, behind which is nothing."""
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", CODE.sub("``", FENCED.sub("", page.read_text()))):
        path, _, anchor = link.partition("#")
        if ":" in path:
            continue
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            found.append(f"{page.relative_to(ROOT)}: {link}")
    return found


def test_the_code_map_names_only_files_that_are_there() -> None:
    drawn = (ROOT / "ARCHITECTURE.md").read_text().partition("## Code map\n")[2].partition("\n## ")[0]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    there = {Path(name).name for name in listed.stdout.splitlines()}
    named = set(re.findall(r"[\w-]+\.(?:py|js|toml)\b", drawn))
    assert "gateway.py" in named
    assert named - there == set()


def test_every_link_between_documents_leads_somewhere() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = [ROOT / name for name in listed.stdout.splitlines()]
    assert ROOT / "README.md" in pages
    assert [link for page in pages for link in broken(page)] == []
