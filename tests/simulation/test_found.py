"""Defects that seeds have found, each with the smallest schedule that showed it.

The number is that of the seed; later changes of the generator give it another schedule, so the
schedule itself is kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from .drill import run
from .faults import (
    AgentCut,
    AgentDrained,
    AgentGone,
    AgentRebooted,
    ClockJumps,
    CrashLoop,
    Fault,
    MasterEnds,
    Messages,
    Operator,
    PlanVerb,
    RegionCut,
    Schedule,
    SchedulerKilled,
    Setting,
    Stranger,
    TaskEnds,
    Update,
)
from .link import Trouble


@dataclass(frozen=True, slots=True)
class Found:
    """A defect."""

    name: str
    seed: int
    setting: Setting
    faults: tuple[Fault, ...]


FOUND = (
    # Nobody was replaced as long as others were no majority, also when there had never been one.
    Found(
        "a member that was gone before etcd had ever stood",
        2052,
        Setting(etcd=3, nodes=2, local=5, remote=3, runs_after=3, ready_after=8, replace_after=100),
        (AgentGone(at=9.55, lasts=46.8, host="a1", told=1.0),),
    ),
    Found(
        "the next member, gone before it had ever stood, which the one after it waited for",
        2052,
        Setting(etcd=3, nodes=2, local=5, remote=3, runs_after=3, ready_after=8, replace_after=100),
        (AgentGone(at=25.0, lasts=46.8, host="a2", told=1.0),),
    ),
    # A restart that had been granted was carried out as soon as there was a master again, although
    # another member had ended meanwhile: nobody had asked Mesos yet.
    Found(
        "a member that was ended on old news of the others",
        711,
        Setting(etcd=3, nodes=2, local=5, remote=3, replace_after=100.0),
        (
            MasterEnds(at=19.88, lasts=6.1),
            Operator(at=21.62, lasts=9.8, verb="restart", pod="etcd-1"),
            TaskEnds(at=26.38, task="etcd-2-peer", state="TASK_KILLED", healthy=None),
        ),
    ),
    # An agent that never got a launch with its reservation was refused by the master for ever,
    # because it did not have what the task was to use. Later the reservation of that launch, which
    # had never come to be, was asked for as long as its pod instance ran on the same agent.
    Found(
        "a launch that was lost together with its reservation",
        5,
        Setting(etcd=3, nodes=1, local=5, remote=3, runs_after=3.0, ready_after=8.0),
        (RegionCut(at=7.93, lasts=10.0, region="dc-a"),),
    ),
    # The only etcd member waited for ever for an agent that had been reactivated long ago.
    Found(
        "an agent that was drained and reactivated",
        55,
        Setting(etcd=1, nodes=1, local=2, remote=3, ready_after=0.0),
        (AgentDrained(at=143.82, lasts=39.6, host="a1", gone=False),),
    ),
    # A call that a proxy in front of the master refused ended the scheduler.
    Found(
        "calls that are refused",
        2,
        Setting(etcd=1, nodes=1),
        (Messages(at=0.0, lasts=60.0, trouble=Trouble(refuse_calls=0.3)),),
    ),
    # After a failure the next attempt waited for a moment that lay a day ahead.
    Found(
        "a clock that is set back after a failure",
        2,
        Setting(etcd=1, nodes=1),
        (CrashLoop(30.0, 100.0, "kube-apiserver-0-instance"), ClockJumps(128.0, -90000.0)),
    ),
    Found(
        "a silent task that nobody knows during a delete",
        7,
        Setting(etcd=1, nodes=1, local=3, remote=3, runs_after=0.1, ready_after=0.0, delete=5.6),
        (Stranger(at=2.36, host="b1", silent=True),),
    ),
    # Mesos takes more than a minute to notice that an agent is out of reach. Until then its member
    # counted as one that works; now the members themselves are asked before one of them ends.
    Found(
        "a restart while a member is out of reach and Mesos has not noticed",
        1179,
        Setting(
            etcd=3, nodes=1, local=4, remote=3, runs_after=3.0, ready_after=8.0, replace_after=100.0
        ),
        (
            AgentCut(at=39.15, lasts=35.7, host="a1"),
            Operator(at=57.59, lasts=29.4, verb="restart", pod="etcd-2"),
        ),
    ),
    # It was not to return to what it leaves, although the agent was reactivated and no other free.
    Found(
        "a node that moves from a drained agent and has nowhere else to go",
        1421,
        Setting(nodes=3, local=2, remote=1, ready_after=0.0, replace_after=100.0),
        (AgentDrained(at=59.37, lasts=222.3, host="a2", gone=False),),
    ),
    # An add-on that had grown found no room where it had run. Its move elsewhere was over at once,
    # because what had ended well before counted, and it was to run where it had run again.
    Found(
        "an add-on that needs more than is left where it ran",
        103,
        Setting(etcd=1, nodes=1, local=4, remote=3, runs_after=0.1, ready_after=8.0),
        (
            Update(
                at=100.0,
                pods=("kube-node", "kube-apiserver", "bindings", "addons", "etcd"),
                larger=True,
            ),
        ),
    ),
    # The first of three members was to be restarted, and stayed for the sake of a quorum that there
    # had never been; the others waited for it.
    Found(
        "a plan that is stopped and started while it stages the first member",
        233,
        Setting(etcd=3, nodes=1, local=4, remote=3, runs_after=0.1),
        (PlanVerb(at=2.88, lasts=308.4, verb="stop"),),
    ),
    # The plan was done again while an update was restarting another member, whose KILL was lost.
    Found(
        "a plan that is restarted while an update goes through the members",
        487,
        Setting(etcd=3, nodes=1, local=5, remote=1, runs_after=0.1, ready_after=1.0),
        (
            Operator(at=43.53, lasts=23.0, verb="restart", pod="kube-apiserver-0"),
            Messages(
                at=47.2,
                lasts=81.7,
                trouble=Trouble(
                    lose=0.1,
                    double=0.1,
                    late=3.0,
                    lag=0.2,
                    lose_calls=0.05,
                    slow_calls=0.2,
                    break_calls=0.01,
                ),
            ),
            Update(
                at=73.73,
                nodes=5,
                pods=("addons", "etcd", "kube-node", "bindings", "kube-apiserver"),
                larger=True,
            ),
            PlanVerb(at=93.7, lasts=34.5, verb="restart"),
        ),
    ),
    # Room that a node's tasks had left, which were believed to run still, was taken for proof that
    # the offer of a lost release was not open any more.
    Found(
        "a release that was lost while other tasks on its agent ended",
        1079,
        Setting(etcd=3, nodes=3, local=5, remote=1, runs_after=3.0, ready_after=0.0, delete=51.7),
        (
            Stranger(at=15.87, host="b1", silent=False),
            MasterEnds(at=25.98, lasts=5.6),
            Messages(at=30.71, lasts=57.3, trouble=Trouble(lose_calls=0.3)),
            Update(at=46.4, nodes=5, pods=(), larger=False),
            Operator(at=46.51, lasts=154.9, verb="replace", pod="etcd-2"),
            AgentCut(at=53.46, lasts=22.5, host="b1"),
        ),
    ),
    # What was lost was a launch: its offer with the reservation stayed open, and nothing was known
    # of that when the cluster was deleted.
    Found(
        "a reservation in the offer of a lost launch",
        11282,
        Setting(etcd=1, nodes=1, local=2, remote=2, runs_after=0.5, ready_after=0.0, delete=36.3),
        (
            Messages(at=4.48, lasts=34.9, trouble=Trouble(lose_calls=0.3)),
            Update(at=19.46, nodes=1, pods=("etcd",), larger=False),
        ),
    ),
    # It was drained and had just ended for an update when it was not wanted any more: nobody
    # deleted its node.
    Found(
        "a node that is taken away while it restarts",
        11144,
        Setting(etcd=1, nodes=1, local=5, remote=1, runs_after=0.5, ready_after=0.0),
        (
            Update(at=27.87, nodes=5, pods=(), larger=True),
            Update(at=35.84, nodes=None, pods=("kube-node",), larger=True),
            RegionCut(at=52.04, lasts=8.0, region="dc-a"),
            Update(at=55.95, nodes=1, pods=(), larger=False),
        ),
    ),
    # The first member was wanted down for a restart, and stayed for the quorum's sake, because the
    # second was gone for good; that was not replaced, because the first one was wanted down.
    Found(
        "a plan that is started again when a member is gone",
        2956,
        Setting(etcd=3, nodes=1, local=4, remote=1, runs_after=0.1, ready_after=1.0),
        (
            PlanVerb(at=363.43, lasts=224.0, verb="stop"),
            AgentGone(at=575.48, lasts=78.8, host="a2", told=30.0),
        ),
    ),
    # The first member waited for the second one to come back, which was to be launched after it.
    Found(
        "an update before all members have stood, and the next one is lost",
        2074,
        Setting(etcd=3, nodes=1, local=4, remote=3, runs_after=0.1, ready_after=0.0),
        (
            Update(
                at=1.56,
                nodes=4,
                pods=("kube-apiserver", "addons", "etcd", "kube-node", "bindings"),
                larger=True,
            ),
            AgentCut(at=4.73, lasts=246.8, host="a2"),
            Update(
                at=19.34,
                nodes=None,
                pods=("addons", "bindings", "kube-apiserver", "etcd", "kube-node"),
                larger=True,
            ),
        ),
    ),
    # The UNRESERVE was answered with 202 and lost; its offer stayed open at the master. What
    # the agent offered meanwhile was the rest of it, which looked as if the reservation were gone.
    Found(
        "a release that was answered with 202 and lost",
        456,
        Setting(local=5, nodes=1, ready_after=8.0, replace_after=100.0, delete=37.0),
        (Messages(at=3.03, lasts=49.9, trouble=Trouble(lose_calls=0.3)),),
    ),
    # An update begins the scheduler anew. It had the wall clock alone then to tell for how long an
    # agent had been away, and that had been set.
    Found(
        "an update after the clock was set, while an agent is away",
        3384,
        Setting(
            etcd=1,
            nodes=1,
            local=2,
            remote=1,
            runs_after=3.0,
            ready_after=0.0,
            replace_after=300.0,
        ),
        (
            AgentCut(at=204.0, lasts=354.4, host="a1"),
            ClockJumps(at=294.04, by=300.0),
            Update(at=471.94, nodes=1, pods=(), larger=False),
        ),
    ),
    # A move that etcd does not allow, for want of a quorum, had no way back: the member could start
    # again where it was, its agent was back, and with it there was a quorum for the other one.
    Found(
        "a member that is moved by hand while its agent restarts, and another one is gone",
        6261,
        Setting(etcd=3, nodes=3, local=5, remote=2, runs_after=0.1, ready_after=0.0),
        (
            AgentGone(at=1.07, lasts=183.3, host="a1", told=150.0),
            AgentRebooted(at=10.52, lasts=291.6, host="a3"),
            Operator(at=15.67, lasts=17.6, verb="replace", pod="etcd-2"),
        ),
    ),
    # Nobody tells a scheduler that was away at that moment that an agent without tasks of it is
    # gone. A reservation there stayed on its books, though not in Mesos.
    Found(
        "a reservation of an agent that was marked gone behind the scheduler's back",
        10755,
        Setting(etcd=3, nodes=2, local=4, remote=2, runs_after=0.5, ready_after=8.0),
        (
            Operator(at=2.54, lasts=21.4, verb="pause", pod="etcd-0"),
            AgentDrained(at=11.07, lasts=231.5, host="a1", gone=True),
            MasterEnds(at=15.53, lasts=39.4),
        ),
    ),
    # For the same reason a machine that returned as another agent counted twice in its region.
    Found(
        "as many nodes as machines, and one of them has become another agent",
        12029,
        Setting(etcd=1, nodes=1, local=3, remote=1, runs_after=0.1, ready_after=0.0),
        (
            MasterEnds(at=9.58, lasts=17.4),
            Update(at=9.59, nodes=4, pods=(), larger=False),
            AgentGone(at=11.57, lasts=33.6, host="b1", told=1.0),
        ),
    ),
    # A master that led after the framework's TEARDOWN did not know of it, and took the framework
    # back from an agent that had been out of reach, with its tasks and for ever.
    Found(
        "a deletion, another master, and an agent that returns with tasks",
        12809,
        Setting(
            etcd=1,
            nodes=3,
            local=3,
            remote=2,
            runs_after=3.0,
            ready_after=0.0,
            replace_after=300.0,
            delete=37.4,
        ),
        (AgentCut(at=35.51, lasts=331.3, host="a2"), MasterEnds(at=125.83, lasts=33.5)),
    ),
    # It had ended well when it was asked to end for a restart, and nobody asked it for its result.
    Found(
        "an add-on that is restarted at the moment when it has done its work",
        13582,
        Setting(etcd=1, nodes=1, local=3, remote=3, runs_after=0.1, replace_after=100.0),
        (
            Messages(at=4.45, lasts=89.8, trouble=Trouble(lag=20.0)),
            PlanVerb(at=56.31, lasts=4.6, verb="complete", phase="mandatory-addons"),
        ),
    ),
    # What a person had wanted of it stayed for the next node of that number.
    Found(
        "a node that was paused before it was ever launched, and is not wanted any more",
        14912,
        Setting(etcd=1, nodes=2, local=2, remote=1, runs_after=3.0, replace_after=300.0),
        (
            Operator(at=12.77, lasts=368.8, verb="pause", pod="kube-node-1"),
            Update(at=55.6, nodes=1, larger=True),
        ),
    ),
    # It was on its way already, because its agent was drained. Asked for by a person it was not to
    # return there, although no other agent could take it.
    Found(
        "a node that leaves a drained agent and is to be replaced on top of that",
        15672,
        Setting(etcd=1, nodes=3, local=2, remote=1, runs_after=3.0, replace_after=100.0),
        (
            AgentDrained(at=257.94, lasts=358.2, host="a2", gone=False),
            Operator(at=304.01, lasts=365.6, verb="replace", pod="kube-node-2"),
        ),
    ),
    # Members out of reach counted as held down by us, when nobody could even ask them to end.
    Found(
        "members that are to restart while their region is cut off",
        16098,
        Setting(etcd=3, nodes=1, local=5, remote=1, runs_after=3.0, replace_after=100.0),
        (
            RegionCut(at=205.7, lasts=379.3, region="dc-a"),
            Operator(at=521.41, lasts=5.7, verb="restart", pod="etcd-2"),
            Operator(at=533.08, lasts=157.4, verb="restart", pod="etcd-0"),
        ),
    ),
    # The simulated agent kept a task that had ended, because nobody had acknowledged that, beyond
    # the end of its framework; Mesos' ``Slave::shutdownFramework`` forgets it.
    Found(
        "a framework that came back with a task that had ended before",
        22706,
        Setting(etcd=1, nodes=1, local=4, remote=1, runs_after=3.0, ready_after=8.0, delete=49.5),
        (
            Messages(at=45.3, lasts=83.6, trouble=Trouble(lag=20.0)),
            Stranger(at=71.79, host="b1", silent=False),
            MasterEnds(at=148.09, lasts=14.3),
        ),
    ),
    # It got ready while its plan was stopped, and nobody took note: when it ended it had never
    # stood, and of an ensemble that has never been whole anybody may be restarted.
    Found(
        "a member that got ready while its plan was stopped, and has ended since",
        22368,
        Setting(etcd=3, nodes=1, local=4, remote=3, runs_after=3.0, ready_after=0.0),
        (
            Messages(at=7.41, lasts=30.3, trouble=Trouble(lag=5.0)),
            PlanVerb(at=14.47, lasts=8.0, verb="stop"),
            AgentDrained(at=20.02, lasts=93.9, host="a2", gone=False),
            SchedulerKilled(at=22.6, lasts=25.8, effect=28),
            TaskEnds(at=42.41, task="etcd-2-peer", state="TASK_FINISHED", healthy=False),
        ),
    ),
    # An UNRESERVE that the master took while the agent was cut off looked done, and the agent had
    # kept the reservation when it was back. Nobody asked for its offers any more.
    Found(
        "a release that never reached its agent",
        21285,
        Setting(etcd=3, nodes=2, local=5, remote=3, replace_after=100.0),
        (
            Operator(at=1.32, lasts=375.4, verb="restart", pod="kube-node-1"),
            Operator(at=6.48, lasts=9.6, verb="replace", pod="etcd-1"),
            AgentCut(at=7.34, lasts=302.0, host="a2"),
            SchedulerKilled(at=9.15, lasts=12.1, effect=21),
        ),
    ),
)


@pytest.mark.parametrize("found", FOUND, ids=lambda found: f"{found.seed}: {found.name}")
def test_found_and_mended(found: Found) -> None:
    assert run(Schedule(found.seed, found.setting, found.faults)).findings == ()
