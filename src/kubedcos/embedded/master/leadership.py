"""What a master does with the outcome of elections: it leads, follows, or ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from kubedcos.embedded.master.engine import Engine
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import MasterInfo

_log = logging.getLogger(__name__)


class Leadership:
    """The place of one master among all.

    A leader that is deposed ends: what it knows may be out of date, and only a new process is sure
    to know nothing.

    Args:
        engine: of this master.
        end: ends the process with status 1; gets the reason in Mesos' words.

    Attributes:
        recovering: reads the registry, once this master was elected.
    """

    def __init__(self, engine: Engine, end: Callable[[str], None]) -> None:
        self._engine, self._end = engine, end
        self._leads = False
        self.recovering: asyncio.Task[None] | None = None

    def led_by(self, leader: MasterInfo | None) -> None:
        """An election was decided; None when nobody leads."""
        own = self._engine.state.info
        ours = leader is not None and leader.id == own.id
        if self._leads and leader is None:
            self._end("Lost leadership after indecisive election... committing suicide!")
        elif self._leads and not ours:
            self._end("Conceded leadership to another master... committing suicide!")
        self._engine.leader = leader
        if ours and not self._leads:
            self._leads = True
            _log.info("Elected as the leading master!")
            self.recovering = self._engine.spawn(self._recover())
        elif leader is not None and not ours:
            self._check_region(leader, own)

    def _check_region(self, leader: MasterInfo, own: MasterInfo) -> None:
        _log.info("The newly elected leader is %s with id %s", leader.pid, leader.id)
        theirs, mine = _region(leader), _region(own)
        if theirs is not None and mine is not None and theirs != mine:
            self._end(
                f"Leading master uses region {theirs}; this master is configured to use region "
                f"{mine}; all masters in the same cluster must use the same region"
            )

    async def _recover(self) -> None:
        """Read the registry; until then the master answers that it has not finished recovery."""
        try:
            registry = await asyncio.to_thread(self._engine.store.load)
        except KubedcosError as error:
            self._end(f"Recovery failed: {error}")
            return
        self._engine.elect(registry)

    def lost(self) -> None:
        """This master cannot be sure of its place any more."""
        if self._leads:
            self._end("Lost candidacy as a leader... committing suicide!")
        _log.info("Lost candidacy as a follower... Contend again")
        self._engine.leader = None


def _region(info: MasterInfo) -> str | None:
    domain = info.domain
    return domain.fault_domain.region.name if domain and domain.fault_domain else None
