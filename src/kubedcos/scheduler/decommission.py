"""Pod instances that the service does not ask for any more: who leaves next, and how far it is.

The plan is called as in the DC/OS SDK: ``decommission``. It has no state of its own: an instance
that has records and no place in the service is to go, one after the other, the highest index
first. Asking for it again (scaling back up) ends its plan; it is taken back into use.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from kubedcos.model.service import PhaseSpec, ServiceSpec, StepSpec, Strategy
from kubedcos.plan.status import Status
from kubedcos.plan.tree import Phase, Plan, Step
from kubedcos.scheduler.departures import Side
from kubedcos.scheduler.settings import Pace
from kubedcos.scheduler.task_updates import OUT_OF_REACH
from kubedcos.scheduler.workload import Departure
from kubedcos.scheduler.world import Record, World, place, running
from kubedcos.state.records import StepRecord, TaskRecord

DECOMMISSION: Final = "decommission"


@dataclass(frozen=True, slots=True)
class Leaving:
    """A pod instance that is to go.

    Attributes:
        tasks: names of its tasks that are recorded, ended ones included.
        alive: those that may be alive.
    """

    pod: str
    index: int
    tasks: tuple[str, ...]
    alive: tuple[TaskRecord, ...]

    @property
    def pod_instance(self) -> str:
        """Name of the pod instance."""
        return f"{self.pod}-{self.index}"

    @property
    def step_name(self) -> str:
        """Name of its step in the plan."""
        return f"{self.pod_instance}:[{', '.join(self.tasks)}]"

    @property
    def out_of_reach(self) -> bool:
        """Whether all that may be left of it is on an agent that Mesos has lost."""
        return bool(self.alive) and all(task.state in OUT_OF_REACH for task in self.alive)

    @property
    def ending(self) -> bool:
        """Whether there is no way back: its tasks were asked to end, or have ended."""
        return all(task.kill_asked for task in self.alive)


def surplus(spec: ServiceSpec, world: World) -> tuple[Leaving, ...]:
    """Who is to go, in the order of going: by pod, the highest index first.

    Also one that was never launched, if a person wanted something of it.
    """
    wanted = {(pod.name, index) for pod in spec.pods for index in pod.indices}
    known = {(task.pod, task.index) for task in world.tasks.values()}
    known |= {(home.pod, home.index) for home in world.pods.values()}
    known |= {(wish.pod, wish.index) for wish in world.recovery.values()}
    if known <= wanted:
        return ()
    tasks: dict[tuple[str, int], list[TaskRecord]] = {}
    for task in world.tasks.values():
        tasks.setdefault((task.pod, task.index), []).append(task)
    return tuple(
        Leaving(
            pod,
            index,
            tuple(task.spec.name for task in tasks.get((pod, index), ())),
            tuple(task for task in tasks.get((pod, index), ()) if task.alive),
        )
        for pod, index in sorted(known - wanted, key=lambda item: (item[0], -item[1]))
    )


def next_to_leave(found: tuple[Leaving, ...]) -> Leaving | None:
    """Whose turn it is: one that is under way before others; those out of reach hold nobody up."""
    reachable = [leaving for leaving in found if not leaving.out_of_reach]
    under_way = [leaving for leaving in reachable if leaving.ending]
    return next(iter(under_way or reachable), None)


def beginning(leaving: Leaving, now: float) -> StepRecord:
    """The record that its leaving began: deadlines count from then."""
    return StepRecord(DECOMMISSION, leaving.pod, leaving.step_name, started_at=now)


def began(leaving: Leaving, world: World) -> float | None:
    """When its leaving began; None while it has not."""
    record = world.steps.get(f"{DECOMMISSION}/{leaving.pod}/{leaving.step_name}")
    return record.started_at if record is not None else None


def under_way(spec: ServiceSpec, world: World) -> tuple[Leaving, ...]:
    """Who is being drained or ended right now; those out of reach serve nobody anyway."""
    return tuple(
        leaving
        for leaving in surplus(spec, world)
        if not leaving.out_of_reach and (began(leaving, world) is not None or leaving.ending)
    )


def taken_back(spec: ServiceSpec, world: World) -> tuple[StepRecord, ...]:
    """Records of leavings that began, of pod instances that the service asks for again."""
    begun = [record for record in world.steps.values() if record.plan == DECOMMISSION]
    if not begun:
        return ()
    wanted = {(pod.name, index) for pod in spec.pods for index in pod.indices}
    return tuple(record for record in begun if instance_of(record) in wanted)


def instance_of(record: StepRecord) -> tuple[str, int]:
    """Pod and index of a step of this plan."""
    name, _, number = record.step.partition(":")[0].rpartition("-")
    return name, int(number)


def departing(found: Sequence[Leaving], world: World) -> dict[str, tuple[Side, Departure]]:
    """What the workload has to be asked for: to prepare a departure, or to finish it."""
    asked = {}
    for leaving in found:
        since = began(leaving, world)
        agent = next(
            (t.agent for t in world.tasks.values() if t.pod_instance == leaving.pod_instance), None
        )
        if since is None or agent is None or (leaving.alive and leaving.ending):
            continue
        side = Side.PREPARE if leaving.alive else Side.FINISH
        tasks = tuple(running(task) for task in leaving.alive)
        departure = Departure(leaving.pod, leaving.index, place(agent), tasks, since)
        asked[leaving.pod_instance] = (side, departure)
    return asked


def given_up(leaving: Leaving, now: float, pace: Pace) -> str:
    """Why a pod instance out of reach is not waited for any longer; empty while it is.

    Nothing is lost by that: a task that comes back and is not known is ended.
    """
    if not leaving.out_of_reach:
        return ""
    since = max(task.state_at for task in leaving.alive)
    if now - since < pace.leave_wait:
        return ""
    return f"not wanted any more, and out of reach for {pace.leave_wait:.0f} s"


def erased(leaving: Leaving, world: World) -> tuple[Record, ...]:
    """Records that go with an instance of which nothing runs any more.

    Its reservation stays recorded: nobody lives there now, so it is released.
    """
    instance = leaving.pod_instance
    gone: list[Record] = [
        task for task in world.tasks.values() if task.pod_instance == instance and not task.alive
    ]
    home = world.pods.get(instance)
    gone += [] if home is None else [home]
    wishes = world.recovery.get(instance)
    gone += [] if wishes is None else [wishes]
    prefix = f"{instance}:["
    gone += [step for step in world.steps.values() if step.step.startswith(prefix)]
    return tuple(gone)


def plan(found: tuple[Leaving, ...], says: Mapping[str, str]) -> Plan | None:
    """The plan as people see it; None when nobody has to go.

    Args:
        found: from `surplus`.
        says: what the pod instance whose turn it is waits for.
    """
    if not found:
        return None
    turn = next_to_leave(found)
    phases = []
    for pod in dict.fromkeys(leaving.pod for leaving in found):
        here = [leaving for leaving in found if leaving.pod == pod]
        steps = tuple(_step(leaving, turn, says) for leaving in here)
        spec = PhaseSpec(pod, Strategy.SERIAL, tuple(step.spec for step in steps))
        under_way = any(step.status is Status.STARTED for step in steps)
        phases.append(Phase(spec, Status.IN_PROGRESS if under_way else Status.PENDING, steps))
    under_way = any(phase.status is Status.IN_PROGRESS for phase in phases)
    status = Status.IN_PROGRESS if under_way else Status.PENDING
    return Plan(DECOMMISSION, status, tuple(phases))


def _step(leaving: Leaving, turn: Leaving | None, says: Mapping[str, str]) -> Step:
    spec = StepSpec(leaving.step_name, leaving.pod, leaving.index, leaving.tasks)
    instance = leaving.pod_instance
    if leaving.out_of_reach:
        host = leaving.alive[0].agent.hostname
        reason = says.get(instance) or f"Mesos has lost {host}; it is ended when it returns"
        return Step(DECOMMISSION, leaving.pod, spec, Status.PENDING, reason)
    if turn is not None and leaving.pod_instance == turn.pod_instance:
        if leaving.ending:
            reason = "waits for the end of its tasks"
        else:
            reason = says.get(instance, "is about to be drained")
        return Step(DECOMMISSION, leaving.pod, spec, Status.STARTED, reason)
    after = f"after {turn.pod_instance}" if turn is not None else "waits its turn"
    return Step(DECOMMISSION, leaving.pod, spec, Status.PENDING, after)
