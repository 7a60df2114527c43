"""Prometheus metrics of the service and of every cluster: collected when they are asked for.

They are at ``/metrics`` and, as in the DC/OS SDK, at ``/v1/metrics/prometheus``. They hold no
secret, but tell much of a cluster: a token is asked for, of an operator or of a scraper.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from fastapi import APIRouter, Depends, Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kubedcos import __version__
from kubedcos.api.access import Access
from kubedcos.api.hosted import Hosted
from kubedcos.api.hosting import Clusters
from kubedcos.api.refusals import RESPONSES, Refusal
from kubedcos.scheduler.life import Life
from kubedcos.scheduler.tally import Spread, Tally

REQUEST_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Requests:
    """What the API was asked: counts and durations by method and route."""

    def __init__(self) -> None:
        self.codes: Counter[tuple[str, str, str]] = Counter()
        self.seconds: dict[tuple[str, str], Spread] = {}

    def count(self, method: str, route: str, code: int, seconds: float) -> None:
        """Count one request."""
        self.codes[method, route, str(code)] += 1
        self.seconds.setdefault((method, route), Spread(REQUEST_BOUNDS)).observe(seconds)


class Measured:
    """Counts requests; those that no route takes are one row together."""

    def __init__(self, app: ASGIApp, requests: Requests) -> None:
        self._app = app
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path_format", "none")
            method = scope["method"] if route != "none" else "any"
            self._requests.count(method, route, code, time.perf_counter() - began)


def router(clusters: Clusters, access: Access, requests: Requests) -> APIRouter:
    """The routes."""
    # The model is named once in the document; what the other routes say of refusals refers to it.
    refused: dict[int | str, dict[str, Any]] = {401: RESPONSES[401] | {"model": Refusal}}
    routes = APIRouter(
        dependencies=[Depends(access.scraper())], responses=refused, tags=["metrics"]
    )

    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}

    @routes.get("/metrics", response_model=None, responses=text)
    async def metrics() -> _Exposition:
        """All metrics in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Everything(clusters, requests))
        return _Exposition(generate_latest(registry))

    routes.get("/v1/metrics/prometheus", response_model=None, responses=text)(metrics)
    return routes


class _Exposition(Response):
    media_type = CONTENT_TYPE_LATEST


