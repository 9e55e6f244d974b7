"""`/metrics`: what has happened, for Prometheus. Labels have few values, none of which a client makes up."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ars_gateway.gateway import Gateway

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

    from ars_gateway.observation.counts import Histogram

STATES = ("stopped", "starting", "ready", "busy", "draining", "backoff", "failed")


async def metrics(request: Request) -> Response:
    """The numbers of now."""
    # A tenth of a second, once: in a thread, as the loop has other things to do.
    await anyio.to_thread.run_sync(_load)
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    registry = CollectorRegistry()
    registry.register(_Collector(request.app.state.gateway))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=content_type)


ROUTES = (Route("/metrics", metrics),)


class _Collector:
    """What prometheus-client asks for."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> "Iterator[Metric]":
        """Each family of numbers."""
        yield from _counters(self._gateway)
        yield from _gauges(self._gateway)
        counts = self._gateway.counts
        yield _histogram("first_token_seconds", "From a prompt to the first word or thought.", counts.first_words)
        yield _histogram("turn_seconds", "From a prompt to the end of its turn.", counts.turns)


def _counters(gateway: Gateway) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import CounterMetricFamily as Family

    runs = Family("ars_gateway_runs", "Runs that have ended, by agent and outcome.", labels=("agent", "outcome"))
    for (agent, outcome), count in gateway.counts.runs.items():
        runs.add_metric((_agent(gateway, agent), outcome), count)
    yield runs
    requests = Family("ars_gateway_http_requests", "HTTP requests.", labels=("method", "route", "status"))
    for (method, route, status), count in gateway.counts.answers.items():
        requests.add_metric((method, route, str(status)), count)
    yield requests
    yield Family("ars_gateway_sign_in_failures", "Wrong credentials that were shown.", gateway.limiter.failures)
    restarts = Family("ars_gateway_agent_restarts", "How often agents were started again.", labels=("agent",))
    for agent, told in gateway.talks.agents.states().items():
        restarts.add_metric((agent,), told.get("restarts", 0))
    yield restarts


def _gauges(gateway: Gateway) -> "Iterator[Metric]":
    from prometheus_client.metrics_core import GaugeMetricFamily as Family

    talks = gateway.talks
    info = Family("ars_gateway_info", "Always 1: which gateway this is.", labels=("version",))
    info.add_metric((gateway.version,), 1)
    yield info
    live = Family("ars_gateway_live_runs", "Runs that go on, and those that wait for their turn.", labels=("state",))
    waiting = sum(1 for run in talks.runs.live.values() if run.begun is None)
    live.add_metric(("running",), len(talks.runs.live) - waiting)
    live.add_metric(("waiting",), waiting)
    yield live
    yield Family("ars_gateway_connections", "WebSocket clients that have signed in.", len(gateway.hub.connections))
    yield Family("ars_gateway_remotes", "Editors elsewhere that have an agent here.", len(gateway.remotes))
    yield Family("ars_gateway_lobby", "Sockets whose client has not signed in yet.", len(gateway.lobby))
    yield Family("ars_gateway_sessions", "Sessions that are kept.", talks.rooms.count())
    states = Family("ars_gateway_agent_state", "1 for the state that an agent is in.", labels=("agent", "state"))
    for agent, told in talks.agents.states().items():
        for state in STATES:
            states.add_metric((agent, state), float(told["state"] == state))
    yield states


def _histogram(name: str, help: str, of: "Histogram") -> "Metric":
    from prometheus_client.metrics_core import HistogramMetricFamily

    buckets: list[Any] = of.cumulative()
    return HistogramMetricFamily(f"ars_gateway_{name}", help, buckets=buckets, sum_value=of.sum)


def _agent(gateway: Gateway, id: str) -> str:
    """Sessions of agents that are no more are of old."""
    return id if id in gateway.talks.agents.kinds else "other"


def _load() -> None:
    import prometheus_client  # noqa: F401
