"""Before and after a pod instance leaves: etcd's membership, and the Node object."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from kubedcos.kubernetes.approval import NodeClaim
from kubedcos.kubernetes.etcd_members import EtcdUnreachable, Member, Seen
from kubedcos.kubernetes.kube_api import ApiError
from kubedcos.kubernetes.leaving import Leaving
from kubedcos.kubernetes.node_drain import CORDONED
from kubedcos.model.service import TaskSpec
from kubedcos.scheduler.workload import AgentPlace, Departure, Launch, Readiness, RunningTask

from .parts import NOW, FakeClock

PLACE = AgentPlace("S1", "b1", "10.0.0.21")


@dataclass
class Members:
    """etcd's membership: names to whether they answer."""

    healthy: dict[str, bool]
    learners: set[str] = field(default_factory=set)
    removed: list[int] = field(default_factory=list)
    unreachable: bool = False

    async def survey(self) -> tuple[Seen, ...]:
        if self.unreachable:
            raise EtcdUnreachable("nobody answers")
        return tuple(
            Seen(
                Member(at, name, (f"https://{name}:2380",), (), name in self.learners),
                healthy=healthy,
            )
            for at, (name, healthy) in enumerate(self.healthy.items(), 1)
            if at not in self.removed
        )

    async def remove(self, member_id: int) -> None:
        self.removed.append(member_id)


@dataclass
class Api:
    """A kube-apiserver with nodes and pods."""

    nodes: dict[str, str] = field(default_factory=lambda: {"b1": "10.0.0.21", "a1": "10.0.0.11"})
    pods: list[dict[str, Any]] = field(default_factory=list)
    cordoned: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    budget: bool = False

    async def get(self, path: str) -> Any:
        if path.startswith("/api/v1/pods"):
            return {"items": self.pods}
        name = path.removeprefix("/api/v1/nodes").lstrip("/")
        if name:
            ours = {CORDONED: "true"} if name in self.cordoned else {}
            return {"metadata": {"annotations": ours}, "spec": {"unschedulable": bool(ours)}}
        return {
            "items": [
                {
                    "metadata": {"name": name},
                    "status": {"addresses": [{"type": "InternalIP", "address": address}]},
                }
                for name, address in self.nodes.items()
            ]
        }

    async def post(self, path: str, body: Any) -> None:
        if self.budget:
            raise ApiError(429, "budget")
        self.pods = []
        assert path, body

    async def patch(self, path: str, body: Any) -> None:
        name = path.rpartition("/")[2]
        if body["spec"]["unschedulable"]:
            self.cordoned.append(name)
        else:
            self.cordoned.remove(name)

    async def delete(self, path: str) -> None:
        self.deleted.append(path.rpartition("/")[2])


@dataclass
class Stage:
    members: Members = field(default_factory=lambda: Members({}))
    api: Api | None = field(default_factory=Api)
    claims: list[NodeClaim] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    established: bool = True

    def __post_init__(self) -> None:
        self.leaving = Leaving(
            kinds={
                "etcd": {"etcd"},
                "kube-apiserver": {"kube-apiserver"},
                "kube-node": {"kubelet", "coredns"},
            },
            members=lambda: self.members,  # type: ignore[arg-type, return-value]
            established=lambda: self.established,
            api=lambda: self.api,  # type: ignore[arg-type, return-value]
            claims=lambda: self.claims,
            drain_timeout=100.0,
            clock=self.clock,
        )

    def prepare(self, departure: Departure) -> Readiness:
        return asyncio.run(self.leaving.prepare(departure))

    def finish(self, departure: Departure) -> Readiness:
        return asyncio.run(self.leaving.finish(departure))


def node(state: str = "TASK_RUNNING") -> Departure:
    spec = TaskSpec("kubelet", "kubelet", 1.0, 1, 1)
    launch = Launch("t1", "kube-node", 1, spec, PLACE, {}, {})
    return Departure("kube-node", 1, PLACE, (RunningTask(launch, state),), NOW)


ETCD = Departure("etcd", 1, PLACE, (), NOW)
POD = {"metadata": {"namespace": "d", "name": "web"}, "status": {"phase": "Running"}}
CLAIM = NodeClaim("t1", "b1", "10.0.0.21")


def test_a_member_leaves_when_the_others_are_a_quorum() -> None:
    stage = Stage(Members({"etcd-0": True, "etcd-1": False, "etcd-2": True}))
    assert stage.prepare(ETCD).ready
    assert stage.members.removed == [2]
    assert stage.prepare(ETCD).ready
    assert stage.members.removed == [2]


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (Members({"etcd-0": False, "etcd-1": False, "etcd-2": True}), "1 of 3 members answer"),
        (Members({"etcd-1": True}), "makes no sense|no members is none|only member"),
        (Members({"etcd-0": True, "etcd-1": True}, unreachable=True), "nobody answers"),
    ],
)
def test_a_member_that_etcd_counts_on_stays(members: Members, why: str) -> None:
    stage = Stage(members)
    stage.clock.now += 10_000
    answer = stage.prepare(ETCD)
    assert not answer.ready
    assert members.removed == []
    assert any(part in answer.reason for part in why.split("|")), answer.reason


def test_whoever_was_to_found_etcd_may_go_before_etcd_has_worked() -> None:
    alone = Members({}, unreachable=True)
    assert Stage(alone, established=False).prepare(ETCD).ready
    assert "nobody answers" in Stage(alone).prepare(ETCD).reason


def test_a_node_is_cordoned_and_drained() -> None:
    api = Api(pods=[POD], budget=True)
    stage = Stage(api=api, claims=[CLAIM])
    answer = stage.prepare(node())
    assert api.cordoned == ["b1"]
    assert answer.reason == (
        "drains b1: d/web may not be evicted (budget); until 2027-01-15T08:01:40Z"
    )
    api.budget = False
    stage.prepare(node())
    assert stage.prepare(node()).ready


