"""`make bench`: what ars-acp costs, on this machine, through the real executable, real pipes and a real model server.

Each figure is the median of several runs. Absolute times depend on the machine and on what else it does: the first
lines time bare Python programs beside ours, so that a slow moment shows.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import connector, gateway, http, page, sessions, start, stores, supervisor, turns
from bench.harness import Bench, Figure, model_server

GROUPS: dict[str, Callable[[Bench], Iterator[Figure]]] = {
    "start": start.start,
    "first_token": turns.first_token,
    "throughput": turns.throughput,
    "many_sessions": turns.many_sessions,
    "memory": sessions.memory,
    "growth": turns.growth,
    "append": stores.append,
    "servers": stores.servers,
    "load": sessions.load,
    "listing": sessions.listing,
    "ends": turns.ends,
    "connector": connector.connector,
    "supervisor": supervisor.supervisor,
    "gateway": gateway.gateway,
    "http": http.http,
    "page": page.page,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], help="all, unless some are named")
    parser.add_argument("--runs", type=int, default=7)
    chosen = parser.parse_args()
    print(f"{'':58} {'measured':>10} {'required':>12}")
    with model_server() as port, tempfile.TemporaryDirectory() as home:
        bench = Bench(port, Path(home), chosen.runs)
        for name in chosen.groups or GROUPS:
            for figure in GROUPS[name](bench):
                required = "" if figure.required is None else f"{'≥' if figure.at_least else '≤'} {figure.required:,}"
                row = f"{figure.name:58} {figure.measured:>10,.1f} {required:>12} {figure.unit:8} {figure.met}"
                print(row.rstrip(), flush=True)


if __name__ == "__main__":
    main()
