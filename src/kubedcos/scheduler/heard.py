"""What one subscription has told: offers above all. Nothing of it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field

from kubedcos.model.offer import Offer
from kubedcos.offers.evaluation import AgentOffers, group


@dataclass(slots=True)
class Heard:
    """What one subscription has told; forgotten with it.

    Attributes:
        offers: offers at hand by id, with the number of the event that brought them.
        events: how many events came.
        last_end: number of the event that told of the last end of a task.
        offering: ids of agents that have made offers.
        unavailable: for agents that are to be maintained: from when on, and when that was heard.
        inverse_offers: agent ids by id of inverse offers that wait for an answer.
        strays: agent ids by id of tasks that are to end because nobody knows them any more.
        returned: agents that are back; what runs there has to be asked for.
        away: of agents that are out of reach: for how many seconds when Mesos spoke of it last, and
            when that was, in monotonic seconds.
    """

    offers: dict[str, tuple[int, Offer]] = field(default_factory=dict)
    events: int = 0
    last_end: int = 0
    offering: set[str] = field(default_factory=set)
    unavailable: dict[str, tuple[float, float]] = field(default_factory=dict)
    inverse_offers: dict[str, str] = field(default_factory=dict)
    strays: dict[str, str] = field(default_factory=dict)
    returned: set[str] = field(default_factory=set)
    away: dict[str, tuple[float, float]] = field(default_factory=dict)
    _of_agent: dict[str, dict[str, Offer]] = field(default_factory=dict)
    _groups: dict[str, tuple[AgentOffers, ...]] = field(default_factory=dict)
    _sorted: tuple[AgentOffers, ...] | None = None

    def take_offer(self, offer: Offer) -> None:
        """An offer came."""
        self.offers[offer.id] = (self.events, offer)
        self.offering.add(offer.agent.id)
        self._of_agent.setdefault(offer.agent.id, {})[offer.id] = offer
        self._groups.pop(offer.agent.id, None)
        self._sorted = None

    def forget_offer(self, offer_id: str) -> None:
        """An offer is used, declined or rescinded."""
        found = self.offers.pop(offer_id, None)
        if found is None:
            return
        agent_id = found[1].agent.id
        self._groups.pop(agent_id, None)
        self._sorted = None
        left = self._of_agent[agent_id]
        del left[offer_id]
        if not left:
            del self._of_agent[agent_id]

    def grouped(self) -> tuple[AgentOffers, ...]:
        """Offers at hand by agent and role, in order of agent id."""
        if self._sorted is None:
            for agent_id, offers in self._of_agent.items():
                if agent_id not in self._groups:
                    self._groups[agent_id] = group(offers.values())
            self._sorted = tuple(
                found for agent_id in sorted(self._groups) for found in self._groups[agent_id]
            )
        return self._sorted
