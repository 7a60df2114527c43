"""What all agents have together, and what of it is reserved for whom; kept up by difference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kubedcos.embedded.master.quantities import add, take
from kubedcos.mesos.resources import Resources, reservation_role

if TYPE_CHECKING:
    from kubedcos.embedded.master.state import AgentRecord


class Capacity:
    """Sums over the agents as of the last `follow`; scalars only, in thousandths.

    Attributes:
        total: of everything.
        reserved: by the role of the most refined reservation.
    """

    def __init__(self) -> None:
        self.total: dict[str, int] = {}
        self.reserved: dict[str, dict[str, int]] = {}
        self._counted: dict[str, Resources] = {}

    def follow(self, agents: Mapping[str, AgentRecord]) -> None:
        """Bring the sums up to date; it costs what changed and a glance at each agent."""
        counted = self._counted
        changed = [
            (agent_id, agent.total)
            for agent_id, agent in agents.items()
            if counted.get(agent_id) is not agent.total
        ]
        for agent_id, resources in changed:
            if agent_id in counted:
                self._leave(counted[agent_id])
            counted[agent_id] = resources
            add(self.total, resources.quantities)
            for resource in resources.reserved():
                here = self.reserved.setdefault(reservation_role(resource), {})
                add(here, Resources([resource]).quantities)
        if len(counted) != len(agents):
            for agent_id in counted.keys() - agents.keys():
                self._leave(counted.pop(agent_id))

    def _leave(self, resources: Resources) -> None:
        take(self.total, resources.quantities)
        for resource in resources.reserved():
            role = reservation_role(resource)
            here = self.reserved.get(role, {})
            take(here, Resources([resource]).quantities)
            if not here:
                self.reserved.pop(role, None)
