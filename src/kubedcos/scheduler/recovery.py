"""What was lost, how long it is waited for, and what is replaced then. Pure: looks at a `World`.

A component that dies is restarted in place, which is the plan's affair. Here it is about places:
agents that are out of reach, gone, drained or about to be maintained. Too much loss at once is a
broken network rather than so many broken machines, and nothing is replaced because of it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from kubedcos.model.offer import Agent
from kubedcos.model.service import PodSpec, ServiceSpec
from kubedcos.scheduler.invariants import has_stood, quorum_of
from kubedcos.scheduler.task_updates import OUT_OF_REACH
from kubedcos.scheduler.views import moment
from kubedcos.scheduler.world import World
from kubedcos.state.records import AgentRecord, RecoveryRecord, Replacement, TaskRecord

DRAINING: Final = "AGENT_DRAINING"
"""Mesos' reason for killing the tasks of an agent that an operator drains."""
GONE: Final = "TASK_GONE_BY_OPERATOR"
_AT_ONCE: Final = 600.0
"""Agents lost within so many seconds of each other vanished at once: Mesos removes agents at a
limited rate (``--agent_removal_rate_limit``), so that one cut shows as losses over minutes."""
_STALE: Final = 24 * 3600.0
"""An agent that was lost so many seconds ago says nothing about the network of today."""
_SETTLES: Final = 300.0
"""Agents of a network that was mended return one by one, for each tries to register but once a
minute (Mesos' ``REGISTER_RETRY_INTERVAL_MAX``): that some are back says nothing about the rest
before so many seconds have passed."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A pod instance whose place is lost or going.

    Attributes:
        agent: the place.
        since: when it was lost, in seconds since 1970.
        going: why it is certain that the place will not do any more; empty if it may come back.
        runs: the instance runs there for now: before planned maintenance.
    """

    pod: PodSpec
    index: int
    agent: Agent
    since: float
    going: str = ""
    runs: bool = False

    @property
    def instance(self) -> str:
        """Name of the pod instance."""
        return self.pod.instance(self.index)

    @property
    def until(self) -> float:
        """When its place is given up."""
        return self.since + self.pod.recovery.replace_after


@dataclass(frozen=True, slots=True)
class Assessment:
    """What recovery finds and wants.

    Attributes:
        wanted: records of pod instances that ought to be replaced, each with its reason, the one
            that was lost first in front. It is not stored before its turn comes: what is back by
            then is not replaced.
        waits: what a pod instance is waiting for, in a sentence, by its name.
        blocked: pod instances that must not be launched before they are replaced in due form.
        lost: until when a pod instance is waited for whose place may come back.
        held: why nothing is replaced at the moment; empty otherwise.
        quorum_lost: by pod, what is left of it and what restores it.
    """

    wanted: tuple[RecoveryRecord, ...] = ()
    waits: Mapping[str, str] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    lost: Mapping[str, float] = field(default_factory=dict)
    held: str = ""
    quorum_lost: Mapping[str, str] = field(default_factory=dict)


NOTHING_LOST = Assessment()


def assess(
    spec: ServiceSpec,
    world: World,
    now: float,
    has_elsewhere: Callable[[PodSpec, int, Agent], bool],
) -> Assessment:
    """Judge every loss.

    Args:
        spec: the service.
        world: what is known.
        now: seconds since 1970.
        has_elsewhere: whether there is any other agent that could take a pod instance; asked for
            instances that run well on an agent that is about to be maintained.
    """
    losses = sorted(_losses(spec, world, now), key=lambda loss: (loss.since, loss.instance))
    if not losses:
        return NOTHING_LOST
    held = vanished(world, now)
    without_quorum = _quorums_lost(spec, world, losses)
    wanted: list[RecoveryRecord] = []
    waits: dict[str, str] = {}
    blocked = set()
    for loss in losses:
        record = world.recovery_of(loss.pod.name, loss.index)
        move = record.replacement
        if loss.going and not loss.runs and (move is None or move.settled_at is None):
            blocked.add(loss.instance)
        if move is not None:
            continue
        hold = without_quorum.get(loss.pod.name, "")
        if not hold and not loss.going:
            hold = held or _cut_off(world, loss.agent, now)
            hold = hold or _quorum_settles(spec, world, losses, loss.pod, now)
        reason = _due(loss, now, hold)
        if reason and (not loss.runs or has_elsewhere(loss.pod, loss.index, loss.agent)):
            move = Replacement(reason, now, agent=loss.agent)
            wanted.append(replace(record, replacement=move))
        else:
            waits[loss.instance] = _waiting(loss, hold)
    lost = {loss.instance: loss.until for loss in losses if not loss.going}
    return Assessment(tuple(wanted), waits, frozenset(blocked), lost, held, without_quorum)


