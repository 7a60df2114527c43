"""Faults as plain data, and a schedule of them made from a seed.

A schedule is all that a run depends on. It prints as the Python that makes it again, and any part
of it can be left out, so that a failing one can be made smaller.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

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
    """An operator asks for something: `verb` is ``restart``, ``replace`` or ``pause``.

    What was paused is resumed after `lasts` seconds.
    """

    at: float
    lasts: float
    verb: str
    pod: str


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
    | StoreFails
    | StoreSlow
    | ClockJumps
    | TaskEnds
    | CrashLoop
    | NotReady
    | NoCommand
    | Operator
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


Make = Callable[[random.Random, Setting, float], Fault]

_ENDS: Final = ("TASK_FAILED", "TASK_KILLED", "TASK_FINISHED")
_SHORT: Final = (2.0, 40.0)
"""Shorter than Mesos needs to give an agent up: five pings of 15 seconds."""
_LONG: Final = (90.0, 400.0)


def _messages(chance: random.Random, _: Setting, at: float) -> Fault:
    kinds: tuple[Trouble, ...] = (
        Trouble(lose=chance.choice((0.1, 0.4))),
        Trouble(double=0.5, late=chance.choice((0.0, 5.0, 30.0))),
        Trouble(late=chance.choice((1.0, 10.0, 60.0))),
        Trouble(lag=chance.choice((0.5, 5.0, 20.0))),
        Trouble(lose_calls=chance.choice((0.05, 0.3))),
        Trouble(slow_calls=chance.choice((0.5, 8.0))),
        Trouble(break_calls=chance.choice((0.02, 0.2))),
        Trouble(refuse_calls=chance.choice((0.02, 0.2))),
        Trouble(0.1, 0.1, 3.0, 0.2, 0.05, 0.2, 0.01),
    )
    return Messages(at, round(chance.uniform(10, 120), 1), chance.choice(kinds))


def _lasting(chance: random.Random) -> float:
    return round(chance.uniform(*chance.choice((_SHORT, _SHORT, _LONG))), 1)


def _gone(chance: random.Random, setting: Setting, at: float) -> Fault:
    told = chance.choice((1.0, 30.0, 150.0))
    return AgentGone(at, round(told + chance.uniform(1, 60), 1), chance.choice(setting.hosts), told)


def _task_ends(chance: random.Random, setting: Setting, at: float) -> Fault:
    healthy = chance.choice((None, None, False))
    return TaskEnds(at, chance.choice(setting.tasks), chance.choice(_ENDS), healthy)


def _operator(chance: random.Random, setting: Setting, at: float) -> Fault:
    verb = chance.choice(("restart", "restart", "replace", "pause"))
    return Operator(at, _lasting(chance), verb, chance.choice(setting.pods))


_MAKERS: Final[tuple[tuple[int, Make], ...]] = (
    (4, _messages),
    (2, lambda _c, _s, at: ConnectionBreaks(at)),
    (1, lambda c, _s, at: SchedulerCut(at, _lasting(c))),
    (2, lambda c, _s, at: OffersRescinded(at, c.choice((0.3, 1.0)))),
    (3, lambda c, s, at: AgentCut(at, _lasting(c), c.choice(s.hosts))),
    (1, lambda c, s, at: AgentSlow(at, _lasting(c), c.choice(s.hosts), c.choice((0.5, 3.0, 12.0)))),
    (2, lambda c, s, at: AgentRebooted(at, _lasting(c), c.choice(s.hosts))),
    (1, _gone),
    (1, lambda c, s, at: AgentDrained(at, _lasting(c), c.choice(s.hosts), c.random() < 0.3)),
    (2, lambda c, _s, at: RegionCut(at, _lasting(c), c.choice(("dc-a", "dc-b")))),
    (2, lambda c, _s, at: MasterEnds(at, round(c.uniform(0.1, 40), 1))),
    (5, lambda c, _s, at: SchedulerKilled(at, round(c.uniform(0, 30), 1), c.randint(1, 40))),
    (1, lambda c, _s, at: StoreFails(at, round(c.uniform(1, 60), 1))),
    (1, lambda c, _s, at: StoreSlow(at, round(c.uniform(5, 60), 1), c.choice((0.05, 1.0, 4.0)))),
    (1, lambda c, _s, at: ClockJumps(at, c.choice((-7200.0, -30.0, 5.0, 300.0, 90000.0)))),
    (4, _task_ends),
    (1, lambda c, s, at: CrashLoop(at, round(c.uniform(10, 200), 1), c.choice(s.tasks))),
    (1, lambda c, s, at: NotReady(at, _lasting(c), c.choice(s.tasks), c.random() < 0.5)),
    (1, lambda c, s, at: NoCommand(at, _lasting(c), c.choice(s.tasks))),
    (3, _operator),
    (1, lambda c, s, at: Stranger(at, c.choice(s.hosts), c.random() < 0.5)),
)


def schedule(seed: int) -> Schedule:
    """The schedule of a seed: some faults, more of them close together the more there are."""
    chance = random.Random(seed)
    etcd = chance.choice((1, 1, 3))
    setting = Setting(
        etcd=etcd,
        nodes=chance.randint(1, 3),
        local=etcd + chance.randint(1, 2),
        remote=chance.randint(1, 3),
        runs_after=chance.choice((0.1, 0.5, 3.0)),
        ready_after=chance.choice((0.0, 1.0, 8.0)),
        replace_after=chance.choice((100.0, 300.0, 1200.0)),
        delete=chance.choice((None, None, round(chance.uniform(0, 60), 1))),
    )
    within = chance.choice((20.0, 60.0, 200.0, 600.0))
    count = min(1 + int(chance.expovariate(0.25)), 14)
    weights = [weight for weight, _ in _MAKERS]
    made: list[Fault] = []
    for _ in range(count):
        [(_, make)] = chance.choices(_MAKERS, weights)
        made.append(make(chance, setting, round(chance.uniform(0, within), 2)))
    made.sort(key=lambda fault: fault.at)
    return Schedule(seed, setting, _survivable(setting, made))


def _survivable(setting: Setting, found: Sequence[Fault]) -> tuple[Fault, ...]:
    """Less the machines whose loss is the loss of a quorum for good: only a backup helps then."""
    spare = (setting.etcd - 1) // 2
    kept: list[Fault] = []
    for fault in found:
        deadly = isinstance(fault, AgentGone) or (isinstance(fault, AgentDrained) and fault.gone)
        if deadly and fault.host.startswith("a"):
            if not spare:
                continue
            spare -= 1
        kept.append(fault)
    return tuple(kept)


def without(found: Schedule, faults: Sequence[int]) -> Schedule:
    """The schedule less the faults at these places."""
    kept = tuple(fault for at, fault in enumerate(found.faults) if at not in faults)
    return Schedule(found.seed, found.setting, kept)
