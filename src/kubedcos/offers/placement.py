"""Placement rules: on which agents a pod instance may be at all, resources aside."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.model.offer import Agent
from kubedcos.offers import rules
from kubedcos.offers.requirement import Requirement, Surroundings
from kubedcos.offers.standing import TO_LEAVE, Standing

PLACEMENT = "placement"
"""Rule of findings that are about where an agent is, not about what it offers."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Why an agent does not do.

    Attributes:
        rule: ``placement`` or the name of the resource that is short.
        reason: a clause such as ``is in region dc-a``.
        needed: thousandths, for resources.
        available: thousandths, for resources.
        detail: of ``placement``, the rule that is broken, such as ``rack:LIKE:r1``.
    """

    rule: str
    reason: str
    needed: int = 0
    available: int = 0
    detail: str = ""

    @property
    def stage(self) -> str:
        """What agents that fail alike are counted under."""
        return f"{self.rule} {self.detail}" if self.detail else self.rule

    @property
    def constraint(self) -> str:
        """What would have to be otherwise: a rule of placement, or an amount of a resource."""
        return self.stage if self.rule == PLACEMENT else self.rule


def standing(requirement: Requirement, surroundings: Surroundings) -> Standing:
    """Where the other instances of the requirement's pod are."""
    found = Standing(requirement, surroundings, surroundings.placed)
    found.lift(requirement.index)
    return found


def objections(
    requirement: Requirement,
    agent: Agent,
    surroundings: Surroundings,
    others: Standing | None = None,
) -> tuple[Finding, ...]:
    """Placement rules that an agent breaks; none for a pod instance that already lives there."""
    if requirement.pinned:
        if requirement.pinned == agent.id:
            return ()
        reason = f"is not {requirement.pinned_host}"
        return (Finding(PLACEMENT, reason, detail="where it lives"),)
    others = others or standing(requirement, surroundings)
    broken = [*rules.broken_by(requirement.pod.placement, agent, surroundings)]
    if agent.id in requirement.avoid:
        broken.insert(0, (TO_LEAVE, requirement.avoid[agent.id]))
    # Of a place that is out of the question anyway it does not matter how many are there.
    broken += others.broken(agent) if not broken else others.fixed(agent)
    return tuple(Finding(PLACEMENT, reason, detail=rule) for rule, reason in broken)


def scope(
    requirement: Requirement, surroundings: Surroundings, others: Standing | None = None
) -> str:
    """Where the pod instance may go, as ``in region dc-b``; empty when anywhere."""
    if requirement.pinned:
        return f"on {requirement.pinned_host}"
    others = others or standing(requirement, surroundings)
    spec = requirement.pod.placement
    parts = []
    for spread in others.spreads:
        choices = spread.choices
        if choices and (len(choices) == 1 or choices != frozenset(spread.homes)):
            names = sorted("/".join(choice) for choice in choices)
            parts.append(f"in {spread.over.removeprefix('@')} {' or '.join(names)}")
    if not parts and spec.local_region:
        parts.append(f"in the masters' region {surroundings.local_region}".rstrip())
    elif not parts and spec.regions:
        parts.append(f"in region {' or '.join(spec.regions)}")
    parts += [f"with {name}={value}" for name, value in sorted(spec.attributes.items())]
    if spec.rules:
        parts.append(f"that satisfies {', '.join(map(str, spec.rules))}")
    return " ".join(parts)
