"""Faults as plain data, and schedules of them; `generator` makes one from a seed.

A schedule is all that a run depends on. It prints as the Python that makes it again, and any part
of it can be left out, so that a failing one can be made smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .link import Trouble


@dataclass(frozen=True, slots=True)
class Messages:
    """Messages between scheduler and master have trouble."""

    at: float
    lasts: float
    trouble: Trouble


@dataclass(frozen=True, slots=True)
class ConnectionBreaks:
    """The scheduler's connection to the master breaks."""

    at: float


@dataclass(frozen=True, slots=True)
class SchedulerCut:
    """Nothing passes between the scheduler and the master; neither is told."""

    at: float
    lasts: float


@dataclass(frozen=True, slots=True)
class OffersRescinded:
    """The master takes offers back, each with probability `share`."""

    at: float
    share: float


@dataclass(frozen=True, slots=True)
class AgentCut:
    """An agent is out of reach; its tasks run on."""

    at: float
    lasts: float
    host: str


@dataclass(frozen=True, slots=True)
class AgentSlow:
    """Messages between an agent and the master take so many seconds each way."""

    at: float
    lasts: float
    host: str
    seconds: float


@dataclass(frozen=True, slots=True)
class AgentRebooted:
    """A machine starts anew and loses its tasks; `lasts` until it is back."""

    at: float
    lasts: float
    host: str


@dataclass(frozen=True, slots=True)
class AgentGone:
    """A machine is no more; an operator says so after `told` seconds, then a new one comes."""

    at: float
    lasts: float
    host: str
    told: float


@dataclass(frozen=True, slots=True)
class AgentDrained:
    """An operator drains an agent and reactivates it; with `gone` a new machine comes instead."""

    at: float
    lasts: float
    host: str
    gone: bool


@dataclass(frozen=True, slots=True)
class RegionCut:
    """A whole data centre is out of reach."""

    at: float
    lasts: float
    region: str


@dataclass(frozen=True, slots=True)
class MasterEnds:
    """The leading master ends, and another one leads after `lasts` seconds."""

    at: float
    lasts: float


@dataclass(frozen=True, slots=True)
class SchedulerKilled:
    """The scheduler is killed at the effect number `effect` after `at`; `lasts` until it is back.

    Effects are what others can see: writes to the store and calls to Mesos, before and after each.
    """

    at: float
    lasts: float
    effect: int


@dataclass(frozen=True, slots=True)
class Rival:
    """The scheduler that leads is cut off from ZooKeeper and runs on; soon another one leads."""

    at: float


@dataclass(frozen=True, slots=True)
class ZooKeeperCut:
    """No scheduler reaches ZooKeeper; whether its session outlives that is a matter of time."""

    at: float
    lasts: float


@dataclass(frozen=True, slots=True)
class StoreFails:
    """Every write to the store fails: the disk is full, or ZooKeeper has no quorum."""

    at: float
    lasts: float


@dataclass(frozen=True, slots=True)
class StoreSlow:
    """Every write to the store blocks for so many seconds."""

    at: float
    lasts: float
    seconds: float


@dataclass(frozen=True, slots=True)
class ClockJumps:
    """The scheduler's wall clock jumps."""

    at: float
    by: float


@dataclass(frozen=True, slots=True)
class TaskEnds:
    """A task ends by itself; `state` is Mesos' word."""

    at: float
    task: str
    state: str
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class CrashLoop:
    """Every task of a name ends soon after it began to run."""

    at: float
    lasts: float
    task: str


@dataclass(frozen=True, slots=True)
class NotReady:
    """A component says that it is not ready, or says nothing at all."""

    at: float
    lasts: float
    task: str
    silent: bool


