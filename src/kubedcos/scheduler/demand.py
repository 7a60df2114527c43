"""When to ask Mesos for offers, and when to be left alone."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from kubedcos.scheduler.settings import Pace


class Voice(StrEnum):
    """What to tell Mesos."""

    NOTHING = ""
    REVIVE = "REVIVE"
    SUPPRESS = "SUPPRESS"


@dataclass(slots=True)
class Demand:
    """Remembers what offers were asked for in this subscription. Times are monotonic seconds."""

    pace: Pace
    suppressed: bool = False
    _voiced: frozenset[str] = frozenset()
    _last_revive: float = 0.0
    _last_wanted: float = 0.0

    def begin(self, now: float) -> None:
        """A subscription began; Mesos offers everything by itself."""
        self.suppressed = False
        self._voiced = frozenset()
        self._last_revive = now
        self._last_wanted = now

    def decide(self, wanted: AbstractSet[str], now: float, *, listens: bool = False) -> Voice:
        """What to tell Mesos, given names of what needs offers.

        New demand revives at once, so that refusals given before it do not delay it.

        Args:
            wanted: names of what needs offers of agents that are there.
            now: monotonic seconds.
            listens: something is left on an agent that is away: when it is back, its offers are to
                come by themselves, for which no refusal given before stands in the way.
        """
        new = wanted - self._voiced
        self._voiced &= frozenset(wanted)
        if not wanted and listens:
            if not self.suppressed or now - self._last_revive < self.pace.revive_interval:
                return Voice.NOTHING
            self.suppressed = False
            self._last_revive = now
            return Voice.REVIVE
        if not wanted:
            if self.suppressed or now - self._last_wanted < self.pace.suppress_after:
                return Voice.NOTHING
            self.suppressed = True
            return Voice.SUPPRESS
        self._last_wanted = now
        silent = now - self._last_revive
        if silent < self.pace.revive_interval:
            return Voice.NOTHING
        if not (new or self.suppressed or silent >= self.pace.revive_again):
            return Voice.NOTHING
        self.suppressed = False
        self._voiced = frozenset(wanted)
        self._last_revive = now
        return Voice.REVIVE
