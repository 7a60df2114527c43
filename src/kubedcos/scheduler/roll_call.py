"""When to ask Mesos whether agents are still there that nothing of ours runs on. Pure.

Mesos tells frameworks of an agent that goes by an event, which nobody repeats to a scheduler that
was away, and of their tasks. Where there are none only a question helps: asked by RECONCILE for a
task that it does not know, Mesos says how the agent is that is named with it (`Master::reconcile`
in its ``src/master/master.cpp``, cases 2 to 6).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from kubedcos.scheduler.settings import Pace

_PREFIX: Final = "nothing-of-ours-on."


def question(agent_id: str) -> str:
    """The id of a task that never was, which stands for the question after an agent."""
    return f"{_PREFIX}{agent_id}"


def asked_for(task_id: str) -> str:
    """The agent that an answer is about; empty if it is about a task."""
    return task_id.removeprefix(_PREFIX) if task_id.startswith(_PREFIX) else ""


@dataclass(slots=True)
class RollCall:
    """One subscription's questions after agents. Times are monotonic seconds.

    Mesos does not answer while an agent may still come back after a master's failover: what is not
    answered is asked again, at growing intervals.

    Most agents make offers right after a subscription has begun; the others are asked for then.

    Attributes:
        open: ids of agents of which Mesos has not spoken since they were asked for.
    """

    pace: Pace
    open: set[str] = field(default_factory=set)
    _wait: float = 0.0
    _next_try: float = 0.0
    _next_round: float = 0.0
    _begun: bool = False

    def begin(self, now: float) -> None:
        """A subscription began."""
        self.open.clear()
        self._begun = False
        self._next_round = now + self.pace.reconcile_first

    def is_open(self, agent_id: str) -> bool:
        """Whether Mesos has yet to speak of an agent that nothing of ours runs on."""
        return not self._begun or agent_id in self.open

    def due(self, unheard: Callable[[], Iterable[str]], now: float) -> tuple[str, ...]:
        """Ids of agents to ask for now.

        Args:
            unheard: gives ids of the agents that are known and were not heard of.
            now: the time.
        """
        if now >= self._next_round:
            self.open, self._begun = set(unheard()), True
            self._wait, self._next_try = self.pace.reconcile_first, now
            self._next_round = now + self.pace.reconcile_all
        if not self.open or now < self._next_try:
            return ()
        self._next_try = now + self._wait
        self._wait = min(self._wait * 2, self.pace.reconcile_most)
        return tuple(sorted(self.open))

    def answered(self, agent_id: str) -> None:
        """Mesos has said something of an agent."""
        self.open.discard(agent_id)