@dataclass(frozen=True, slots=True)
class NoCommand:
    """No command can be made for a task: a certificate is missing, or the like."""

    at: float
    lasts: float
    task: str


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator asks for something.

    `verb` is ``restart``, ``replace``, ``reconsider`` or ``pause``. After `lasts` seconds what was
    paused is resumed, and a replacement that is reconsidered is taken back.
    """

    at: float
    lasts: float
    verb: str
    pod: str


@dataclass(frozen=True, slots=True)
class Update:
    """An operator changes the cluster's options, and the scheduler begins anew with them.

    Attributes:
        nodes: how many Kubernetes nodes there are to be; None: as many as before.
        pods: names of pods whose tasks have other options from now on.
        larger: these tasks get more CPU and memory than at first; else what they had at first.
        grows: the cluster becomes highly available, and stays so.
    """

    at: float
    nodes: int | None = None
    pods: tuple[str, ...] = ()
    larger: bool = False
    grows: bool = False


@dataclass(frozen=True, slots=True)
class PlanVerb:
    """An operator asks something of plan ``deploy``, of a phase or a step of it.

    What was paused is resumed after `lasts` seconds, what was stopped is started, and what was
    taken for complete is done after all.
    """

    at: float
    lasts: float
    verb: str
    phase: str = ""
    step: str = ""


@dataclass(frozen=True, slots=True)
class Stranger:
    """Mesos has a task of ours that the scheduler never heard of."""

    at: float
    host: str
    silent: bool


Fault = (
    Messages
    | ConnectionBreaks
    | SchedulerCut
    | OffersRescinded
    | AgentCut
    | AgentSlow
    | AgentRebooted
    | AgentGone
    | AgentDrained
    | RegionCut
    | MasterEnds
    | SchedulerKilled
    | Rival
    | ZooKeeperCut
    | StoreFails
    | StoreSlow
    | ClockJumps
    | TaskEnds
    | CrashLoop
    | NotReady
    | NoCommand
    | Operator
    | Update
    | PlanVerb
    | Stranger
)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the faults happen.

    Attributes:
        etcd: members.
        nodes: Kubernetes nodes.
        local: agents in the masters' region, ``a1`` and on.
        remote: agents in the other one, ``b1`` and on.
        runs_after: seconds from launch to TASK_RUNNING.
        ready_after: seconds from the first probe to readiness.
        replace_after: seconds after which what a lost agent held is replaced elsewhere.
        delete: at the end the cluster is deleted; the number is of seconds after the last fault
            began, or None for: when everything is complete again.
    """

    etcd: int = 1
    nodes: int = 2
    local: int = 4
    remote: int = 2
    runs_after: float = 0.5
    ready_after: float = 1.0
    replace_after: float = 1200.0
    delete: float | None = None

    @property
    def hosts(self) -> tuple[str, ...]:
        """Host names of all agents."""
        local = (f"a{number}" for number in range(1, self.local + 1))
        return (*local, *(f"b{number}" for number in range(1, self.remote + 1)))

    @property
    def pods(self) -> tuple[str, ...]:
        """Names of all pod instances."""
        etcd = (f"etcd-{index}" for index in range(self.etcd))
        nodes = (f"kube-node-{index}" for index in range(self.nodes))
        return (*etcd, "kube-apiserver-0", *nodes)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of all tasks, as Mesos shows them."""
        names = [f"etcd-{index}-peer" for index in range(self.etcd)]
        names += ["kube-apiserver-0-instance", "bindings-0-apply"]
        for index in range(self.nodes):
            names += [f"kube-node-{index}-{task}" for task in ("kubelet", "proxy", "dns")]
        return (*names, "addons-0-web", "addons-0-metrics")


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that a run depends on."""

    seed: int
    setting: Setting = Setting()
    faults: tuple[Fault, ...] = ()

    @property
    def text(self) -> str:
        """The Python that makes it again, a fault a line."""
        faults = "".join(f"        {fault!r},\n" for fault in self.faults)
        body = f"        seed={self.seed},\n        setting={self.setting!r},\n"
        return f"Schedule(\n{body.replace('        ', '    ')}    faults=(\n{faults}    ),\n)"


def without(found: Schedule, faults: Sequence[int]) -> Schedule:
    """The schedule less the faults at these places."""
    kept = tuple(fault for at, fault in enumerate(found.faults) if at not in faults)
    return Schedule(found.seed, found.setting, kept)
