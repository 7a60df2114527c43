"""Evaluation of a pod instance against all offers at hand: a placement, or why there is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from kubedcos.model.offer import Offer
from kubedcos.offers.outcome import AgentOffers, Outcome, StageVerdict, Verdict
from kubedcos.offers.requirement import Requirement, Surroundings
from kubedcos.offers.round import Round

__all__ = ["AgentOffers", "Outcome", "StageVerdict", "Verdict", "evaluate", "group"]


def group(offers: Iterable[Offer]) -> tuple[AgentOffers, ...]:
    """Offers by agent and role, in order of agent id."""
    by_agent: dict[tuple[str, str], list[Offer]] = {}
    for offer in offers:
        by_agent.setdefault((offer.agent.id, offer.role), []).append(offer)
    return tuple(
        AgentOffers(
            agent=found[0].agent,
            offer_ids=tuple(offer.id for offer in found),
            resources=tuple(part for offer in found for part in offer.resources),
            unavailable_from=min(
                (offer.unavailable_from for offer in found if offer.unavailable_from is not None),
                default=None,
            ),
            role=role,
        )
        for (_, role), found in sorted(by_agent.items())
    )


def evaluate(
    requirement: Requirement, offers: Sequence[AgentOffers], surroundings: Surroundings
) -> Outcome:
    """Choose an agent for one pod instance; see `Round.evaluate`."""
    return Round(offers, surroundings).evaluate(requirement)
