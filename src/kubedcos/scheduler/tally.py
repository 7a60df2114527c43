"""What one scheduler has done since it began, in numbers; whoever measures reads them here."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import CallRefused, Connection
from kubedcos.offers.evaluation import Outcome
from kubedcos.offers.outcome import STAGES

STEP_BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
CYCLE_BOUNDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class Spread:
    """Durations in seconds, counted by upper bounds."""

    bounds: tuple[float, ...]
    total: float = 0.0
    count: int = 0
    below: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Nothing was observed yet."""
        self.below = [0] * len(self.bounds)

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.total += seconds
        self.count += 1
        for at, bound in enumerate(self.bounds):
            if seconds <= bound:
                self.below[at] += 1


@dataclass(slots=True)
class Tally:
    """Counters and durations of one cluster's scheduler.

    Attributes:
        calls: calls to Mesos by type and ``sent``, ``refused`` or ``lost``.
        events: events of Mesos by type.
        offers: offers by what became of them: ``received``, ``rescinded``, ``accepted``,
            ``declined``.
        operations: operations on offers by type.
        updates: status updates by state.
        decisions: ``placed``, ``no_fit``, ``no_command``, ``recovered``.
        verdicts: what each stage of evaluation said of an agent: stage, and ``pass`` or ``fail``.
        subscriptions: subscriptions by ``begun`` or the kind of their end.
        steps: times from the start of a step to its completion, by plan.
        cycles: how long cycles took.
    """

    calls: Counter[tuple[str, str]] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    offers: Counter[str] = field(default_factory=Counter)
    operations: Counter[str] = field(default_factory=Counter)
    updates: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[tuple[str, str]] = field(default_factory=Counter)
    subscriptions: Counter[str] = field(default_factory=Counter)
    steps: dict[str, Spread] = field(default_factory=dict)
    cycles: Spread = field(default_factory=lambda: Spread(CYCLE_BOUNDS))

    def event(self, event: wire.Event) -> None:
        """Count an event of Mesos."""
        self.events[str(event.type)] += 1
        if event.offers is not None:
            self.offers["received"] += len(event.offers.offers)
        elif event.rescind is not None:
            self.offers["rescinded"] += 1
        elif event.update is not None:
            self.updates[str(event.update.status.state)] += 1

    def call(self, call: wire.Call, outcome: str) -> None:
        """Count a call to Mesos."""
        self.calls[str(call.type), outcome] += 1
        if outcome != "sent":
            return
        if call.accept is not None:
            self.offers["accepted"] += len(call.accept.offer_ids)
            for operation in call.accept.operations:
                self.operations[str(operation.type)] += 1
        elif call.decline is not None:
            self.offers["declined"] += len(call.decline.offer_ids)

    def evaluated(self, outcome: Outcome) -> None:
        """Count what evaluation said of each agent: every stage that objected, or the choice."""
        self.decisions["placed" if outcome.chosen is not None else "no_fit"] += 1
        if outcome.chosen is not None:
            self.verdicts["all", "pass"] += 1
        for stage, agents in outcome.rejected.items():
            rule = stage.partition(" ")[0]
            self.verdicts[rule if rule in STAGES else "volumes", "fail"] += agents

    def step_took(self, plan: str, seconds: float) -> None:
        """Count a step that became complete."""
        self.steps.setdefault(plan, Spread(STEP_BOUNDS)).observe(seconds)


class Counted:
    """A connection whose traffic is counted."""

    def __init__(self, connection: Connection, tally: Tally) -> None:
        self._connection = connection
        self._tally = tally

    @property
    def subscribed(self) -> wire.Subscribed:
        """The first event."""
        return self._connection.subscribed

    async def next_event(self) -> wire.Event:
        """The next event; see `Connection`."""
        event = await self._connection.next_event()
        self._tally.event(event)
        return event

    async def call(self, call: wire.Call) -> None:
        """Send a call; see `Connection`."""
        try:
            await self._connection.call(call)
        except CallRefused:
            self._tally.call(call, "refused")
            raise
        except Exception:
            self._tally.call(call, "lost")
            raise
        self._tally.call(call, "sent")

    async def close(self) -> None:
        """End the connection."""
        await self._connection.close()
