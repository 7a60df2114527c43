"""Carries decommission out: has pod instances leave that are not wanted any more, one by one."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.clock import Clock
from kubedcos.scheduler import decommission
from kubedcos.scheduler.departures import Side
from kubedcos.scheduler.known_agents import giving_up
from kubedcos.scheduler.moves import Mover
from kubedcos.scheduler.rollout import held_down
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import lost
from kubedcos.scheduler.workload import Departure, Workload
from kubedcos.scheduler.world import World


@dataclass(slots=True)
class Decommissioner:
    """Has pod instances leave; who and in which order is for `decommission` to say.

    Attributes:
        mover: keeps the answers of the workload.
    """

    workload: Workload
    world: World
    clock: Clock
    pace: Pace
    mover: Mover

    def advance(self) -> list[str]:
        """Have pod instances leave that the service does not ask for any more, one by one."""
        done = []
        self.world.leaving = {}
        now = self.clock.time()
        for leaving in decommission.surplus(self.workload.spec, self.world):
            if not leaving.alive:
                # Also of one that had ended before: its node may be known to Kubernetes.
                if leaving.tasks and decommission.began(leaving, self.world) is None:
                    self.world.commit([decommission.beginning(leaving, now)])
                elif self._has_said(leaving, Side.FINISH):
                    self.world.commit(remove=decommission.erased(leaving, self.world))
                    done.append(f"removed {leaving.pod_instance}")
            elif given_up := decommission.given_up(leaving, now, self.pace):
                ended = [lost(task, given_up, now, self.pace) for task in leaving.alive]
                agents = giving_up(self.world.agents, leaving.alive)
                self.world.commit([*ended, *agents, decommission.beginning(leaving, now)])
                for task in leaving.alive:
                    self.workload.task_ended(task.task_id)
        turn = decommission.next_to_leave(decommission.surplus(self.workload.spec, self.world))
        if turn is not None and not turn.ending:
            if decommission.began(turn, self.world) is None:
                if down := held_down(self.workload.spec, self.world, turn.pod):
                    self.world.leaving[turn.pod_instance] = f"waits for {', '.join(down[:3])}"
                    return done
                self.world.commit([decommission.beginning(turn, now)])
            if self._has_said(turn, Side.PREPARE):
                self.world.ask_to_end(turn.alive)
                done.append(f"ends {turn.pod_instance}, which is not wanted any more")
        return done

    def _has_said(self, leaving: decommission.Leaving, side: Side) -> bool:
        """Whether the workload is ready; of one that was never launched nothing is asked."""
        since = decommission.began(leaving, self.world)
        if since is None:
            return side is Side.FINISH
        answer = self.mover.answer(leaving.pod_instance, side, since)
        if answer is not None and answer.reason:
            self.world.leaving[leaving.pod_instance] = answer.reason
        return answer is not None and answer.ready

    def departing(self) -> dict[str, tuple[Side, Departure]]:
        """What the workload has to be asked for now."""
        leaving = decommission.surplus(self.workload.spec, self.world)
        return decommission.departing(leaving, self.world)
