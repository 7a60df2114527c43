"""Evaluation of a pod instance against all offers at hand: a placement, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubedcos.model.offer import Agent, Offer, Resource, amount_text
from kubedcos.offers.fit import Fit, fit
from kubedcos.offers.placement import Finding, objections, scope
from kubedcos.offers.pool import size
from kubedcos.offers.requirement import UNITS, Requirement, Surroundings

_NAMED_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class AgentOffers:
    """All offers of one agent; one ACCEPT takes them together."""

    agent: Agent
    offer_ids: tuple[str, ...]
    resources: tuple[Resource, ...]
    unavailable_from: float | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What evaluation said of one agent: a fit, or findings."""

    offers: AgentOffers
    fit: Fit | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def placeable(self) -> bool:
        """Whether the pod instance may be there, resources aside."""
        return not any(finding.rule == "placement" for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best verdict if any fits, all verdicts, and a sentence for people."""

    chosen: Verdict | None
    verdicts: tuple[Verdict, ...]
    reason: str


def group(offers: Iterable[Offer]) -> tuple[AgentOffers, ...]:
    """Offers by agent, in order of agent id."""
    by_agent: dict[str, list[Offer]] = {}
    for offer in offers:
        by_agent.setdefault(offer.agent.id, []).append(offer)
    return tuple(
        AgentOffers(
            agent=found[0].agent,
            offer_ids=tuple(offer.id for offer in found),
            resources=tuple(part for offer in found for part in offer.resources),
            unavailable_from=min(
                (offer.unavailable_from for offer in found if offer.unavailable_from is not None),
                default=None,
            ),
        )
        for _, found in sorted(by_agent.items())
    )


def evaluate(
    requirement: Requirement, offers: Sequence[AgentOffers], surroundings: Surroundings
) -> Outcome:
    """Choose an agent for a pod instance.

    Every rule is tried on every agent, so that the reason is complete. Among agents that fit, one
    that holds an earlier reservation comes first; then, for pods of one instance, the tightest (it
    leaves large agents to others), for pods of several the roomiest; then the lowest id.
    """
    verdicts = tuple(_verdict(requirement, offer, surroundings) for offer in offers)
    fitting = [verdict for verdict in verdicts if verdict.fit is not None]
    if not fitting:
        return Outcome(None, verdicts, explain(requirement, verdicts, surroundings))
    chosen = min(fitting, key=lambda verdict: _rank(requirement, verdict))
    return Outcome(chosen, verdicts, f"fits {chosen.offers.agent.hostname}")


def explain(
    requirement: Requirement, verdicts: Sequence[Verdict], surroundings: Surroundings
) -> str:
    """Why nothing fits, as ``needs 3 cpus in region dc-b; best offer there: 2.1 (b1)``."""
    where = scope(requirement, surroundings)
    there = f" {where}" if where else ""
    if not verdicts:
        return f"needs an offer{there}; there is none"
    placeable = [verdict for verdict in verdicts if verdict.placeable]
    if not placeable:
        seen = _join(f"{_host(v)} {v.findings[0].reason}" for v in verdicts)
        return f"needs an agent{there or ' that its placement allows'}; of those offering, {seen}"
    short = [text for name in UNITS if (text := _short_everywhere(name, placeable, there))]
    if short:
        return "; ".join(short)
    lacks = _join(
        f"{_host(v)} " + ", ".join(finding.reason for finding in v.findings)
        for v in sorted(placeable, key=lambda v: len(v.findings))
    )
    return f"no single agent{there} has everything: {lacks}"


def _verdict(requirement: Requirement, offers: AgentOffers, surroundings: Surroundings) -> Verdict:
    broken = objections(requirement, offers.agent, surroundings)
    result = fit(requirement, offers.resources)
    if isinstance(result, Fit):
        return Verdict(offers, None, broken) if broken else Verdict(offers, result)
    return Verdict(offers, None, (*broken, *result))


def _rank(requirement: Requirement, verdict: Verdict) -> tuple[bool, int, str]:
    assert verdict.fit is not None
    is_new = not requirement.reservation_id or (
        verdict.fit.reservation_id != requirement.reservation_id
    )
    free = sum(size(part) for part in verdict.offers.resources if part.name == "mem")
    return is_new, -free if requirement.pod.count > 1 else free, verdict.offers.agent.id


def _short_everywhere(name: str, verdicts: Sequence[Verdict], there: str) -> str:
    found = [
        (finding, verdict)
        for verdict in verdicts
        for finding in verdict.findings
        if finding.rule == name
    ]
    if len(found) < len(verdicts):
        return ""
    best, verdict = max(found, key=lambda pair: pair[0].available)
    needed, available = amount_text(best.needed), amount_text(best.available)
    reference = "best offer there" if there else "best offer"
    return f"needs {needed} {UNITS[name]}{there}; {reference}: {available} ({_host(verdict)})"


def _host(verdict: Verdict) -> str:
    return verdict.offers.agent.hostname


def _join(parts: Iterable[str]) -> str:
    texts = list(parts)
    more = len(texts) - _NAMED_AT_MOST
    shown = "; ".join(texts[:_NAMED_AT_MOST])
    return f"{shown}; and {more} more" if more > 0 else shown
