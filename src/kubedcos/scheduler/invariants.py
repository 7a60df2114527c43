"""What must hold at any time, and what may not be done lest it break. Pure: looks at a `World`.

The scheduler asks before it acts (`quorum_objection`, `launch_problems`) and a simulation asks
after every cycle (`broken`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from kubedcos.mesos import messages as wire
from kubedcos.model.service import Goal, PodSpec, ServiceSpec
from kubedcos.offers.requirement import RESERVATION_LABEL
from kubedcos.scheduler.task_updates import INTENDED, OUT_OF_REACH, succeeded
from kubedcos.scheduler.world import World
from kubedcos.state.records import TaskRecord


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that does not hold.

    Attributes:
        invariant: its name: ``one-task``, ``quorum`` or ``owner``.
        text: what is wrong, in a sentence.
    """

    invariant: str
    text: str


def quorum_of(members: int) -> int:
    """How many of so many members make a majority."""
    return members // 2 + 1


def at_work(task: TaskRecord) -> bool:
    """Whether a task does what it is for, and is to go on with it."""
    if task.spec.goal is Goal.FINISHED:
        return succeeded(task) and task.ready
    return task.alive and task.ready and task.state == "TASK_RUNNING" and not task.kill_asked


def healthy(world: World, pod: PodSpec, index: int) -> bool:
    """Whether a pod instance does its work: everything of it runs, is ready and is to stay."""
    instance = pod.instance(index)
    found = [world.tasks.get(f"{instance}/{task.name}") for task in pod.tasks]
    return all(task is not None and at_work(task) for task in found)


def held_down(spec: ServiceSpec, world: World, pod: PodSpec, index: int) -> bool:
    """Whether a pod instance does not work, or soon will not, because we want it so.

    A member that a quorum needs works on although its end is wished, and one out of reach is asked
    to end when it is back, if it may.
    """
    record = world.recovery_of(pod.name, index)
    moving = record.replacement is not None and record.replacement.admitted_at is not None
    ending = any(
        task.kill_asked and task.state not in OUT_OF_REACH
        for task in world.of_pod(pod.instance(index))
    )
    ends = ending and pod.instance(index) not in _needed(spec, world, pod)
    return bool(record.paused) or moving or ends


def has_stood(spec: ServiceSpec, world: World, pod: PodSpec, index: int) -> bool:
    """Whether a pod instance has ever done its work; until then no quorum counts on it."""
    if healthy(world, pod, index):
        return True
    # By their names alone: phases may be called otherwise in another version.
    names = {
        step.name
        for plan in spec.plans
        for phase in plan.phases
        for step in phase.steps
        if step.pod == pod.name and step.index == index
    }
    return any(record.was_complete and record.step in names for record in world.steps.values())


def quorum_objection(spec: ServiceSpec, world: World, pod: PodSpec, index: int) -> str:
    """Why a pod instance must not be taken down now; empty when it may be.

    A pod without `quorum` may always lose an instance, and any pod one that has never stood: the
    next one is only started when it stands, so that waiting for others would never end.
    """
    if not pod.recovery.quorum or not has_stood(spec, world, pod, index):
        return ""
    needed = quorum_of(pod.count)
    others = [other for other in range(pod.count) if other != index]
    left = [
        other
        for other in others
        if _works(world, pod, other) and not held_down(spec, world, pod, other)
    ]
    if len(left) >= needed:
        return ""
    names = ", ".join(pod.instance(other) for other in left) or "none"
    return (
        f"{pod.name} needs {needed} of {pod.count} healthy members; without {pod.instance(index)}"
        f" there would be {len(left)} ({names})"
    )


def restart_objection(spec: ServiceSpec, world: World, pod: PodSpec, index: int) -> str:
    """Why a pod instance must not be asked to end now, to start anew; empty when it may be.

    One that does not work is missed by nobody; without an ensemble there is nobody to wait for.
    """
    if not _is_ensemble(spec, world, pod):
        return ""
    down = {*_held_down(spec, world, pod), index}
    if _too_many(pod, down):
        names = ", ".join(pod.instance(other) for other in sorted(down - {index}))
        return f"{names} are held down"
    return quorum_objection(spec, world, pod, index) if _works(world, pod, index) else ""


def must_stay(
    spec: ServiceSpec, world: World, sent: Collection[str] = (), unsure: Collection[str] = ()
) -> frozenset[str]:
    """Pod instances whose tasks must not be ended although somebody wishes it: a quorum needs them.

    A wish that is not granted stays, and is granted when enough others are well again. A member
    that has left its ensemble already is needed no more; the only member may end, and any of those
    whose ensemble has never been complete: the next one might not be launched before that.

    Args:
        spec: the service.
        world: what is known.
        sent: ids of tasks that Mesos was asked to end; they come first.
        unsure: ids of tasks of which this subscription has not heard yet: one that ended meanwhile
            is none to count on, so that nobody is ended before Mesos has told of all members.
    """
    if world.cluster.deleting:
        return frozenset()
    return frozenset().union(*(_needed(spec, world, pod, sent, unsure) for pod in spec.pods))


def voting(spec: ServiceSpec, world: World) -> frozenset[str]:
    """Pod instances that work as members of a quorum of several: none ends without its others."""
    if world.cluster.deleting:
        return frozenset()
    return frozenset(
        pod.instance(index)
        for pod in spec.pods
        if _is_ensemble(spec, world, pod)
        for index in pod.indices
        if _works(world, pod, index) and not _left(world, pod, index)
    )


