"""Asks Mesos whether a cluster fits on its agents, before anything of it is made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import Problem
from kubedcos.kubernetes import capacity, components
from kubedcos.mesos.detector import detector
from kubedcos.mesos.operator import Operator, Site
from kubedcos.mesos.tls import client_context
from kubedcos.offers.capacity import Report
from kubedcos.scheduler import rooms
from kubedcos.scheduler.settings import FrameworkSettings, secret
from kubedcos.scheduler.why import outcome_view
from kubedcos.scheduler.world import World

Ask = Callable[[FrameworkSettings], Awaitable[Site]]
"""Asks the masters that a framework is for which agents there are."""


def asker(extra_logins: Callable[[], tuple[tuple[str, str], ...]]) -> Ask:
    """Asks with the framework's own login, then with others that the service has."""

    async def ask(settings: FrameworkSettings) -> Site:
        """The agents.

        Raises:
            AgentsUnknown: no master says.
            InvalidInput: a secret or a certificate cannot be read.
        """
        own = secret(settings)
        tls = None
        if settings.ca_file is not None:
            tls = client_context(settings.ca_file, settings.cert_file, settings.key_file)
        logins = ((own,) if own is not None else ()) + extra_logins()
        return await Operator(detector(settings.masters), logins, tls).site()

    return ask


def judge(
    options: ClusterOptions, site: Site, world: World | None = None
) -> tuple[Report, list[Problem]]:
    """A cluster placed on paper on what is free, and what does not fit.

    Args:
        options: of the cluster as it is to be.
        site: the agents.
        world: of the cluster as it is, if it is one already.
    """
    service = components.service(options)
    held = rooms.held(world, service) if world is not None else rooms.Held()
    there, local_region = rooms.rooms(site, held)
    report = capacity.report(options, there, local_region, held.placed)
    return report, capacity.problems(options, report)


def view(options: ClusterOptions, report: Report, problems: list[Problem]) -> dict[str, Any]:
    """`kubedcos cluster check --json`."""
    lacks = {lack.pod.name: lack for lack in report.lacks}
    service = components.service(options)
    return {
        "cluster": options.name,
        "fits": report.fits,
        "agents": len(report.rooms),
        "pods": [
            {
                "pod": pod.name,
                "wanted": pod.count,
                "placed": lacks[pod.name].placed if pod.name in lacks else pod.count,
                "missing": list(lacks[pod.name].missing) if pod.name in lacks else [],
                "why": outcome_view(lacks[pod.name].outcome) if pod.name in lacks else None,
            }
            for pod in service.pods
        ],
        "places": {name: agent.hostname for name, agent in sorted(report.places.items())},
        "problems": [str(problem) for problem in problems],
    }
