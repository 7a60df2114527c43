"""What a Mesos has free for a cluster: the agents as placing on paper takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from kubedcos.mesos import messages as wire
from kubedcos.mesos.operator import AgentAmounts, Site
from kubedcos.model.offer import Agent, Resource, millis_of
from kubedcos.model.service import PodSpec, ServiceSpec, TaskSpec
from kubedcos.offers.capacity import Room
from kubedcos.scheduler import translate
from kubedcos.scheduler.world import World
from kubedcos.state.records import TaskRecord


@dataclass(frozen=True, slots=True)
class Held:
    """What a cluster that runs already holds of its agents.

    Attributes:
        placed: instances that stay as they are.
        given_back: what those that change let go of, by agent id.
    """

    placed: Mapping[tuple[str, int], Agent] = field(default_factory=dict)
    given_back: Mapping[str, tuple[Resource, ...]] = field(default_factory=dict)


def rooms(site: Site, held: Held | None = None) -> tuple[tuple[Room, ...], str]:
    """Agents with what they have free, and the masters' region."""
    back = held.given_back if held is not None else {}
    local_region, _ = translate.region_and_zone(site.domain)
    return tuple(_room(found, back) for found in site.agents), local_region


def held(world: World, service: ServiceSpec) -> Held:
    """What a running cluster holds, when it is to run `service` next."""
    placed: dict[tuple[str, int], Agent] = {}
    back: dict[str, tuple[Resource, ...]] = {}
    pods = {pod.name: pod for pod in service.pods}
    by_instance: dict[tuple[str, int], list[TaskRecord]] = {}
    for task in world.alive:
        by_instance.setdefault((task.pod, task.index), []).append(task)
    for (name, index), tasks in by_instance.items():
        pod = pods.get(name)
        if pod is not None and index in pod.indices and _unchanged(pod, tasks):
            placed[name, index] = tasks[0].agent
            continue
        agent = tasks[0].agent.id
        back[agent] = back.get(agent, ()) + tuple(part for t in tasks for part in _of(t))
    for home in world.pods.values():
        key = (home.pod, home.index)
        if home.confirmed and key not in by_instance and home.pod in pods:
            placed[key] = home.agent
    return Held(placed, back)


def _unchanged(pod: PodSpec, tasks: Iterable[TaskRecord]) -> bool:
    wanted = {task.name: _size(task) for task in pod.tasks}
    return all(wanted.get(task.spec.name) == _size(task.spec) for task in tasks)


def _size(task: TaskSpec) -> tuple[object, ...]:
    return task.cpus, task.mem_mb, task.disk_mb, task.volumes


def _of(task: TaskRecord) -> Iterable[Resource]:
    amounts = {"cpus": task.spec.cpus, "mem": task.spec.mem_mb, "disk": task.spec.disk_mb}
    for name, amount in amounts.items():
        yield Resource(name, millis_of(amount))
    numbers = sorted(set(task.ports.values()))
    if numbers:
        yield Resource("ports", ranges=tuple((number, number) for number in numbers))


def _room(found: AgentAmounts, back: Mapping[str, tuple[Resource, ...]]) -> Room:
    region, zone = translate.region_and_zone(found.info.domain)
    agent = Agent(
        id=found.info.id.value if found.info.id is not None else found.info.hostname,
        hostname=found.info.hostname,
        region=region,
        zone=zone,
        attributes=translate.attributes(found.info.attributes),
    )
    free = _parts(found.free)
    for part in back.get(agent.id, ()):
        free = _plus(free, part)
    return Room(agent, free, _parts(found.total))


def _parts(resources: Iterable[wire.Resource]) -> tuple[Resource, ...]:
    return tuple(part for found in resources if (part := translate.resource(found)) is not None)


def _plus(free: tuple[Resource, ...], part: Resource) -> tuple[Resource, ...]:
    """Free resources and one more that is nobody's, added to its like."""
    found = list(free)
    for at, have in enumerate(found):
        if (have.name, have.reservations, have.disk) == (part.name, (), part.disk):
            ranges = (*have.ranges, *part.ranges)
            found[at] = replace(have, millis=have.millis + part.millis, ranges=ranges)
            return tuple(found)
    return (*found, part)
