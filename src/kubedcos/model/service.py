"""What a framework runs: phases of pods of tasks, in the words of the DC/OS SDK.

The scheduler knows only these types; what a Kubernetes component is stands in
`kubedcos.kubernetes`, which builds a `ServiceSpec` from a cluster's options.

Units: CPUs as a fraction of a core with three decimals (Mesos' fixed point), memory and disk in
mebibytes, ports as numbers, times in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from kubedcos.model.constraint import Constraint


class Goal(StrEnum):
    """When a task has done what it is for."""

    RUNNING = "RUNNING"
    """It runs and its component says that it is ready; it is restarted when it ends."""
    FINISHED = "FINISHED"
    """It ended with success; it is not started again."""


class Strategy(StrEnum):
    """Order of the steps of a phase, or of the phases of a plan."""

    SERIAL = "serial"
    PARALLEL = "parallel"


class DiskKind(StrEnum):
    """Where a persistent volume lies (Mesos `DiskInfo.Source.Type`; ROOT has no source)."""

    ROOT = "ROOT"
    PATH = "PATH"
    MOUNT = "MOUNT"


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A port that a task needs on its agent, and how it is published in DiscoveryInfo.

    `number` 0 means: any port of the offer.
    """

    name: str
    number: int = 0
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class VolumeSpec:
    """A persistent volume of a pod instance, seen by its tasks as `container_path`."""

    name: str
    container_path: str
    size_mb: int
    disk: DiskKind = DiskKind.ROOT


@dataclass(frozen=True, slots=True)
class HealthCheckSpec:
    """A Mesos HTTP health check on the task's own host; a failing one makes Mesos kill the task.

    Any status from 200 to 399 is good, and certificates are not looked at: what answers on
    127.0.0.1 is not trusted for anything else.
    """

    port: int
    path: str
    scheme: str = "http"
    grace_seconds: float = 60.0
    interval_seconds: float = 10.0
    timeout_seconds: float = 10.0
    consecutive_failures: int = 5


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """One Mesos task of a pod.

    Attributes:
        name: component name within the pod, such as ``kubelet``.
        discovery_name: name for Mesos-DNS, in which ``{instance}`` stands for the pod instance;
            empty: pod instance and task name.
        kind: key by which the `Workload` knows how to launch and to probe it.
        cpu_is_limit: agents that cut CPU time (``--cgroups_enable_cfs``) cut it at `cpus`;
            otherwise the task may use what is idle beyond it, and needs an agent with the isolator
            ``cgroups/cpu``: others refuse such a task.
    """

    name: str
    kind: str
    cpus: float
    mem_mb: int
    disk_mb: int
    goal: Goal = Goal.RUNNING
    ports: tuple[PortSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    health_check: HealthCheckSpec | None = None
    cpu_is_limit: bool = True
    kill_grace_seconds: float = 10.0
    discovery_name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacementSpec:
    """Where the instances of a pod may run.

    Attributes:
        regions: allowed regions; empty means any. `local_region` wins over it.
        local_region: only in the masters' region (Mesos' "local region").
        unique_agent: at most one instance of this pod on an agent.
        apart_from: other pods none of whose instances may be on the same agent.
        spread_by: ``region`` or ``zone``: an instance goes where the fewest of its pod are, as
            long as such a place exists in the cluster; empty means no preference.
        proportional: "the fewest" is in proportion to the agents that could hold an instance.
        attributes: agent attributes that must have these text values.
        rules: Marathon's constraints; all must hold.
    """

    regions: tuple[str, ...] = ()
    local_region: bool = False
    unique_agent: bool = True
    apart_from: tuple[str, ...] = ()
    spread_by: str = ""
    proportional: bool = False
    attributes: Mapping[str, str] = field(default_factory=dict)
    rules: tuple[Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class RecoverySpec:
    """When and how fast instances of a pod are replaced elsewhere.

    Attributes:
        quorum: a majority of the instances must be healthy for any of them to be of use; nothing
            is done that would leave fewer.
        group: pods of one group share their limits; empty: the pod is a group of its own.
        replace_after: seconds for which the agent may be out of reach before the place is given up.
        most_at_once: replacements of the group that may be under way at the same time.
        gap: least seconds between the beginnings of two replacements of the group.
    """

    quorum: bool = False
    group: str = ""
    replace_after: float = 1200.0
    most_at_once: int = 1
    gap: float = 60.0


@dataclass(frozen=True, slots=True)
class PodSpec:
    """A kind of pod and how many instances of it there are.

    Tasks of one pod instance are placed on one agent and launched in one ACCEPT.
    `instance(2)` of a pod ``kube-node`` is called ``kube-node-2``.

    Attributes:
        role: Mesos role whose offers it takes; empty means the service's.
        numbers: indices of the instances where they are not 0 to `count` - 1: instances that were
            removed by name leave gaps, and nobody is renumbered.
        emptied: the workload empties an instance before an update restarts it, and takes it back
            into use afterwards: a Kubernetes node is drained.
    """

    name: str
    count: int
    tasks: tuple[TaskSpec, ...]
    placement: PlacementSpec = PlacementSpec()
    recovery: RecoverySpec = RecoverySpec()
    role: str = ""
    numbers: tuple[int, ...] = ()
    emptied: bool = False

    @property
    def indices(self) -> tuple[int, ...]:
        """Index of each instance, ascending."""
        return self.numbers or tuple(range(self.count))

    def instance(self, index: int) -> str:
        """Name of instance `index`."""
        return f"{self.name}-{index}"

    @property
    def reserved(self) -> bool:
        """Whether the resources are reserved: pods with persistent volumes stay on their agent."""
        return any(task.volumes for task in self.tasks)


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step: start these tasks of one pod instance together and wait until they are ready."""

    name: str
    pod: str
    index: int
    tasks: tuple[str, ...]

    @property
    def pod_instance(self) -> str:
        """Name of the pod instance, such as ``kube-node-2``."""
        return f"{self.pod}-{self.index}"


@dataclass(frozen=True, slots=True)
class PhaseSpec:
    """Steps that belong together.

    Attributes:
        at_once: how many of its pod instances an update may have down at the same time.
    """

    name: str
    strategy: Strategy
    steps: tuple[StepSpec, ...]
    at_once: int = 1


@dataclass(frozen=True, slots=True)
class PlanSpec:
    """Phases in their order; a plan's own strategy is serial."""

    name: str
    phases: tuple[PhaseSpec, ...]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Everything that one framework runs.

    Attributes:
        name: the framework's name, and the cluster's.
        role: Mesos role of its pods, but for those that name one.
        maintenance_lead: seconds before planned maintenance of an agent at which it is vacated.
        restore_command: what a person runs when a quorum is lost for good; empty: nothing does.
        target: number of the configuration that all this follows from; tasks are launched with it.
        outdated: for tasks that were launched with an earlier configuration and have to be started
            anew: configuration, pod and task name to the reason.
    """

    name: str
    role: str
    pods: tuple[PodSpec, ...]
    plans: tuple[PlanSpec, ...]
    maintenance_lead: float = 3600.0
    restore_command: str = ""
    target: int = 0
    outdated: Mapping[tuple[int, str, str], str] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles to subscribe with, the service's own first."""
        return tuple(dict.fromkeys([self.role, *(pod.role for pod in self.pods if pod.role)]))

    def pod(self, name: str) -> PodSpec:
        """The pod called `name`.

        Raises:
            KeyError: no such pod.
        """
        for pod in self.pods:
            if pod.name == name:
                return pod
        raise KeyError(name)
