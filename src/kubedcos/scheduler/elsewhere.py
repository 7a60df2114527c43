"""Whether a pod instance could live on another agent than its own, and in figures why not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from kubedcos.model.offer import Agent, amount_text
from kubedcos.model.service import PodSpec, ServiceSpec
from kubedcos.offers.placement import Finding, objections, standing
from kubedcos.offers.requirement import UNITS, KnownAgent, sums
from kubedcos.scheduler import staging
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.world import World

_SIZES: Final = ("cpus", "mem")
_NAMED_AT_MOST: Final = 3


def nowhere_else(
    spec: ServiceSpec,
    world: World,
    settings: FrameworkSettings,
    pod: PodSpec,
    index: int,
    left: Agent,
) -> str:
    """Why no agent that is there could take a pod instance, even if it were free.

    Args:
        spec: the service.
        world: what is known.
        settings: who the framework is to Mesos.
        pod: of the instance.
        index: of the instance.
        left: the agent that does not count.

    Returns:
        A clause such as ``of 3 other agents placement forbids 2 (a2 is in region dc-a), and 1 is
        too small (a3 has 0.25 of 0.5 cpus)``; empty if some agent could.
    """
    wanted = staging.placed_anew(spec, world, settings, pod, index, avoid={left.id: "is left"})
    surroundings = world.surroundings()
    needs, others = sums(wanted.to_reserve), standing(wanted, surroundings)
    forbidden: list[tuple[KnownAgent, Finding]] = []
    small: list[KnownAgent] = []
    for known in surroundings.agents:
        if known.agent.id == left.id:
            continue
        if found := objections(wanted, known.agent, surroundings, others):
            forbidden.append((known, found[0]))
        elif any(known.largest.get(name, 0) < needs[name] for name in _SIZES):
            small.append(known)
        else:
            return ""
    count = len(forbidden) + len(small)
    if not count:
        return "no other agent is in reach"
    parts = []
    if forbidden:
        named = [f"{it.agent.hostname} {why.reason}" for it, why in forbidden[:_NAMED_AT_MOST]]
        parts.append(f"placement forbids {len(forbidden)} ({_listed(named, len(forbidden))})")
    if small:
        named = [_shortfall(known, needs) for known in small[:_NAMED_AT_MOST]]
        are = "is" if len(small) == 1 else "are"
        parts.append(f"{len(small)} {are} too small ({_listed(named, len(small))})")
    return f"of {count} other {'agent' if count == 1 else 'agents'} {', and '.join(parts)}"


def _shortfall(known: KnownAgent, needs: Mapping[str, int]) -> str:
    """What an agent has of what it has too little of, at most."""
    short = [
        f"{amount_text(known.largest.get(name, 0))} of {amount_text(needs[name])} {UNITS[name]}"
        for name in _SIZES
        if known.largest.get(name, 0) < needs[name]
    ]
    return f"{known.agent.hostname} has {' and '.join(short)}"


def _listed(named: list[str], count: int) -> str:
    more = count - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")
