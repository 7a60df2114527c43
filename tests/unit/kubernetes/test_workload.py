"""The cluster as the scheduler sees it."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import pytest
import yaml
from cryptography import x509

from kubedcos.config import cluster as cluster_options
from kubedcos.errors import InvalidInput
from kubedcos.kubernetes import launcher
from kubedcos.kubernetes.artifact_index import ArtifactIndex
from kubedcos.kubernetes.components import RECIPES
from kubedcos.kubernetes.vault import MemorySecretStore, Vault
from kubedcos.model.service import Goal, Strategy
from kubedcos.scheduler.workload import AgentPlace, Launch

from .fake_etcd import FakeEtcd
from .parts import FACTS, NOW, PLACE, Cluster, FakeClock, make_cluster, situation


def test_phases_come_in_the_order_that_kubernetes_needs(staged: Cluster) -> None:
    (plan,) = staged.workload.spec.plans
    assert plan.name == "deploy"
    assert [phase.name for phase in plan.phases] == [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "mandatory-addons",
        "node",
        "addons",
    ]
    steps = {phase.name: [step.name for step in phase.steps] for phase in plan.phases}
    assert steps["mandatory-addons"] == [
        "mandatory-addons-0:[cluster-roles]",
        "mandatory-addons-0:[tls-bootstrapping]",
    ]
    assert steps["node"] == [
        "kube-node-0:[kubelet, kube-proxy, coredns]",
        "kube-node-1:[kubelet, kube-proxy, coredns]",
    ]


def test_a_highly_available_cluster_has_three_of_each_and_etcd_one_after_the_other() -> None:
    spec = make_cluster("high_availability: true").workload.spec
    (plan,) = spec.plans
    steps = {phase.name: [step.name for step in phase.steps] for phase in plan.phases}
    strategies = {phase.name: phase.strategy for phase in plan.phases}
    assert steps["etcd"] == ["etcd-0:[peer]", "etcd-1:[peer]", "etcd-2:[peer]"]
    assert strategies["etcd"] is Strategy.SERIAL
    for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert steps[name] == [f"{name}-{index}:[instance]" for index in range(3)]
        assert strategies[name] is Strategy.PARALLEL
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert spec.pod(name).placement.unique_agent, "one agent's loss is to cost one of each"


def test_nodes_spread_over_regions_one_to_an_agent(staged: Cluster) -> None:
    pod = staged.workload.spec.pod("kube-node")
    assert pod.placement.unique_agent
    assert pod.placement.spread_by == "region"
    assert not pod.placement.local_region
    assert not pod.reserved


def test_the_control_plane_stays_in_the_masters_region(staged: Cluster) -> None:
    for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        assert staged.workload.spec.pod(name).placement.local_region
    assert staged.workload.spec.pod("etcd").reserved


def test_no_two_tasks_of_the_cluster_want_one_port(staged: Cluster) -> None:
    numbers = [
        port.number
        for pod in staged.workload.spec.pods
        for task in pod.tasks
        for port in task.ports
    ]
    assert len(numbers) == len(set(numbers))
    assert all(1025 <= number < 30000 for number in numbers)


def test_every_lasting_task_is_watched_and_short_ones_end(staged: Cluster) -> None:
    for pod in staged.workload.spec.pods:
        for task in pod.tasks:
            assert task.kind in RECIPES
            assert (task.health_check is None) == (task.goal is Goal.FINISHED)
            assert not task.cpu_is_limit


def test_addons_follow_the_options() -> None:
    cluster = make_cluster("addons: {metrics_server: false}")
    phase = cluster.workload.spec.plans[0].phases[-1]
    assert [step.name for step in phase.steps] == ["addons-0:[dns]"]
    assert phase.strategy is Strategy.SERIAL


def test_a_command_checks_what_it_starts(staged: Cluster) -> None:
    launch = staged.launch("kube-apiserver")
    command = staged.workload.command(launch, [staged.running("etcd")])
    first, second = command.uris
    assert first.value == f"http://boot:8080/artifacts/sha256/{launcher.sha256()}/kubedcos-task"
    assert launcher.sha256() == hashlib.sha256(launcher.source()).hexdigest()
    assert f"echo '{launcher.sha256()}  kubedcos-task' | sha256sum --check" in command.shell
    sum_ = hashlib.sha256(b"kube-apiserver").hexdigest()
    assert second.value.endswith(f"/{sum_}/kube-apiserver")
    assert second.executable
    assert command.environment["KUBEDCOS_BINARIES"] == f"kube-apiserver={sum_}"


def test_a_node_checks_the_hosts_runtime_too(staged: Cluster) -> None:
    command = staged.workload.command(staged.launch("kubelet"), ())
    sums = command.environment["KUBEDCOS_BINARIES"]
    for name in ("containerd", "containerd-shim-runc-v2", "runc"):
        assert f"/opt/kubedcos/bin/{name}={hashlib.sha256(name.encode()).hexdigest()}" in sums
    assert len(command.uris) == 2


@pytest.mark.parametrize("kind", list(RECIPES))
def test_nothing_in_a_command_is_secret(kind: str) -> None:
    """Whatever the store holds, none of it may appear; and two launches differ only by their id."""
    store = MemorySecretStore()
    cluster = make_cluster(store=store)
    launch = cluster.launch(kind)
    shown = repr(cluster.workload.command(launch, [cluster.running("etcd")]))
    again = repr(cluster.workload.command(cluster.launch(kind, run="2"), []))
    assert again.replace("__2", "__1") == shown
    assert "PRIVATE" not in shown
    for name in store.names():
        assert (store.get(name) or b"").decode() not in shown


@pytest.mark.parametrize("kind", ["etcd", "kube-apiserver", "kube-proxy", "coredns"])
def test_programs_are_told_what_their_cgroup_says_too_late_or_wrongly(kind: str) -> None:
    cluster = make_cluster()
    launch = cluster.launch(kind)
    cluster.workload.command(launch, ())
    environment = _answer(cluster, launch)["environment"]
    assert environment["GOMEMLIMIT"] == f"{launch.spec.mem_mb * 85 // 100}MiB"
    assert environment["GOMAXPROCS"] == str(FACTS.cpus)


def test_an_agent_without_address_is_refused_with_its_name(staged: Cluster) -> None:
    place = AgentPlace("id", "a9", "")
    with pytest.raises(InvalidInput, match="agent a9: found no address"):
        staged.workload.command(staged.launch("etcd", place), ())


def test_missing_artefacts_are_told_before_anything_starts() -> None:
    index = ArtifactIndex.parse(
        "http://b", b'{"artifacts":[{"name":"etcd","version":"3","filename":"f","sha256":"0"}]}'
    )
    assert index.find("etcd").version == "3"
    with pytest.raises(InvalidInput, match="kubelet: found nothing of that name"):
        index.find("kubelet", "1.36.3")
    with pytest.raises(InvalidInput, match=r"found 3; wanted exactly one etcd 4"):
        index.find("etcd", "4")
    with pytest.raises(InvalidInput, match="an index of artefacts"):
        ArtifactIndex.parse("http://b", b"<html>")


def test_a_kubeconfig_works_from_anywhere_and_can_be_locked_out(staged: Cluster) -> None:
    with pytest.raises(InvalidInput, match="no kube-apiserver"):
        staged.workload.kubeconfig()
    staged.workload.command(staged.launch("kube-apiserver"), [staged.running("etcd")])
    config = yaml.safe_load(staged.workload.kubeconfig("ops"))
    assert config["clusters"][0]["cluster"]["server"] == f"https://{PLACE.address}:6443"
    pem = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.subject.rfc4514_string() == "CN=kubedcos:ops,O=kubedcos:administrators"
    assert certificate.not_valid_after_utc.timestamp() < NOW + 31 * 86400


def test_with_a_front_a_kubeconfig_leads_there_and_says_which_cluster_is_meant() -> None:
    cluster = make_cluster("name: shop", front="10.89.1.10:8444")
    cluster.workload.command(cluster.launch("kube-apiserver"), [cluster.running("etcd")])
    config = yaml.safe_load(cluster.workload.kubeconfig())
    entry = config["clusters"][0]["cluster"]
    assert entry["server"] == "https://10.89.1.10:8444"
    assert entry["tls-server-name"] == "apiserver.shop.mesos"


def test_api_servers_are_who_the_fronts_say_they_are() -> None:
    """Also for programs that do not read tls-server-name."""
    cluster = make_cluster(front="api.example.org:8444")
    launch = cluster.launch("kube-apiserver")
    cluster.workload.command(launch, ())
    files = {file["path"]: file["text"] for file in _answer(cluster, launch)["files"]}
    certificate = x509.load_pem_x509_certificate(files["server.crt"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "api.example.org" in names.get_values_for_type(x509.DNSName)
    # The schedulers' hosts have a front each.
    assert "10.89.1.10" in map(str, names.get_values_for_type(x509.IPAddress))


def test_several_members_of_etcd_are_known_by_names_that_stay() -> None:
    vault = Vault(MemorySecretStore(), "shop", FakeClock())
    options = cluster_options.load("{name: shop, high_availability: true}", "test")
    payload = RECIPES["kube-apiserver"].payload(situation("kube-apiserver", options, vault))
    names = [f"etcd-{index}.shop.mesos" for index in range(3)]
    assert f"--etcd-servers={','.join(f'https://{name}:2379' for name in names)}" in payload.argv
    # One of them is enough to begin with.
    assert payload.wait_for_one == tuple((name, 2379) for name in names)
    member = RECIPES["etcd"].keys["server"](situation("etcd", options, vault)).profile
    assert "etcd-0.shop.mesos" in member.dns_names


def test_a_member_starts_as_etcd_was_told() -> None:
    etcd = FakeEtcd()
    cluster = make_cluster("high_availability: true", etcd=etcd)
    first = cluster.launch("etcd")
    cluster.workload.command(first, ())
    assert "--initial-cluster-state=new" in _answer(cluster, first)["argv"]
    etcd.start("etcd-0", PLACE.address, founder=True)
    place = AgentPlace("uuid-S2", "a2", "10.89.1.12")
    second = cluster.launch("etcd", place, 1)
    cluster.workload.command(second, [cluster.running("etcd")])
    reply = _answer(cluster, second, volumes={"data": ["etcd", "etcd/member", "etcd/member/wal"]})
    argv = reply["argv"]
    assert "--name=etcd-1" in argv
    assert "--initial-cluster-state=existing" in argv
    assert (
        f"--initial-cluster=etcd-0=https://{PLACE.address}:2380,etcd-1=https://10.89.1.12:2380"
        in argv
    )
    folder = f"/var/lib/mesos/sandbox/data/etcd-{etcd.at('10.89.1.12').id:x}"
    assert f"--data-dir={folder}" in argv
    assert reply["remove"] == ["/var/lib/mesos/sandbox/data/etcd"]
    assert etcd.names() == [f"?@{place.address} (learner)", f"etcd-0@{PLACE.address}"]


def test_a_member_that_cannot_come_in_may_ask_again() -> None:
    etcd = FakeEtcd()
    cluster = make_cluster("high_availability: true", etcd=etcd)
    server = cluster.launch("kube-apiserver")
    cluster.workload.command(server, ())
    _answer(cluster, server)
    early = cluster.launch("etcd", AgentPlace("uuid-S2", "a2", "10.89.1.12"), 1)
    cluster.workload.command(early, ())
    body = cluster.request(early)
    answer = asyncio.run(cluster.workload.delivery.handle(early.task_id, body, "10.89.1.12"))
    assert answer.status == 503
    assert "etcd-1 has no data" in answer.body["error"]
    etcd.start("etcd-0", PLACE.address, founder=True)
    cluster.workload.command(cluster.launch("etcd"), ())
    answer = asyncio.run(cluster.workload.delivery.handle(early.task_id, body, "10.89.1.12"))
    assert answer.status == 200


def _answer(cluster: Cluster, launch: Launch, **about: Any) -> dict[str, Any]:
    body = cluster.request(launch, **about)
    source = launch.place.address
    answer = asyncio.run(cluster.workload.delivery.handle(launch.task_id, body, source))
    assert answer.status == 200, answer.body
    return dict(answer.body)


def test_a_kubeconfig_still_names_the_server_after_a_restart() -> None:
    store = MemorySecretStore()
    before = make_cluster(store=store)
    before.workload.command(before.launch("kube-apiserver"), [before.running("etcd")])
    assert PLACE.address in make_cluster(store=store).workload.kubeconfig()