def test_a_node_of_a_pool_that_is_no_more_is_drained_and_deleted_likewise() -> None:
    stage = Stage(claims=[CLAIM])
    leaves = replace(node(), pod="kube-node-gpu")
    assert stage.prepare(leaves).ready
    assert stage.api is not None
    assert stage.api.cordoned == ["b1"]
    assert stage.finish(leaves).ready
    assert stage.api.deleted == ["b1"]


def test_a_node_goes_when_its_time_is_up_or_nobody_can_be_asked() -> None:
    stage = Stage(api=Api(pods=[POD], budget=True), claims=[CLAIM])
    stage.clock.now += 100
    assert stage.prepare(node()).ready
    silent = Stage(api=None, claims=[CLAIM])
    assert not silent.prepare(node()).ready
    silent.clock.now += 100
    assert silent.prepare(node()).ready
    assert not silent.finish(node()).ready
    silent.clock.now += 100
    assert silent.finish(node()).ready


def test_a_node_that_restarts_in_place_is_drained_and_then_takes_pods_again() -> None:
    api = Api(pods=[POD])
    stage = Stage(api=api, claims=[CLAIM])
    restarts = replace(node(), returns=True)
    assert not stage.prepare(restarts).ready
    assert stage.prepare(restarts).ready
    assert api.cordoned == ["b1"]
    # The scheduler was started anew, and the node's task is another one.
    stage = Stage(api=api, claims=[NodeClaim("t2", "b1", "10.0.0.21")])
    task = restarts.tasks[0]
    back = replace(task, launch=replace(task.launch, task_id="t2"))
    assert stage.finish(replace(restarts, tasks=(back,))).ready
    assert (api.cordoned, api.deleted) == ([], [])


def test_a_restart_goes_on_after_its_deadline_and_says_so() -> None:
    stage = Stage(api=Api(pods=[POD], budget=True), claims=[CLAIM])
    stage.clock.now += 100
    answer = stage.prepare(replace(node(), returns=True))
    assert answer == Readiness(
        ready=True,
        reason="goes on after 100 s: drains b1: d/web may not be evicted (budget)",
    )


def test_a_node_that_cannot_be_uncordoned_is_not_in_use() -> None:
    stage = Stage(api=None, claims=[CLAIM])
    stage.clock.now += 10_000
    answer = stage.finish(replace(node(), returns=True))
    assert answer == Readiness(ready=False, reason="kube-apiserver does not run")


def test_a_member_that_restarts_in_place_stays_a_member() -> None:
    stage = Stage(Members({"etcd-0": True, "etcd-1": True, "etcd-2": True}))
    assert stage.prepare(replace(ETCD, returns=True)).ready
    assert stage.members.removed == []


@pytest.mark.parametrize(
    ("members", "why"),
    [
        (Members({"etcd-0": True, "etcd-1": True, "etcd-2": True}), ""),
        (Members({"etcd-0": True, "etcd-1": False, "etcd-2": True}), ""),
        (
            Members({"etcd-0": False, "etcd-1": True, "etcd-2": True}),
            "without etcd-1 1 of 3 members would answer, 2 are a quorum: etcd-0 must come back",
        ),
        # A learner has no vote: its own end costs nothing, and it stands for nobody.
        (Members({"etcd-0": False, "etcd-1": True, "etcd-2": True}, learners={"etcd-1"}), ""),
        (
            Members({"etcd-0": True, "etcd-1": True, "etcd-2": True}, learners={"etcd-2"}),
            "without etcd-1 1 of 2 members would answer, 2 are a quorum",
        ),
        # One that etcd does not list is missed by nobody.
        (Members({"etcd-0": True, "etcd-2": False}), ""),
        (Members({}, unreachable=True), "nobody answers"),
    ],
)
def test_a_member_may_stop_if_the_others_answer_and_are_a_quorum(
    members: Members, why: str
) -> None:
    stage = Stage(members)
    answer = asyncio.run(stage.leaving.may_stop(replace(ETCD, returns=True)))
    assert answer == Readiness(ready=not why, reason=why)
    assert members.removed == []


def test_of_a_node_nobody_is_asked_whether_it_may_stop() -> None:
    stage = Stage(Members({}, unreachable=True), api=None)
    assert asyncio.run(stage.leaving.may_stop(node())).ready


def test_the_node_object_is_deleted_after_its_tasks() -> None:
    api = Api()
    stage = Stage(api=api, claims=[CLAIM])
    assert stage.prepare(node()).ready
    assert api.deleted == []
    stage.claims = []
    gone = Departure("kube-node", 1, PLACE, (), NOW)
    assert stage.finish(gone).ready
    assert api.deleted == ["b1"]


def test_a_scheduler_that_does_not_remember_finds_the_node_by_its_address() -> None:
    api = Api()
    assert Stage(api=api).finish(Departure("kube-node", 1, PLACE, (), NOW)).ready
    assert api.deleted == ["b1"]


def test_a_node_that_another_pod_instance_is_by_now_stays() -> None:
    api = Api()
    stage = Stage(api=api, claims=[NodeClaim("t9", "b1", "10.0.0.21")])
    assert stage.finish(Departure("kube-node", 1, PLACE, (), NOW)).ready
    assert api.deleted == []


def test_a_control_plane_component_needs_no_farewell() -> None:
    stage = Stage(api=None)
    departure = Departure("kube-apiserver", 0, PLACE, (), NOW)
    assert stage.prepare(departure).ready
    assert stage.finish(departure).ready
