"""Makes a schedule of faults from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from .faults import (
    AgentCut,
    AgentDrained,
    AgentGone,
    AgentRebooted,
    AgentSlow,
    ClockJumps,
    ConnectionBreaks,
    CrashLoop,
    Fault,
    MasterEnds,
    Messages,
    NoCommand,
    NotReady,
    OffersRescinded,
    Operator,
    PlanVerb,
    RegionCut,
    Rival,
    Schedule,
    SchedulerCut,
    SchedulerKilled,
    Setting,
    StoreFails,
    StoreSlow,
    Stranger,
    TaskEnds,
    Update,
    ZooKeeperCut,
)
from .link import Trouble
from .stage import service

Make = Callable[[random.Random, Setting, float], Fault]

_ENDS: Final = ("TASK_FAILED", "TASK_KILLED", "TASK_FINISHED")
_SHORT: Final = (2.0, 40.0)
"""Shorter than Mesos needs to give an agent up: five pings of 15 seconds."""
_LONG: Final = (90.0, 400.0)
_GROWS: Final = 0.25
"""How many of the clusters that are not highly available become so."""
_RIVALS: Final = 0.2
"""In how many runs another scheduler takes over while the former one lives."""
_ZOOKEEPER_CUTS: Final = 0.2
"""In how many runs ZooKeeper is out of reach for a while."""
_SECOND_THOUGHTS: Final = 0.1
"""In how many runs an operator has something replaced and takes that back."""
_PODS: Final = ("etcd", "kube-apiserver", "bindings", "kube-node", "addons")


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


def _update(chance: random.Random, setting: Setting, at: float) -> Fault:
    pods = chance.sample(_PODS, chance.choice((0, 1, 1, 2, 5)))
    nodes = None if pods and chance.random() < 0.5 else chance.randint(1, len(setting.hosts))
    return Update(at, nodes, tuple(pods), chance.random() < 0.5)


def _plan_verb(chance: random.Random, setting: Setting, at: float) -> Fault:
    verb = chance.choice(("pause", "pause", "restart", "restart", "complete", "stop", "start"))
    phase, step = chance.choice(_steps(setting))
    depth = 0 if verb in ("stop", "start") else chance.randint(0, 2)
    named = ((), (phase,), (phase, step))[depth]
    return PlanVerb(at, _lasting(chance), verb, *named)


def _steps(setting: Setting) -> list[tuple[str, str]]:
    """Phases and steps of the plan as it is at first."""
    [plan] = service(setting.nodes, setting.etcd).plans
    return [(phase.name, step.name) for phase in plan.phases for step in phase.steps]


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
    (3, _update),
    (2, _plan_verb),
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
    # Last, so that seeds in which it does not happen are what they were before there was this.
    if etcd == 1 and chance.random() < _GROWS:
        made.append(Update(round(chance.uniform(0, within), 2), grows=True))
        setting = replace(setting, local=setting.local + 2)
    if chance.random() < _RIVALS:
        made.append(Rival(round(chance.uniform(0, within), 2)))
    if chance.random() < _ZOOKEEPER_CUTS:
        # Half of them are too short for a session to end.
        lasts = chance.uniform(*chance.choice(((0.5, 5.9), (6.0, 40.0))))
        made.append(ZooKeeperCut(round(chance.uniform(0, within), 2), round(lasts, 1)))
    if chance.random() < _SECOND_THOUGHTS:
        at, lasts = round(chance.uniform(0, within), 2), round(chance.uniform(0.1, 30), 1)
        made.append(Operator(at, lasts, "reconsider", chance.choice(setting.pods)))
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