class _Everything(Collector):
    def __init__(self, clusters: Clusters, requests: Requests) -> None:
        self._clusters = clusters
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        """Every family with the samples of all clusters."""
        build = GaugeMetricFamily("kubedcos_build_info", "Version that runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        hosted = self._clusters.all()
        yield from _counters([(each.options.name, each.scheduler.tally) for each in hosted])
        yield from _durations([(each.options.name, each.scheduler.tally) for each in hosted])
        yield from _plans(hosted)
        yield from _state(hosted)
        yield from _requests(self._requests)


# name, what it counts, label, attribute of the tally
_COUNTERS: Final = (
    ("kubedcos_mesos_events", "Events of Mesos.", "type", "events"),
    ("kubedcos_offers", "Offers by what became of them.", "fate", "offers"),
    ("kubedcos_operations", "Operations on offers.", "type", "operations"),
    ("kubedcos_task_updates", "Status updates of tasks.", "state", "updates"),
    ("kubedcos_decisions", "Decisions of the scheduler.", "decision", "decisions"),
    (
        "kubedcos_subscriptions",
        "Subscriptions begun, and how they ended.",
        "event",
        "subscriptions",
    ),
)


def _counters(tallies: list[tuple[str, Tally]]) -> Iterator[Metric]:
    for name, about, label, attribute in _COUNTERS:
        family = CounterMetricFamily(name, about, labels=["cluster", label])
        for cluster, tally in tallies:
            for key, count in sorted(getattr(tally, attribute).items()):
                family.add_metric([cluster, key], count)
        yield family
    calls = CounterMetricFamily(
        "kubedcos_mesos_calls", "Calls to Mesos.", labels=["cluster", "type", "outcome"]
    )
    verdicts = CounterMetricFamily(
        "kubedcos_stage_verdicts",
        "What stages of offer evaluation said of agents.",
        labels=["cluster", "stage", "verdict"],
    )
    for cluster, tally in tallies:
        for (kind, outcome), count in sorted(tally.calls.items()):
            calls.add_metric([cluster, kind, outcome], count)
        for (stage, verdict), count in sorted(tally.verdicts.items()):
            verdicts.add_metric([cluster, stage, verdict], count)
    yield calls
    yield verdicts


def _durations(tallies: list[tuple[str, Tally]]) -> Iterator[Metric]:
    steps = HistogramMetricFamily(
        "kubedcos_step_seconds", "From a step's start to its end.", labels=["cluster", "plan"]
    )
    cycles = HistogramMetricFamily(
        "kubedcos_cycle_seconds", "Duration of scheduler cycles.", labels=["cluster"]
    )
    for cluster, tally in tallies:
        for plan, spread in sorted(tally.steps.items()):
            _add(steps, [cluster, plan], spread)
        _add(cycles, [cluster], tally.cycles)
    yield steps
    yield cycles


def _plans(clusters: list[Hosted]) -> Iterator[Metric]:
    life = GaugeMetricFamily(
        "kubedcos_life_stage", "1 for the stage of each cluster.", labels=["cluster", "stage"]
    )
    status = GaugeMetricFamily(
        "kubedcos_plan_status",
        "1 for the status of each plan.",
        labels=["cluster", "plan", "status"],
    )
    steps = GaugeMetricFamily(
        "kubedcos_plan_steps", "Steps of each plan.", labels=["cluster", "plan", "status"]
    )
    seconds = GaugeMetricFamily(
        "kubedcos_plan_seconds",
        "From the first start of a step to the last end, of plans that are complete.",
        labels=["cluster", "plan"],
    )
    recovering = GaugeMetricFamily(
        "kubedcos_recovering_steps",
        "Steps that were complete once and are not now.",
        labels=["cluster"],
    )
    replacements = GaugeMetricFamily(
        "kubedcos_replacements",
        "Pod instances that wait for a replacement, or are being replaced.",
        labels=["cluster", "state"],
    )
    paused = GaugeMetricFamily(
        "kubedcos_paused_pods",
        "Pod instances with tasks that an operator paused.",
        labels=["cluster"],
    )
    refusals = CounterMetricFamily(
        "kubedcos_invariant_refusals",
        "What was not done because it would have broken an invariant.",
        labels=["cluster", "invariant"],
    )
    for hosted in clusters:
        wishes = hosted.scheduler.world.recovery.values()
        moves = [found.replacement for found in wishes if found.replacement is not None]
        begun = sum(move.admitted_at is not None for move in moves)
        replacements.add_metric([hosted.options.name, "waiting"], len(moves) - begun)
        replacements.add_metric([hosted.options.name, "moving"], begun)
        paused.add_metric([hosted.options.name], sum(bool(found.paused) for found in wishes))
        for invariant, count in sorted(hosted.scheduler.refusals.items()):
            refusals.add_metric([hosted.options.name, invariant], count)
        cluster, stage = hosted.options.name, hosted.health().stage
        for each in Life:
            life.add_metric([cluster, str(each)], 1 if each is stage else 0)
        plans = hosted.scheduler.plans()
        for plan in plans:
            status.add_metric([cluster, plan.name, str(plan.status)], 1)
            for name, count in sorted(Counter(str(step.status) for step in plan.steps).items()):
                steps.add_metric([cluster, plan.name, name], count)
            starts = [step.started_at for step in plan.steps if step.started_at is not None]
            ends = [step.finished_at for step in plan.steps if step.finished_at is not None]
            if plan.status == "COMPLETE" and starts and ends:
                seconds.add_metric([cluster, plan.name], max(ends) - min(starts))
        again = sum(
            step.was_complete and step.status != "COMPLETE" for plan in plans for step in plan.steps
        )
        recovering.add_metric([cluster], again)
    yield from (life, status, steps, seconds, recovering, replacements, paused, refusals)


def _state(clusters: list[Hosted]) -> Iterator[Metric]:
    documents = GaugeMetricFamily(
        "kubedcos_state_documents", "Documents in the store.", labels=["cluster", "kind"]
    )
    size = GaugeMetricFamily(
        "kubedcos_state_bytes", "Bytes of these documents.", labels=["cluster", "kind"]
    )
    largest = GaugeMetricFamily(
        "kubedcos_state_largest_bytes", "The largest of them.", labels=["cluster", "kind"]
    )
    tasks = GaugeMetricFamily(
        "kubedcos_tasks", "Current tasks by state.", labels=["cluster", "state"]
    )
    expiry = GaugeMetricFamily(
        "kubedcos_certificate_expiry_timestamp_seconds",
        "When a certificate expires.",
        labels=["cluster", "certificate"],
    )
    for hosted in clusters:
        cluster, world = hosted.options.name, hosted.scheduler.world
        for kind, sizes in sorted(world.sizes.items()):
            documents.add_metric([cluster, kind], len(sizes))
            size.add_metric([cluster, kind], sum(sizes.values()))
            largest.add_metric([cluster, kind], max(sizes.values(), default=0))
        for state, count in sorted(Counter(task.state for task in world.tasks.values()).items()):
            tasks.add_metric([cluster, state], count)
        for name, at in sorted(hosted.workload.certificates().items()):
            expiry.add_metric([cluster, name], at)
    yield from (documents, size, largest, tasks, expiry)


def _requests(requests: Requests) -> Iterator[Metric]:
    codes = CounterMetricFamily(
        "kubedcos_api_requests", "Requests to the API.", labels=["method", "route", "code"]
    )
    for (method, route, code), count in sorted(requests.codes.items()):
        codes.add_metric([method, route, code], count)
    yield codes
    seconds = HistogramMetricFamily(
        "kubedcos_api_request_seconds", "Duration of requests.", labels=["method", "route"]
    )
    for (method, route), spread in sorted(requests.seconds.items()):
        _add(seconds, [method, route], spread)
    yield seconds


def _add(family: HistogramMetricFamily, labels: list[str], spread: Spread) -> None:
    buckets: list[Any] = [
        (repr(bound), float(count))
        for bound, count in zip(spread.bounds, spread.below, strict=True)
    ]
    family.add_metric(labels, [*buckets, ("+Inf", float(spread.count))], spread.total)