def vanished(world: World, now: float) -> str:
    """Why replacing pauses itself; empty unless more than a third of the agents vanished at once.

    A single machine is never a partition. Those that have just returned still count.
    """
    away = [at for found in world.agents.values() if (at := _away_since(found, now)) is not None]
    lost = sorted(at for at in away if now - at < _STALE)
    at_once = max(
        (bisect_right(lost, first + _AT_ONCE) - place for place, first in enumerate(lost)),
        default=0,
    )
    known = len(world.agents) - len(away) + len(lost)
    if at_once < 2 or 3 * at_once <= known:
        return ""
    return (
        f"{at_once} of {known} agents vanished at once, which looks like a broken network; nothing"
        " is replaced until they are back or marked gone in Mesos, or by `kubedcos pod replace`"
    )


def _away_since(found: AgentRecord, now: float) -> float | None:
    """Since when an agent is lost, or was until just now; None if it is there."""
    if found.lost_at is not None or found.returned_at is None:
        return found.lost_at
    return found.was_lost_at if 0 <= now - found.returned_at < _SETTLES else None


def _losses(spec: ServiceSpec, world: World, now: float) -> Iterator[Loss]:
    pods = {pod.name: pod for pod in spec.pods}
    seen: set[str] = set()
    tasks: dict[str, list[TaskRecord]] = {}
    going = world.maintained(spec.maintenance_lead, now)
    for task in world.tasks.values():
        if task.pod in pods and (_is_touched(task) or task.agent.id in going):
            tasks.setdefault(task.pod_instance, []).append(task)
    for instance, found in tasks.items():
        pod, index = pods[found[0].pod], found[0].index
        if (loss := _of_tasks(pod, index, found, going, now)) is not None:
            seen.add(instance)
            yield loss
    for instance, home in world.pods.items():
        if instance in seen or home.pod not in pods or world.of_pod(instance):
            continue
        since = _absent_since(world, instance, home.agent)
        if since is not None and home.confirmed:
            yield Loss(pods[home.pod], home.index, home.agent, since)


def _is_touched(task: TaskRecord) -> bool:
    if task.alive:
        return task.state in OUT_OF_REACH or task.reason == DRAINING
    return task.reason == DRAINING or task.state == GONE


def _of_tasks(
    pod: PodSpec, index: int, tasks: list[TaskRecord], going: Mapping[str, float], now: float
) -> Loss | None:
    for task in tasks:
        if task.reason == DRAINING:
            text = f"{task.agent.hostname} is drained"
            return Loss(pod, index, task.agent, task.state_at, text)
        if task.state == GONE:
            text = f"{task.agent.hostname} is gone, an operator says"
            return Loss(pod, index, task.agent, task.state_at, text)
    lost = [task for task in tasks if task.alive and task.state in OUT_OF_REACH]
    if lost:
        first = min(lost, key=lambda task: task.state_at)
        return Loss(pod, index, first.agent, first.state_at)
    alive = [task for task in tasks if task.alive and task.agent.id in going]
    if alive:
        agent = alive[0].agent
        text = f"{agent.hostname} is to be maintained from {moment(going[agent.id])}"
        return Loss(pod, index, agent, now, text, runs=True)
    return None


def _absent_since(world: World, instance: str, agent: Agent) -> float | None:
    """Since when the agent of a reservation is known, or presumed, to be away."""
    known = world.agents.get(agent.id)
    if known is not None and known.lost_at is not None:
        return known.lost_at
    record = world.recovery.get(instance)
    return record.absent_since if record is not None else None


