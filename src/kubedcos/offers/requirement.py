"""What a pod instance asks of an agent, and what is known of the agents around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kubedcos.model.offer import Agent, millis_of
from kubedcos.model.service import PodSpec, TaskSpec, VolumeSpec

CLUSTER_LABEL = "kubedcos_cluster"
POD_LABEL = "kubedcos_pod"
TASK_LABEL = "kubedcos_task"
RESERVATION_LABEL = "kubedcos_reservation"

UNITS = {"cpus": "cpus", "mem": "MB of memory", "disk": "MB of disk", "ports": "ports"}
"""How amounts of a resource are called in sentences."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """Tasks of one pod instance that are to be launched together.

    Attributes:
        principal: for new reservations; empty when the framework does not authenticate.
        launch: names of the tasks to launch; the others of the pod run already or come later.
        pinned: agent id on which the instance has to be, because it lives there; empty if free.
        pinned_host: that agent's hostname, for sentences.
        reservation_id: a reservation that was asked for earlier; empty without.
        fresh_id: id for a new reservation; empty when only the earlier one will do.
        avoid: agent ids where it must not be, with the reason as a clause such as
            ``is what kube-node-1 leaves``.
    """

    cluster: str
    role: str
    principal: str
    pod: PodSpec
    index: int
    launch: tuple[str, ...]
    pinned: str = ""
    pinned_host: str = ""
    reservation_id: str = ""
    fresh_id: str = ""
    avoid: Mapping[str, str] = field(default_factory=dict)

    @property
    def pod_instance(self) -> str:
        """Name of the pod instance."""
        return self.pod.instance(self.index)

    @property
    def to_launch(self) -> tuple[TaskSpec, ...]:
        """The tasks to launch."""
        return tuple(task for task in self.pod.tasks if task.name in self.launch)

    @property
    def to_reserve(self) -> tuple[TaskSpec, ...]:
        """Tasks whose resources a new placement takes: all when the pod is reserved."""
        return self.pod.tasks if self.pod.reserved else self.to_launch

    def persistence_id(self, reservation_id: str, task: TaskSpec, volume: VolumeSpec) -> str:
        """Identity of a volume; a new reservation never sees the data of an old one."""
        return f"{self.cluster}.{self.pod_instance}.{task.name}.{volume.name}.{reservation_id}"

    def labels(self, reservation_id: str, task: TaskSpec) -> tuple[tuple[str, str], ...]:
        """Labels by which reserved resources of a task are found again."""
        return (
            (CLUSTER_LABEL, self.cluster),
            (POD_LABEL, self.pod_instance),
            (TASK_LABEL, task.name),
            (RESERVATION_LABEL, reservation_id),
        )


@dataclass(frozen=True, slots=True)
class KnownAgent:
    """An agent that offered before.

    Attributes:
        largest: most that it ever offered at once, in thousandths by resource name.
    """

    agent: Agent
    largest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What placement looks at besides the offer.

    Attributes:
        local_region: region of the masters; agents without a domain belong to it.
        agents: every agent known, offering or not.
        placed: agents by pod name and index of the instances that live there.
        held: by agent id and pod name, what instances of ours have of an agent, in thousandths by
            resource name: that much of `KnownAgent.largest` comes back only when they go.
    """

    local_region: str = ""
    agents: tuple[KnownAgent, ...] = ()
    placed: Mapping[tuple[str, int], Agent] = field(default_factory=dict)
    held: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)

    def region(self, agent: Agent) -> str:
        """Region of an agent as Mesos counts it."""
        return agent.region or self.local_region


def sums(tasks: tuple[TaskSpec, ...]) -> dict[str, int]:
    """What tasks need in all, in thousandths; volumes on other than the root disk excluded."""
    root = sum(volume.size_mb for task in tasks for volume in task.volumes if volume.disk == "ROOT")
    return {
        "cpus": sum(millis_of(task.cpus) for task in tasks),
        "mem": sum(task.mem_mb for task in tasks) * 1000,
        "disk": (sum(task.disk_mb for task in tasks) + root) * 1000,
        "ports": sum(len(port_numbers(task)) for task in tasks) * 1000,
    }


def largest_first(found: Iterable[Requirement]) -> list[Requirement]:
    """The order in which to place: what is hardest to place before what fits anywhere.

    What is bound to an agent comes first of all; requirements alike in size stay in their order.
    """
    weights: dict[tuple[int, tuple[str, ...]], int] = {}

    def ease(requirement: Requirement) -> tuple[bool, int]:
        # Instances of a pod by the thousand ask for the same. Whoever asks keeps the pod's id.
        asked = (id(requirement.pod), requirement.launch)
        weight = weights.get(asked)
        if weight is None:
            needed = sums(requirement.to_reserve)
            # A core weighs as much as 4 GiB, a common ratio of machines.
            weight = weights[asked] = needed["mem"] + 4096 * needed["cpus"]
        return not requirement.pinned, -weight

    return sorted(found, key=ease)


def port_numbers(task: TaskSpec) -> tuple[int, ...]:
    """Ports that a task takes, 0 for any; one number for two protocols is taken once."""
    fixed = {port.number for port in task.ports if port.number}
    return (*sorted(fixed), *(0 for port in task.ports if not port.number))
