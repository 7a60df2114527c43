"""Placement rules: on which agents a pod instance may be at all, resources aside."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kubedcos.model.offer import Agent
from kubedcos.offers.requirement import KnownAgent, Requirement, Surroundings, sums


@dataclass(frozen=True, slots=True)
class Finding:
    """Why an agent does not do.

    Attributes:
        rule: ``placement`` or the name of the resource that is short.
        reason: a clause such as ``is in region dc-a``.
        needed: thousandths, for resources.
        available: thousandths, for resources.
    """

    rule: str
    reason: str
    needed: int = 0
    available: int = 0


def objections(
    requirement: Requirement, agent: Agent, surroundings: Surroundings
) -> tuple[Finding, ...]:
    """Placement rules that an agent breaks; none for a pod instance that already lives there."""
    if requirement.pinned:
        if requirement.pinned == agent.id:
            return ()
        return (Finding("placement", f"is not {requirement.pinned_host}"),)
    if agent.id in requirement.avoid:
        return (Finding("placement", requirement.avoid[agent.id]),)
    broken = [*_fixed_rules(requirement, agent, surroundings)]
    allowed = spread_choices(requirement, surroundings)
    if not broken and allowed and _place(requirement, agent, surroundings) not in allowed:
        kind = requirement.pod.placement.spread_by
        broken.append(f"is in {kind} {_name(_place(requirement, agent, surroundings))}")
    return tuple(Finding("placement", reason) for reason in broken)


def scope(requirement: Requirement, surroundings: Surroundings) -> str:
    """Where the pod instance may go, as ``in region dc-b``; empty when anywhere."""
    if requirement.pinned:
        return f"on {requirement.pinned_host}"
    rules = requirement.pod.placement
    parts = []
    if choices := spread_choices(requirement, surroundings):
        names = " or ".join(sorted(_name(choice) for choice in choices))
        everywhere = {
            _place(requirement, known.agent, surroundings)
            for known in surroundings.agents
            if not _fixed_rules(requirement, known.agent, surroundings)
        }
        if choices != everywhere or len(choices) == 1:
            parts.append(f"in {rules.spread_by} {names}")
    if not parts and rules.local_region:
        parts.append(f"in the masters' region {surroundings.local_region}".rstrip())
    elif not parts and rules.regions:
        parts.append(f"in region {' or '.join(rules.regions)}")
    parts += [f"with {name}={value}" for name, value in sorted(rules.attributes.items())]
    return " ".join(parts)


def spread_choices(
    requirement: Requirement, surroundings: Surroundings
) -> frozenset[tuple[str, ...]]:
    """Regions or zones with the fewest instances, among those that could take one more.

    An agent that never offered enough for one instance does not make its place a choice. Empty
    when the pod does not spread or no agent is known that could take it.
    """
    if not requirement.pod.placement.spread_by:
        return frozenset()
    needs = sums(requirement.to_reserve)
    places = {
        _place(requirement, known.agent, surroundings)
        for known in surroundings.agents
        if known.agent.id not in requirement.avoid
        and not _fixed_rules(requirement, known.agent, surroundings)
        and _ever_fits(known, needs)
    }
    if not places:
        return frozenset()
    taken = Counter(
        _place(requirement, agent, surroundings)
        for (pod, index), agent in surroundings.placed.items()
        if pod == requirement.pod.name and index != requirement.index
    )
    fewest = min(taken[place] for place in places)
    return frozenset(place for place in places if taken[place] == fewest)


def _ever_fits(known: KnownAgent, needs: dict[str, int]) -> bool:
    return all(known.largest.get(name, 0) >= needs[name] for name in ("cpus", "mem"))


def _fixed_rules(requirement: Requirement, agent: Agent, surroundings: Surroundings) -> list[str]:
    rules = requirement.pod.placement
    region = surroundings.region(agent)
    broken = []
    if rules.local_region:
        if region != surroundings.local_region:
            broken.append(f"is in region {region}")
    elif rules.regions and region not in rules.regions:
        broken.append(f"is in region {region}" if region else "has no region")
    broken.extend(
        f"has not {name}={value}"
        for name, value in sorted(rules.attributes.items())
        if (name, value) not in agent.attributes
    )
    if rules.unique_agent:
        broken.extend(
            f"has {requirement.pod.instance(index)} already"
            for (pod, index), other in sorted(surroundings.placed.items())
            if pod == requirement.pod.name and index != requirement.index and other.id == agent.id
        )
    return broken


def _place(requirement: Requirement, agent: Agent, surroundings: Surroundings) -> tuple[str, ...]:
    region = surroundings.region(agent)
    return (region,) if requirement.pod.placement.spread_by == "region" else (region, agent.zone)


def _name(place: tuple[str, ...]) -> str:
    return "/".join(place)
