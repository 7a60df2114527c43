"""Inverse offers: frameworks are asked for what they have on a machine that is to be maintained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from kubedcos.embedded.master.effects import Effects, ToFramework
from kubedcos.embedded.master.machines import unavailability_at
from kubedcos.embedded.master.offers import agent_url, refuse_seconds
from kubedcos.embedded.master.state import (
    AgentRecord,
    FrameworkRecord,
    InverseAnswers,
    InverseOfferRecord,
    MasterState,
)
from kubedcos.mesos.messages import (
    AgentID,
    CallInverseOffers,
    Event,
    FrameworkID,
    InverseOffer,
    InverseOffers,
    OfferID,
    RescindInverseOffer,
    Unavailability,
)

Answer = Literal["ACCEPT", "DECLINE"]


def make(state: MasterState, *, now: float) -> Effects:
    """One inverse offer to each framework that holds something of a scheduled agent.

    None to those that have one out, or that answered and asked not to be disturbed for a while.
    """
    if not any(machine.unavailability is not None for machine in state.machines.values()):
        return []
    out = {(record.framework_id, record.agent_id) for record in state.inverse_offers.values()}
    made: dict[str, list[InverseOffer]] = {}
    for agent in state.agents.values():
        when = unavailability_at(state.machines, agent.info.hostname, agent.address)
        if when is None or not agent.active:
            continue
        filters = state.inverse_answers.setdefault(agent.id, InverseAnswers()).filters
        for framework in state.frameworks.values():
            wanted = framework.connected and (framework.id, agent.id) not in out
            if not wanted or filters.get(framework.id, 0.0) > now:
                continue
            if _holds(state, framework, agent):
                offer = _enter(state, framework, agent, when, now)
                made.setdefault(framework.id, []).append(offer)
    return [
        ToFramework(
            framework_id, Event(type="INVERSE_OFFERS", inverse_offers=InverseOffers(tuple(offers)))
        )
        for framework_id, offers in made.items()
    ]


def _holds(state: MasterState, framework: FrameworkRecord, agent: AgentRecord) -> bool:
    """Whether the framework has tasks or offers there."""
    offers = state.offers_of(framework_id=framework.id, agent_id=agent.id)
    if any(True for _ in offers):
        return True
    return len(state.used(framework_id=framework.id, agent_id=agent.id)) > 0


def _enter(
    state: MasterState,
    framework: FrameworkRecord,
    agent: AgentRecord,
    when: Unavailability,
    now: float,
) -> InverseOffer:
    number, state.next_offer = state.next_offer, state.next_offer + 1
    offer = InverseOffer(
        id=OfferID(f"{state.info.id}-O{number}"),
        framework_id=FrameworkID(framework.id),
        unavailability=when,
        url=agent_url(agent),
        agent_id=AgentID(agent.id),
    )
    state.inverse_offers[offer.id.value] = InverseOfferRecord(offer, agent.id, now)
    return offer


def rescind_inverse(state: MasterState, records: Iterable[InverseOfferRecord]) -> Effects:
    """Take inverse offers back and say so."""
    effects: Effects = []
    for record in list(records):
        del state.inverse_offers[record.id]
        event = Event(
            type="RESCIND_INVERSE_OFFER",
            rescind_inverse_offer=RescindInverseOffer(record.offer.id),
        )
        effects.append(ToFramework(record.framework_id, event))
    return effects


def rescind_of_agent(state: MasterState, agent_id: str) -> Effects:
    """Take back all inverse offers that concern an agent."""
    out = state.inverse_offers.values()
    return rescind_inverse(state, [record for record in out if record.agent_id == agent_id])


def forget_framework(state: MasterState, framework_id: str) -> None:
    """The framework is no longer there to answer: what is out goes silently."""
    out = [r.id for r in state.inverse_offers.values() if r.framework_id == framework_id]
    for offer_id in out:
        del state.inverse_offers[offer_id]
    forget_filters(state, framework_id)


def forget_filters(state: MasterState, framework_id: str) -> None:
    """The framework wants to hear at once of what it refused for a while."""
    for answers in state.inverse_answers.values():
        answers.filters.pop(framework_id, None)


def answer(
    state: MasterState,
    framework: FrameworkRecord,
    call: CallInverseOffers,
    what: Answer,
    *,
    now: float,
) -> Effects:
    """ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS.

    The answer is shown to operators, no more; inverse offers that are unknown, or another
    framework's, are ignored without a word.
    """
    for offer_id in call.inverse_offer_ids:
        record = state.inverse_offers.get(offer_id.value)
        if record is None or record.framework_id != framework.id:
            continue
        del state.inverse_offers[record.id]
        answers = state.inverse_answers.setdefault(record.agent_id, InverseAnswers())
        answers.statuses[framework.id] = (what, now)
        until = now + refuse_seconds(call.filters)
        answers.filters[framework.id] = max(until, answers.filters.get(framework.id, 0.0))
    return []


def late(state: MasterState, *, oldest: float) -> Effects:
    """Take back the inverse offers that nobody answered since `oldest`."""
    out = state.inverse_offers.values()
    return rescind_inverse(state, [record for record in out if record.created <= oldest])