def _quorums_lost(spec: ServiceSpec, world: World, losses: Sequence[Loss]) -> dict[str, str]:
    found = {}
    for pod in spec.pods:
        if not pod.recovery.quorum:
            continue
        members = _members(spec, world, pod)
        lost = _lost_of(losses, pod, members)
        left, needed = len(members) - len(lost), quorum_of(len(members))
        if not lost or left >= needed:
            continue
        hosts = ", ".join(sorted({loss.agent.hostname for loss in lost}))
        restore = f"; if not, `{spec.restore_command}` restores it" if spec.restore_command else ""
        found[pod.name] = (
            f"{pod.name} has lost its quorum: {left} of {len(members)} members are left, {needed}"
            f" are needed; it is whole again when {hosts} come back{restore}"
        )
    return found


def _members(spec: ServiceSpec, world: World, pod: PodSpec) -> set[int]:
    """Before all of them have stood, those that have are the whole ensemble."""
    return {index for index in pod.indices if has_stood(spec, world, pod, index)}


def _lost_of(losses: Sequence[Loss], pod: PodSpec, members: set[int]) -> list[Loss]:
    return [
        loss
        for loss in losses
        if loss.pod.name == pod.name and not loss.runs and loss.index in members
    ]


def _quorum_settles(
    spec: ServiceSpec, world: World, losses: Sequence[Loss], pod: PodSpec, now: float
) -> str:
    """Why a lost member is waited for although there is a quorum: there was none until just now.

    What has brought some members back may bring this one back, too, and moments later.
    """
    if not pod.recovery.quorum:
        return ""
    members = _members(spec, world, pod)
    away = {loss.index for loss in _lost_of(losses, pod, members)}
    back = sorted(
        at for index in members - away if (at := _back_since(world, pod, index, now)) is not None
    )
    missing = quorum_of(len(members)) - (len(members) - len(away) - len(back))
    if not 0 < missing <= len(back):
        return ""
    return (
        f"{pod.name} had lost its quorum until {moment(back[missing - 1])}: none of it is replaced"
        f" before {moment(back[missing - 1] + _SETTLES)}"
    )


def _back_since(world: World, pod: PodSpec, index: int, now: float) -> float | None:
    """Since when a member's agent is back; None if it was there all the time, or long enough."""
    alive, home = world.of_pod(pod.instance(index)), world.pods.get(pod.instance(index))
    agent = alive[0].agent if alive else home.agent if home is not None else None
    known = world.agents.get(agent.id) if agent is not None else None
    if known is None or _away_since(known, now) is None:
        return None
    return known.returned_at


def _cut_off(world: World, agent: Agent, now: float) -> str:
    """Why an agent's whole region counts as cut off; empty if some agent of it is there for good.

    It ends as it began, agent by agent, and nobody is to be given up for being the last.
    """
    region = [found for found in world.agents.values() if found.agent.region == agent.region]
    if not agent.region or len(region) < 2:
        return ""
    if any(_away_since(found, now) is None for found in region):
        return ""
    back = [found.returned_at for found in region if found.lost_at is None and found.returned_at]
    if back:
        return (
            f"region {agent.region} was cut off until {moment(min(back))}: what ran there is not"
            f" replaced before {moment(min(back) + _SETTLES)}"
        )
    return (
        f"region {agent.region} is cut off: none of its {len(region)} agents is in reach; what ran"
        " there is not replaced"
    )


def _due(loss: Loss, now: float, hold: str) -> str:
    """Why it is to be replaced now; empty when it is not."""
    if hold:
        return ""
    if loss.going:
        return loss.going
    if now < loss.until:
        return ""
    return f"{loss.agent.hostname} has been out of reach since {moment(loss.since)}"


def _waiting(loss: Loss, hold: str) -> str:
    if loss.going:
        return f"{loss.going}, and {hold or f'there is no other place for {loss.instance}'}"
    since = f"{loss.agent.hostname} is out of reach since {moment(loss.since)}"
    if hold:
        return f"{since}; {hold}"
    return f"{since}; waits for it until {moment(loss.until)}, then {loss.instance} is replaced"
