"""A component is ready when it says so itself; until then the reason is a sentence for people."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import pytest

from kubedcos.kubernetes.api_servers import AVOIDED, ApiServers
from kubedcos.kubernetes.approver import Approver
from kubedcos.kubernetes.etcd_membership import EtcdMembership
from kubedcos.kubernetes.grants import Grant, new_grant
from kubedcos.kubernetes.kube_api import KubeApi
from kubedcos.kubernetes.leases import judge_lease, judge_standby
from kubedcos.kubernetes.node_readiness import judge_node, judge_pod, probe_pod
from kubedcos.kubernetes.probes import Probes
from kubedcos.kubernetes.quantity import parse_quantity
from kubedcos.kubernetes.vault import MemorySecretStore
from kubedcos.scheduler.workload import Readiness

from .fake_etcd import FakeEtcd
from .parts import NOW, PLACE, Cluster, FakeClock, make_cluster

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler"
PODS = "/api/v1/namespaces/kubedcos-system/pods"


@dataclass
class World:
    """Answers by path; what is not there is 404. Remembers who asked what."""

    answers: dict[str, Any] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    etcd: FakeEtcd | None = None
    others: tuple[Grant, ...] = ()

    def answer(self, call: httpx2.Request) -> httpx2.Response:
        self.calls.append(f"{call.method} {call.url.path}")
        if call.url.path.startswith("/v3/"):
            return (self.etcd or founded()).handle(call)
        found = self.answers.get(call.url.path)
        if call.method == "POST":
            return httpx2.Response(201, json={"status": {"phase": "Pending"}})
        if found is None:
            return httpx2.Response(404, json={"message": "not found"})
        if isinstance(found, Exception):
            raise found
        if isinstance(found, tuple):
            return httpx2.Response(found[0], text=found[1])
        return httpx2.Response(200, json=found)

    def probe(
        self,
        cluster: Cluster,
        kind: str,
        peers: tuple[str, ...] = ("kube-apiserver",),
        *,
        healthy: bool | None = None,
    ) -> Readiness:
        client = httpx2.AsyncClient(transport=httpx2.MockTransport(self.answer))

        def api(address: str, user: str = "ours") -> KubeApi:
            self.users.append(user)
            return KubeApi(f"https://{address}:6443", client)

        task = cluster.running(kind, healthy=healthy)
        grant = msgspec.structs.replace(
            new_grant(task.launch, (), NOW), used_at=NOW, node="a1", proof="x"
        )
        grants = {one.task_id: one for one in (grant, *self.others)}
        probes = Probes(
            options=cluster.workload.options,
            etcd=lambda: client,
            membership=EtcdMembership(
                MemorySecretStore(),
                lambda: client,
                lambda: [member.host for member in (self.etcd or founded()).members],
                lambda: False,
            ),
            api=api,
            plain=client,
            approver=Approver(list, cluster.clock),
            servers=ApiServers(cluster.clock),
            grants=lambda: grants,
            clock=cluster.clock,
        )
        return asyncio.run(probes.probe(task, [cluster.running(peer) for peer in peers]))


def founded() -> FakeEtcd:
    etcd = FakeEtcd()
    etcd.start("etcd-0", PLACE.address, founder=True)
    return etcd


@pytest.mark.parametrize(
    ("kind", "path", "good", "bad", "reason"),
    [
        ("etcd", "/health", {"health": "true"}, {"health": "false"}, '"health":"false"'),
        ("etcd", "/health", {"health": "true"}, httpx2.ConnectError("refused"), "refused"),
        (
            "kube-apiserver",
            "/readyz",
            {},
            (500, "[+]ping ok\n[-]etcd failed: reason withheld"),
            "[-]etcd failed: reason withheld",
        ),
        ("kube-proxy", "/healthz", {}, (503, "stale"), "503 stale"),
        ("coredns", "/ready", {}, (503, "kubernetes"), "503 kubernetes"),
    ],
)
def test_components_with_an_address_of_their_own(
    staged: Cluster, kind: str, path: str, good: Any, bad: Any, reason: str
) -> None:
    assert World({path: good}).probe(staged, kind, ()).ready
    seen = World({path: bad}).probe(staged, kind, ())
    assert not seen.ready
    assert reason in seen.reason


def lease(**changes: Any) -> dict[str, Any]:
    spec = {
        "holderIdentity": "a1_0b1c",
        "leaseDurationSeconds": 15,
        "acquireTime": "2027-01-15T08:00:02.000000Z",
        "renewTime": "2027-01-15T08:00:05.000000Z",
        **changes,
    }
    return {"spec": spec}


def test_a_leader_holds_a_fresh_lease_and_is_asked_as_itself(staged: Cluster) -> None:
    staged.clock.now = NOW + 6
    world = World({LEASE: lease()})
    assert world.probe(staged, "kube-scheduler").ready
    assert world.users == ["system:kube-scheduler"]


def test_no_lease_yet(staged: Cluster) -> None:
    assert "nobody holds" in World().probe(staged, "kube-scheduler").reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"holderIdentity": ""}, "nobody holds the lease yet"),
        ({"holderIdentity": "b1_0b1c"}, "the lease is held by b1_0b1c"),
        ({"renewTime": "2027-01-15T07:59:00.000000Z"}, "was renewed 66 s ago"),
        ({"acquireTime": "2027-01-15T07:00:00.000000Z"}, "that of an earlier start"),
    ],
)
def test_a_lease_of_somebody_else_does_not_count(
    staged: Cluster, changes: dict[str, str], reason: str
) -> None:
    grant = msgspec.structs.replace(_grant(staged), used_at=NOW, node="a1")
    assert judge_lease(lease(), grant, NOW + 6).ready
    assert reason in judge_lease(lease(**changes), grant, NOW + 6).reason


def test_a_lease_counts_only_for_a_task_that_asked_for_its_keys(staged: Cluster) -> None:
    assert not judge_lease(lease(), _grant(staged), NOW + 6).ready
    assert not judge_lease(lease(), None, NOW + 6).ready


def test_a_member_of_etcd_that_does_not_vote_is_not_ready(staged: Cluster) -> None:
    etcd = founded()
    learner = etcd.at(PLACE.address)
    learner.learner, learner.caught_up = True, False
    etcd.start("etcd-1", "10.89.1.12", founder=True)
    world = World({"/health": {"health": "true"}}, etcd=etcd)
    assert "in sync with leader" in world.probe(staged, "etcd", ()).reason
    learner.caught_up = True
    assert "just been given its vote" in world.probe(staged, "etcd", ()).reason
    assert world.probe(staged, "etcd", ()).ready


def _several(healthy: bool | None, holder: str) -> Readiness:
    """What a second scheduler on a2 is taken for."""
    cluster = make_cluster("high_availability: true")
    first = new_grant(cluster.launch("kube-scheduler"), (), NOW)
    leader = msgspec.structs.replace(first, used_at=NOW, node="a1")
    return judge_standby(lease(holderIdentity=holder), [leader], healthy, NOW + 6)


def test_one_that_does_not_lead_stands_by_for_one_that_does() -> None:
    assert _several(healthy=True, holder="a1_0b1c").ready
    assert _several(healthy=None, holder="a1_0b1c").reason == (
        "stands by; its health was not checked yet"
    )
    assert "is not healthy" in _several(healthy=False, holder="a1_0b1c").reason
    assert _several(healthy=True, holder="b9_0b1c").reason == "the lease is held by b9_0b1c"


def test_a_second_scheduler_is_ready_when_ours_leads_and_mesos_finds_it_well() -> None:
    cluster = make_cluster("high_availability: true")
    cluster.clock.now = NOW + 6
    leader = new_grant(cluster.launch("kube-scheduler", index=1), (), NOW)
    leader = msgspec.structs.replace(leader, used_at=NOW, node="a2")
    world = World({LEASE: lease(holderIdentity="a2_0b1c")}, others=(leader,))
    assert world.probe(cluster, "kube-scheduler", healthy=True).ready
    assert not world.probe(cluster, "kube-scheduler", healthy=False).ready
    alone = World({LEASE: lease(holderIdentity="a2_0b1c")})
    assert alone.probe(cluster, "kube-scheduler", healthy=True).reason == (
        "the lease is held by a2_0b1c"
    )


def test_an_api_server_that_does_not_answer_is_avoided_for_a_while() -> None:
    clock = FakeClock()
    servers = ApiServers(clock)
    assert servers.choose([]) is None
    assert servers.choose(["a", "b"]) == "a"
    servers.silent("a")
    assert servers.choose(["a", "b"]) == "b"
    clock.now += 1
    servers.silent("b")
    assert servers.choose(["a", "b"]) == "a"
    clock.now += AVOIDED
    assert servers.choose(["a", "b"]) == "a"


def _grant(staged: Cluster) -> Grant:
    return new_grant(staged.launch("kube-scheduler"), (), NOW)


def node(ready: str = "True", **allocatable: str) -> dict[str, Any]:
    return {
        "status": {
            "conditions": [{"type": "Ready", "status": ready, "message": "because"}],
            "allocatable": {"cpu": "600m", "memory": "1048576Ki", **allocatable},
        }
    }


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        ({}, "the kubelet has not reported yet"),
        (node("False"), "node is not Ready: because"),
        (node(cpu="2"), "node offers 2 cpu, granted were 0.6"),
        (node(memory="900Mi"), "node offers 900Mi memory, granted were 1024"),
    ],
)
def test_a_node_must_offer_exactly_its_grant(
    staged: Cluster, seen: dict[str, Any], reason: str
) -> None:
    _, grant = staged.task("kubelet")
    assert judge_node(node(), grant).ready
    assert reason in judge_node(seen, grant).reason


def _node_world(pod: dict[str, Any] | None) -> tuple[World, str]:
    world = World(
        {
            "/apis/certificates.k8s.io/v1/certificatesigningrequests": {"items": []},
            "/api/v1/nodes/a1": node(),
        }
    )
    name = probe_pod("kube-node-0-kubelet__1", "a1", _options())["metadata"]["name"]
    if pod is not None:
        world.answers[f"{PODS}/{name}"] = pod
    return world, f"{PODS}/{name}"


def _options() -> Any:
    from kubedcos.config import cluster  # noqa: PLC0415

    return cluster.load("", "t")


def test_a_ready_node_must_run_a_pod(staged: Cluster) -> None:
    world, path = _node_world(None)
    assert not world.probe(staged, "kubelet").ready
    assert f"POST {PODS}" in world.calls
    world, path = _node_world({"status": {"phase": "Running"}})
    assert world.probe(staged, "kubelet").ready
    assert world.calls[-1] == f"DELETE {path}"


def test_a_failed_probe_pod_makes_room_for_another(staged: Cluster) -> None:
    world, path = _node_world({"status": {"phase": "Failed"}})
    assert not world.probe(staged, "kubelet").ready
    assert world.calls[-1] == f"DELETE {path}"


def test_why_a_pod_does_not_run_is_told() -> None:
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    pod = {"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": waiting}}]}}
    assert judge_pod(pod).reason == "probe pod is Pending (ImagePullBackOff: no such image)"


def test_the_probe_pod_runs_where_taints_keep_others_away() -> None:
    """A node that is emptied for its restart is in use again only after the probe."""
    spec = probe_pod("t", "a1", _options())["spec"]
    assert spec["tolerations"] == [{"operator": "Exists"}]


def test_the_probe_pod_may_do_nothing() -> None:
    spec = probe_pod("t", "a1", _options())["spec"]
    assert spec["nodeSelector"] == {"kubernetes.io/hostname": "a1"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def deployment(name: str, status: str) -> dict[str, Any]:
    conditions = [{"type": "Available", "status": status, "message": "too few"}]
    return {"kind": "Deployment", "metadata": {"name": name}, "status": {"conditions": conditions}}


def test_an_addon_is_there_when_its_objects_say_so(staged: Cluster) -> None:
    path = "/apis/apps/v1/namespaces/kube-system/deployments/coredns"
    assert "coredns is not there yet" in World().probe(staged, "addon-dns").reason
    seen = World({path: deployment("coredns", "False")}).probe(staged, "addon-dns")
    assert seen.reason == "Deployment coredns is not Available: too few"
    assert World({path: deployment("coredns", "True")}).probe(staged, "addon-dns").ready


def test_without_an_api_server_nothing_can_be_asked(staged: Cluster) -> None:
    seen = World().probe(staged, "kubelet", ("etcd",))
    assert seen.reason == "kube-apiserver does not run"


@pytest.mark.parametrize(
    ("text", "number"), [("600m", 0.6), ("2", 2), ("1Gi", 2**30), ("1048576Ki", 2**30), ("5k", 5e3)]
)
def test_quantities(text: str, number: float) -> None:
    assert float(parse_quantity(text)) == pytest.approx(number)


def test_what_is_no_quantity() -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        parse_quantity("5iG")
