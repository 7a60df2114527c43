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
    _from_the_start: frozenset[str] | None = None
    _began: float = 0.0
    _last_revive: float = 0.0
    _last_wanted: float = 0.0
    _spare: float = 0.0
    _counted_at: float = 0.0

    def begin(self, now: float) -> None:
        """A subscription began; Mesos offers everything by itself."""
        self.suppressed = False
        self._voiced = frozenset()
        self._from_the_start = None
        self._began = self._last_revive = self._last_wanted = self._counted_at = now
        self._spare = float(self.pace.revive_burst)

    def decide(self, wanted: AbstractSet[str], now: float, *, listens: bool = False) -> Voice:
        """What to tell Mesos, given names of what needs offers.

        New demand revives at once, so that refusals given before it do not delay it; many REVIVEs
        in a row would make the master offer everything each time, and wait for their turn.

        Args:
            wanted: names of what needs offers of agents that are there.
            now: monotonic seconds.
            listens: something is left on an agent that is away: when it is back, its offers are to
                come by themselves, for which no refusal given before stands in the way.
        """
        if self._from_the_start is None:
            self._from_the_start = frozenset(wanted)
        new = wanted - self._voiced
        self._voiced &= frozenset(wanted)
        if not wanted and listens:
            if not self.suppressed or now - self._last_revive < self.pace.revive_interval:
                return Voice.NOTHING
            self._revived(now)
            return Voice.REVIVE
        if not wanted:
            if self.suppressed or now - self._last_wanted < self.pace.suppress_after:
                return Voice.NOTHING
            self.suppressed = True
            return Voice.SUPPRESS
        self._last_wanted = now
        if now - self._began < self.pace.revive_interval:
            new -= self._from_the_start
        again = now - self._last_revive >= self.pace.revive_again
        if not (new or self.suppressed or again) or self._spare_at(now) < 1:
            return Voice.NOTHING
        self._voiced = frozenset(wanted)
        self._revived(now)
        return Voice.REVIVE

    def _spare_at(self, now: float) -> float:
        """How many REVIVEs are free now."""
        earned = (now - self._counted_at) / self.pace.revive_interval
        return min(float(self.pace.revive_burst), self._spare + earned)

    def _revived(self, now: float) -> None:
        self._spare = self._spare_at(now) - 1
        self._counted_at = self._last_revive = now
        self.suppressed = False
