"""One round of offers: any number of pod instances are placed on them, each agent used once.

Instances of one pod that ask for the same share the work: agents are ruled out once, ordered once,
and taken from the front. A round of thousands of agents and instances costs about as much as one
look at each of them.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubedcos.model.offer import Agent, Resource
from kubedcos.model.service import PodSpec
from kubedcos.offers import rules
from kubedcos.offers.amounts import (
    Amounts,
    Needs,
    amounts,
    needs,
    shortages,
    suffices,
)
from kubedcos.offers.fit import Fit, decisive, fit, fresh
from kubedcos.offers.outcome import AgentOffers, Outcome, Score, Verdict, refused
from kubedcos.offers.placement import Finding, objections, scope
from kubedcos.offers.pool import holds, spendable, unreserved
from kubedcos.offers.requirement import RESERVATION_LABEL, Requirement, Surroundings
from kubedcos.offers.standing import Standing

Signature = tuple[rules.Key | None, ...]
_Queued = tuple[bool, bool, int, int, int, str, int]
"""What is known of a `Score` beforehand, and where its agent is; tuples are compared fastest."""


@dataclass(slots=True)
class _Class:
    """Instances of one pod that ask for the same.

    Attributes:
        queues: agents that would do if rules that look at other instances let them, by what those
            rules look at; the best first.
        fits: what an instance without a reservation takes, by what decides it: thousands of
            agents may differ, and give the same.
        unfit: agents whose sums suffice, and which still cannot hold an instance.
        refusal: the last outcome, while nothing that it rests on has changed.
    """

    pod: PodSpec
    needs: Needs
    standing: Standing
    queues: dict[Signature, list[_Queued]] = field(default_factory=dict)
    fits: dict[Hashable, Fit | tuple[Finding, ...]] = field(default_factory=dict)
    unfit: dict[int, tuple[Finding, ...]] = field(default_factory=dict)
    refusal: Outcome | None = None


class Round:
    """Offers at hand, and what they were used for so far.

    Args:
        offers: by agent; see `evaluation.group`.
        surroundings: as they are before anything of this round is used.
        now: for outcomes, seconds since 1970.
    """

    def __init__(
        self, offers: Sequence[AgentOffers], surroundings: Surroundings, now: float = 0.0
    ) -> None:
        self._offers = offers
        self._around = surroundings
        self._now = now
        self._placed: dict[tuple[str, int], Agent] = dict(surroundings.placed)
        self._used: set[int] = set()
        self._classes: dict[tuple[int, tuple[str, ...], str, frozenset[str]], _Class] = {}
        self._amounts: dict[tuple[int, bool], Amounts] = {}
        self._by_agent: dict[tuple[str, str], int] = {
            (offer.agent.id, offer.role): at for at, offer in enumerate(offers)
        }
        self._reservations: Mapping[str, frozenset[int]] | None = None

    def evaluate(self, requirement: Requirement) -> Outcome:
        """Choose an agent for a pod instance; nothing is used yet, see `take`.

        Every rule is tried on every agent, so that a refusal is complete. Among agents that fit
        the lowest `Score` wins.
        """
        found = self._class(requirement)
        home = found.standing.lift(requirement.index)
        try:
            if requirement.pinned:
                outcome = self._pinned(requirement, found)
            else:
                outcome = self._held(requirement, found) or self._fresh(requirement, found)
        finally:
            if home is not None:
                found.standing.put(requirement.pod.name, requirement.index, home)
        return replace(outcome, at=self._now) if outcome.at != self._now else outcome

    def take(self, requirement: Requirement, verdict: Verdict) -> None:
        """The instance lives on the agent of `verdict` from now on, and its offers are used."""
        at = self._at(requirement, verdict.offers.agent.id)
        if at is not None:
            self._used.add(at)
        pod, index, agent = requirement.pod.name, requirement.index, verdict.offers.agent
        for found in self._classes.values():
            if found.pod.name == pod:
                found.standing.lift(index)
                found.refusal = None
            elif pod in found.pod.placement.apart_from:
                found.refusal = None
            found.standing.put(pod, index, agent)
        self._placed[pod, index] = agent

    # --- the ways to an agent --------------------------------------------------------------------

    def _pinned(self, requirement: Requirement, found: _Class) -> Outcome:
        """Only one agent will do."""
        at = self._at(requirement, requirement.pinned)
        verdicts = [] if at is None else [self._verdict(requirement, found, at)]
        if verdicts and verdicts[0].fit is not None:
            return Outcome(verdicts[0], _fits(verdicts[0]), agents=1)
        if not verdicts and (others := self._open(requirement)):
            # Those that offer are told of; none of them is the one.
            verdicts = [self._verdict(requirement, found, other) for other in others[:1]]
            return replace(
                refused((), scope(requirement, self._around, found.standing)),
                verdicts=tuple(verdicts),
                agents=len(others),
                rejected={finding.stage: len(others) for finding in verdicts[0].findings[:1]},
                binding=verdicts[0].findings[0].stage,
            )
        return refused(verdicts, scope(requirement, self._around, found.standing))

    def _held(self, requirement: Requirement, found: _Class) -> Outcome | None:
        """An agent that holds an earlier reservation of the instance."""
        if not requirement.reservation_id:
            return None
        for at in sorted(self._holding(requirement.reservation_id)):
            if at in self._used or self._offers[at].role != self._role(requirement):
                continue
            verdict = self._verdict(requirement, found, at)
            if verdict.fit and verdict.fit.reservation_id == requirement.reservation_id:
                return Outcome(verdict, _fits(verdict), agents=1)
        return None

    def _fresh(self, requirement: Requirement, found: _Class) -> Outcome:
        """The best of all agents; what was reserved earlier has been looked at."""
        standing = found.standing
        while True:
            best: tuple[int, _Queued] | None = None
            source: list[_Queued] = []
            for queue in found.queues.values():
                head = self._head(standing, queue)
                if head is None:
                    continue
                agent = self._offers[head[-1]].agent
                if not standing.balanced(agent):
                    continue
                ranked = (standing.crowd(agent), head)
                if best is None or ranked < best:
                    best, source = ranked, queue
            if best is None:
                break
            crowd, queued = best
            at = queued[-1]
            result = _worked_out(requirement, found, self._offers[at].resources)
            if isinstance(result, Fit):
                score = _score(queued, crowd, _is_new(requirement, result))
                verdict = Verdict(self._offers[at], result, score=score)
                return Outcome(verdict, _fits(verdict), agents=len(self._offers), at=self._now)
            found.unfit[at] = result
            heapq.heappop(source)
        if found.refusal is None:
            verdicts = [self._verdict(requirement, found, at) for at in self._open(requirement)]
            where = scope(requirement, self._around, standing)
            found.refusal = replace(refused(verdicts, where, standing), at=self._now)
        return found.refusal

    def _head(self, standing: Standing, queue: list[_Queued]) -> _Queued | None:
        """The best agent of a queue that is unused and not full; others are dropped for good.

        Rules that only count never let an agent in again in the same round.
        """
        while queue:
            at = queue[0][-1]
            if at not in self._used and not standing.full(self._offers[at].agent):
                return queue[0]
            heapq.heappop(queue)
        return None

    # --- one agent -------------------------------------------------------------------------------

    def _verdict(self, requirement: Requirement, found: _Class, at: int) -> Verdict:
        offers = self._offers[at]
        broken = objections(requirement, offers.agent, self._around, found.standing)
        there = self._amounts_of(at, reserved=found.needs.reserved)
        if not requirement.reservation_id:
            if short := found.unfit.get(at) or shortages(found.needs, there):
                return Verdict(offers, None, (*broken, *short))
            if broken:
                return Verdict(offers, None, broken)
        result = fit(requirement, offers.resources, found.needs)
        if not isinstance(result, Fit):
            return Verdict(offers, None, (*broken, *result))
        if broken:
            return Verdict(offers, None, broken)
        queued = self._queued(found.needs, at, there, own_role=bool(requirement.pod.role))
        return Verdict(offers, result, score=_score(queued, 0, _is_new(requirement, result)))

    def _queued(self, wanted: Needs, at: int, there: Amounts, *, own_role: bool) -> _Queued:
        offers = self._offers[at]
        shares = [there.of(name) * 1000 // need for name, need in wanted.shared]
        return (
            offers.unavailable_from is not None,
            own_role and not there.reserved,
            len(there.unusual),
            min(shares) - 1000 if shares else 0,
            sum(shares),
            offers.agent.id,
            at,
        )

    # --- what is worked out once -----------------------------------------------------------------

    def _class(self, requirement: Requirement) -> _Class:
        avoided = frozenset(requirement.avoid)
        key = (id(requirement.pod), requirement.launch, self._role(requirement), avoided)
        found = self._classes.get(key)
        if found is None:
            found = self._new_class(requirement)
            # The class keeps the pod, and with it its id.
            self._classes[key] = found
        return found

    def _new_class(self, requirement: Requirement) -> _Class:
        wanted = needs(requirement)
        portless = self._portless(requirement, wanted)
        standing = Standing(requirement, self._around, self._placed, portless)
        found = _Class(requirement.pod, wanted, standing)
        if requirement.pinned:
            return found
        placement = requirement.pod.placement
        own_role = bool(requirement.pod.role)
        for at in self._open(requirement):
            agent = self._offers[at].agent
            there = self._amounts_of(at, reserved=wanted.reserved)
            if agent.id in requirement.avoid or not suffices(wanted, there):
                continue
            if next(rules.broken_by(placement, agent, self._around), None) is not None:
                continue
            queue = found.queues.setdefault(standing.signature(agent), [])
            queue.append(self._queued(wanted, at, there, own_role=own_role))
        for queue in found.queues.values():
            heapq.heapify(queue)
        return found

    def _portless(self, requirement: Requirement, wanted: Needs) -> set[str]:
        """Agents that offer, and not a port that an instance needs.

        It is another kubelet's: what is offered otherwise is of no use for a long time.
        """
        if not wanted.fixed_ports:
            return set()
        siblings = {requirement.pod.name, *requirement.pod.placement.apart_from}
        ours = {agent.id for (pod, _), agent in self._placed.items() if pod in siblings}
        found = set()
        for at in self._open(requirement):
            if self._offers[at].agent.id in ours:
                continue
            ranges = self._amounts_of(at, reserved=wanted.reserved).ranges
            if not all(holds(ranges, number) for number in wanted.fixed_ports):
                found.add(self._offers[at].agent.id)
        return found

    def _open(self, requirement: Requirement) -> list[int]:
        """Unused offers to the requirement's role."""
        role = self._role(requirement)
        return [
            at
            for at, offer in enumerate(self._offers)
            if at not in self._used and offer.role == role
        ]

    def _role(self, requirement: Requirement) -> str:
        return requirement.pod.role or requirement.role

    def _at(self, requirement: Requirement, agent_id: str) -> int | None:
        at = self._by_agent.get((agent_id, self._role(requirement)))
        return None if at is None or at in self._used else at

    def _amounts_of(self, at: int, *, reserved: bool) -> Amounts:
        key = (at, reserved)
        found = self._amounts.get(key)
        if found is None:
            usable = unreserved if reserved else spendable
            found = self._amounts[key] = amounts(self._offers[at].resources, usable)
        return found

    def _holding(self, reservation_id: str) -> frozenset[int]:
        """Agents that offer what is reserved under an id."""
        if self._reservations is None:
            holders: dict[str, set[int]] = {}
            for at, offer in enumerate(self._offers):
                for resource in offer.resources:
                    if resource.reservations and (label := resource.label(RESERVATION_LABEL)):
                        holders.setdefault(label, set()).add(at)
            self._reservations = {id_: frozenset(found) for id_, found in holders.items()}
        return self._reservations.get(reservation_id, frozenset())


def _worked_out(
    requirement: Requirement, found: _Class, resources: tuple[Resource, ...]
) -> Fit | tuple[Finding, ...]:
    """What an instance takes of an agent whose sums suffice."""
    if requirement.reservation_id:
        return fit(requirement, resources, found.needs)
    # What is reserved carries the instance's name; all else is the same for each of the class.
    if found.needs.reserved:
        return fresh(requirement, found.needs, resources)
    key = decisive(found.needs, resources)
    known = found.fits.get(key)
    if known is None:
        known = found.fits[key] = fresh(requirement, found.needs, resources)
    return known


def _score(queued: _Queued, crowd: int, is_new: bool) -> Score:
    leaving, common, scarce, spare, total, agent_id, _ = queued
    return Score(is_new, leaving, common, crowd, scarce, spare, total, agent_id)


def _is_new(requirement: Requirement, found: Fit) -> bool:
    held = requirement.reservation_id
    return not held or found.reservation_id != held


def _fits(verdict: Verdict) -> str:
    return f"fits {verdict.offers.agent.hostname} ({verdict.score})"
