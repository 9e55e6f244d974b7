"""Reads the combined coverage data and fails unless each package has enough of its lines covered."""

import io
import sys
import tomllib
from pathlib import Path

from coverage import Coverage
from coverage.exceptions import NoDataError

REQUIRED = 90.0


def main() -> int:
    settings = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["tool"]["coverage"]["run"]
    coverage = Coverage()
    coverage.load()
    short: list[str] = []
    for package in settings["source_pkgs"]:
        table = io.StringIO()
        try:
            covered = coverage.report(include=[f"{package}/*"], show_missing=True, skip_covered=True, file=table)
        except NoDataError:
            print(f"{package:<12} has no code")
            continue
        print(f"{package:<12} {covered:6.2f} % of the lines")
        if covered < REQUIRED:
            short.append(package)
            print(table.getvalue())
    if short:
        print(f"Below {REQUIRED:g} %: {', '.join(short)}")
    return len(short)


if __name__ == "__main__":
    sys.exit(main())