def launch_problems(world: World, call: wire.Call) -> tuple[str, ...]:
    """What is wrong with an ACCEPT: launches without stored intent, reservations without owner."""
    if call.accept is None:
        return ()
    problems = []
    for operation in call.accept.operations:
        if operation.launch is not None:
            problems += [
                text
                for info in operation.launch.task_infos
                if (text := _not_intended(world, info.task_id.value, info.agent_id.value))
            ]
        if operation.reserve is not None:
            problems += [
                f"reservation {id_} is not stored"
                for id_ in sorted(_labels(operation.reserve.resources))
                if id_ not in world.reservations
            ]
    return tuple(problems)


def broken(spec: ServiceSpec, world: World) -> tuple[Breach, ...]:
    """Every invariant that does not hold in what is stored; none in a sound program."""
    if world.cluster.deleting:
        return (*_one_task(world.tasks),)
    return (*_one_task(world.tasks), *_quorums(spec, world), *_owners(world))


def _needed(
    spec: ServiceSpec,
    world: World,
    pod: PodSpec,
    sent: Collection[str] = (),
    unsure: Collection[str] = (),
) -> frozenset[str]:
    """Those of one pod that `must_stay` names."""
    if not _is_ensemble(spec, world, pod):
        return frozenset()
    serving = [i for i in range(pod.count) if _works(world, pod, i) and not _left(world, pod, i)]
    ending = []
    for index in serving:
        asked = [task for task in world.of_pod(pod.instance(index)) if task.kill_asked]
        if asked:
            ending.append((not any(task.task_id in sent for task in asked), index))
    spare = max(0, len(serving) - quorum_of(pod.count))
    if any(task.task_id in unsure for index in serving for task in _alive(world, pod, index)):
        spare = 0
    return frozenset(pod.instance(index) for _, index in sorted(ending)[spare:])


def _works(world: World, pod: PodSpec, index: int) -> bool:
    """Whether everything of it runs and is ready, whatever is wanted of it."""
    return all(
        task is not None and task.alive and task.ready and task.state == "TASK_RUNNING"
        for spec in pod.tasks
        for task in [world.tasks.get(f"{pod.instance(index)}/{spec.name}")]
    )


def _is_ensemble(spec: ServiceSpec, world: World, pod: PodSpec) -> bool:
    """Whether it has several members that need a majority, and all of them have stood once."""
    return (
        pod.recovery.quorum
        and pod.count > 1
        and all(_works(world, pod, i) or has_stood(spec, world, pod, i) for i in pod.indices)
    )


def _alive(world: World, pod: PodSpec, index: int) -> tuple[TaskRecord, ...]:
    return world.of_pod(pod.instance(index))


def _left(world: World, pod: PodSpec, index: int) -> bool:
    """Whether it is being replaced and is no member any more."""
    move = world.recovery_of(pod.name, index).replacement
    return move is not None and move.prepared_at is not None


def _not_intended(world: World, task_id: str, agent_id: str) -> str:
    task = world.task(task_id)
    if task is None or not task.alive or task.state != INTENDED:
        return f"the intent to launch {task_id} is not stored"
    if task.agent.id != agent_id:
        return f"{task_id} was intended for {task.agent.id}, not {agent_id}"
    return ""


def _labels(resources: Iterable[wire.Resource]) -> set[str]:
    return {
        label.value or ""
        for resource in resources
        for level in resource.reservations[-1:]
        if level.labels is not None
        for label in level.labels.labels
        if label.key == RESERVATION_LABEL
    }


def _one_task(tasks: Mapping[str, TaskRecord]) -> list[Breach]:
    """One record for each component is so by construction; ids and agents have to agree."""
    found = [
        Breach("one-task", f"{key} is kept as {task.key}")
        for key, task in tasks.items()
        if key != task.key
    ]
    ids = Counter(task.task_id for task in tasks.values())
    found += [Breach("one-task", f"two tasks are called {id_}") for id_, n in ids.items() if n > 1]
    agents: dict[str, set[str]] = {}
    for task in tasks.values():
        if task.alive:
            agents.setdefault(task.pod_instance, set()).add(task.agent.id)
    return found + [
        Breach("one-task", f"{instance} runs on {' and '.join(sorted(ids_))}")
        for instance, ids_ in agents.items()
        if len(ids_) > 1
    ]


def _quorums(spec: ServiceSpec, world: World) -> list[Breach]:
    found = []
    for pod in spec.pods:
        down = _held_down(spec, world, pod)
        if _too_many(pod, down):
            names = ", ".join(pod.instance(index) for index in down)
            found.append(Breach("quorum", f"{names} are held down at the same time"))
    return found


def _held_down(spec: ServiceSpec, world: World, pod: PodSpec) -> list[int]:
    return [
        index
        for index in range(pod.count)
        if held_down(spec, world, pod, index) and has_stood(spec, world, pod, index)
    ]


def _too_many(pod: PodSpec, down: Collection[int]) -> bool:
    """A single member has no others to be a majority with: a person may restart it."""
    return pod.recovery.quorum and pod.count > 1 and pod.count - len(down) < quorum_of(pod.count)


def _owners(world: World) -> list[Breach]:
    found = [
        Breach("owner", f"{home.key} lives on reservation {home.reservation_id}, unknown")
        for home in world.pods.values()
        if home.reservation_id not in world.reservations
    ]
    owners = Counter(home.reservation_id for home in world.pods.values())
    return found + [
        Breach("owner", f"reservation {id_} has {n} owners") for id_, n in owners.items() if n > 1
    ]
