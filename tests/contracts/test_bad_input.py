"""Mistakes as users make them: `ansible-playbook` on a copy of the sample with some of them.

Mistakes that do not touch each other share a run, because a run takes seconds.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from .ansible_runs import ROOT, ansible_playbook

pytestmark = pytest.mark.long

HOSTS = "hosts.yml"
OVERLAYS = "group_vars/all/overlays.yml"
CLUSTER = "group_vars/all/cluster.yml"
MESOS = "group_vars/all/mesos.yml"
STORAGE = "group_vars/all/storage.yml"
CLUSTERS = "group_vars/all/kubernetes.yml"


class Edit(NamedTuple):
    """A mistake: `old` in `file` becomes `new`; without `old` the file is written anew."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Done:
    """How a run ended."""

    code: int
    text: str


@dataclass
class Mistakes:
    """Mistakes that share a run.

    `wanted` has lines of findings: place with identifier, then what follows it below.
    """

    edits: Sequence[Edit]
    wanted: Sequence[str]
    extra: Sequence[str] = field(default_factory=tuple)


def clusters(text: str) -> Edit:
    return Edit(CLUSTERS, "", f"clusters: {text}\n")


def spoilt(folder: Path, edits: Sequence[Edit]) -> Path:
    inventory = folder / "inventory"
    shutil.copytree(ROOT / "inventories/sample", inventory)
    for edit in edits:
        path = inventory / edit.file
        text = path.read_text() if path.exists() else ""
        assert edit.old in text, edit
        path.write_text(text.replace(edit.old, edit.new, 1) if edit.old else edit.new)
    return inventory


def play(playbook: str, inventory: Path, *extra: str) -> Done:
    done = ansible_playbook(
        inventory, ROOT / "playbooks" / playbook, *extra, ANSIBLE_SSH_RETRIES="0"
    )
    return Done(done.returncode, done.stdout + done.stderr)


SIZES = (
    Edit(MESOS, "mesos_agent_cpus: 0", "mesos_agent_cpus: 16"),
    Edit(MESOS, "mesos_agent_mem_mb: 0", "mesos_agent_mem_mb: 2000"),
    Edit(HOSTS, "zone: madrid-2", "zone: madrid-2\n          mesos_agent_mem_mb: 8000"),
)
"""One agent with much memory among others with little."""
MISTAKES = {
    "networks": Mistakes(
        [
            Edit(OVERLAYS, "subnet: 10.245.0.0/16", "subnet: 10.244.128.0/17"),
            Edit(OVERLAYS, "vtep_subnet: 10.255.1.0/24", "vtep_subnet: 10.20.1.0/28"),
            Edit(CLUSTER, "10.96.0.0/16", "10.96.0.0/26"),
            Edit(CLUSTER, "underlay_mtu: 1500", "underlay_mtu: 1500\noverlay_mtu: 1500"),
            Edit(CLUSTER, "berlin: 10.10.1.0/24", "berlin: 10.10.1.0/28"),
        ],
        [
            (
                "overlay kubernetes: subnet  [subnet-overlap]\n"
                "    seen    10.244.0.0/16 overlaps 10.244.128.0/17 (overlay apps: subnet)"
            ),
            (
                "overlay apps: vtep_subnet  [subnet-overlap]\n"
                "    seen    10.20.1.0/28 overlaps 10.20.1.0/24 (host network madrid)"
            ),
            "overlay apps  [vtep-subnet-too-small]",
            (
                "service network kubernetes  [service-network-too-small]\n"
                "    seen    10.96.0.0/26 with 64 addresses\n"
                "    wanted  at least a /24"
            ),
            (
                "overlay_mtu  [mtu-too-large]\n"
                "    seen    1500 on an underlay of 1500\n"
                "    wanted  at most 1450"
            ),
            (
                "host berlin-agent-1  [host-outside-networks]\n"
                "    seen    address 10.10.1.21\n"
                "    wanted  an address in 10.10.1.0/28, 10.20.1.0/24"
            ),
        ],
    ),
    "hosts": Mistakes(
        [
            Edit(HOSTS, "host_index: 12", "host_index: 11"),
            Edit(
                HOSTS,
                "region: berlin\n          zone: berlin-2",
                "region: madrid\n          zone: b",
            ),
            Edit(HOSTS, "          zone: madrid-2\n", ""),
            Edit(
                HOSTS,
                "      children:\n        masters:\n",
                "      hosts: {master-1: , master-2: }\n",
            ),
            Edit(OVERLAYS, "subnet: 10.245.0.0/16", "subnet: 10.245.0.0/20"),
            Edit(OVERLAYS, "name: apps", "name: applications14"),
        ],
        [
            (
                "hosts berlin-agent-1, berlin-agent-2  [host-index-duplicate]\n"
                "    seen    host_index 11 on each of them"
            ),
            (
                "masters  [masters-in-several-regions]\n"
                "    seen    masters in 2 regions (berlin: master-1, master-3; madrid: master-2)"
            ),
            "host madrid-agent-3  [host-zone-missing]",
            (
                "overlay applications14  [overlay-name-too-long]\n"
                "    seen    a name of 14 characters\n"
                "    wanted  at most 13"
            ),
        ],
    ),
    "groups": Mistakes(
        [
            Edit(HOSTS, "    agents:\n", "    agent:\n"),
            Edit(
                HOSTS,
                "      children:\n        masters:\n",
                "      hosts: {master-1: , master-2: }\n",
            ),
            Edit(OVERLAYS, "subnet: 10.245.0.0/16", "subnet: 10.245.8.0/22"),
        ],
        [
            "agents  [agents-none]",
            "group agent  [group-unknown]",
            "    fix     Did you mean agents?",
            (
                "ZooKeeper members  [zookeeper-count-even]\n"
                "    seen    2 (master-1, master-2)\n"
                "    wanted  1, 3 or 5"
            ),
        ],
    ),
    "variables": Mistakes(
        [
            Edit(MESOS, "mesos_agent_cpus: 0", "mesos_agent_cpu: 2"),
            Edit(MESOS, "mesos_distribution: embedded", "mesos_distribution: archiv"),
            Edit(STORAGE, "storage_disks: []", "storage_disks: [{name: x, root: /x, typ: path}]"),
            Edit(MESOS, "mesos_agent_mem_mb: 0", 'mesos_agent_mem_mb: "{{ nosuch }}"'),
            Edit(CLUSTER, "underlay_mtu: 1500", "underlay_mtu: big"),
        ],
        [
            "variable mesos_agent_cpu (all hosts)  [variable-unknown]",
            "    fix     Did you mean mesos_agent_cpus?",
            "variable mesos_distribution (all hosts)  [variable-value]\n    seen    'archiv'",
            "variable storage_disks (all hosts)  [variable-value]",
            "storage_disks.typ. Supported parameters include: ",
            (
                "variable mesos_agent_mem_mb (all hosts)  [variable-value]\n"
                "    seen    'nosuch' is undefined"
            ),
            "underlay_mtu  [underlay-mtu-invalid]\n    seen    'big'",
        ],
    ),
    "options of a cluster": Mistakes(
        [
            clusters(
                "[{name: k, version: 1.99.0}, {name: j, node: {cpu: 1}},"
                " {name: i, network: {overlay: podz}}, text]"
            )
        ],
        [
            "cluster k: version  [option-value]\n    seen    '1.99.0'\n    wanted  one of 1.36.3, ",
            "cluster j: node.cpu  [option-unknown]",
            (
                "cluster i: network.overlay  [cluster-overlay-unknown]\n"
                "    seen    'podz'\n"
                "    wanted  one of kubernetes, apps"
            ),
            "clusters[3]  [clusters-invalid]\n    seen    'text'",
        ],
    ),
    "more nodes than agents": Mistakes(
        [clusters("[{name: k, node: {count: 7}}]"), *SIZES],
        ["cluster k: node  [nodes-exceed-agents]\n    seen    5 of 7 find an agent; kube-node-5 "],
    ),
    "nodes too large for most agents": Mistakes(
        [clusters("[{name: j, node: {count: 3, mem_mb: 3000}}]"), *SIZES],
        [
            "cluster j: node  [nodes-exceed-agents]\n    seen    1 of 3 find an agent; ",
            "    fix     What binds is mem: it rules out 5 of 6 agents.",
        ],
    ),
    "more than any agent has": Mistakes(
        [clusters("[{name: i, node: {cpus: 64}, apiserver: {mem_mb: 9000}}]"), *SIZES],
        [
            "cluster i: node  [resources-unoffered]\n",
            "cluster i: apiserver  [resources-unoffered]",
            "    seen    kube-apiserver-0 needs 9000 MB of memory ",
        ],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_an_inventory_are_all_named_before_a_host_is_asked(
    name: str, tmp_path: Path
) -> None:
    mistakes = MISTAKES[name]
    done = play("preflight.yml", spoilt(tmp_path, mistakes.edits), *mistakes.extra)
    assert done.code == 2, done.text
    assert "TASK [preflight : Look at the host]" not in done.text
    assert "Traceback" not in done.text
    for wanted in mistakes.wanted:
        assert wanted in done.text


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("site")
    return play("site.yml", spoilt(folder, [clusters("[{name: k, version: 1.99.0}]")]))


def test_options_of_clusters_stop_the_site_before_its_first_change(site: Done) -> None:
    assert site.code == 2, site.text
    assert "cluster k: version  [option-value]" in site.text
    plays = [line for line in site.text.splitlines() if line.startswith("PLAY [")]
    assert [line.split("]")[0] for line in plays] == ["PLAY [Preflight"]
    recaps = [line for line in site.text.splitlines() if "unreachable=" in line]
    # Hosts that nothing was done on have no line at all.
    assert recaps
    assert all("changed=0" in line and "unreachable=0" in line for line in recaps)


BROKEN = [
    pytest.param(
        Edit(OVERLAYS, "subnet: 10.245.0.0/16", "subnet: [10.245.0.0/16"),
        "group_vars/all/overlays.yml:16:11: found expected ',' or ']'",
        id="YAML",
    ),
    pytest.param(
        Edit(OVERLAYS, "vni: 1026", "vni: 1026\n    vni: 1027"),
        "group_vars/all/overlays.yml:19:5: found the key 'vni' stands here twice",
        id="a key twice",
    ),
    pytest.param(
        Edit("group_vars/all/more.json", "", '{"a": '),
        "group_vars/all/more.json:1:7: found ",
        id="JSON",
    ),
    pytest.param(
        Edit(HOSTS, "          host_index: 12", "         host_index: 12"),
        "inventory/hosts.yml",
        id="hosts",
    ),
    pytest.param(
        Edit("source.yml", "", "plugin: no.such.source\n"),
        "Completely failed to parse inventory source",
        id="a source that does not answer",
    ),
]


@pytest.mark.parametrize(("edit", "place"), BROKEN)
def test_a_broken_file_is_named_and_nothing_runs(edit: Edit, place: str, tmp_path: Path) -> None:
    done = play("preflight.yml", spoilt(tmp_path, [edit]))
    assert done.code != 0
    assert place in done.text
    assert "TASK [" not in done.text
    assert "Traceback" not in done.text


def test_every_unreachable_host_is_named(tmp_path: Path) -> None:
    # Nothing listens on port 1 of this machine: refused at once, without a network.
    edits = [
        *(Edit(HOSTS, f"10.10.1.{end}", f"127.8.0.{end}") for end in (11, 12, 13, 21, 22, 23)),
        *(Edit(HOSTS, f"10.20.1.{end}", f"127.8.1.{end}") for end in (21, 22, 23)),
        Edit(CLUSTER, "10.10.1.0/24", "127.8.0.0/24"),
        Edit(CLUSTER, "10.20.1.0/24", "127.8.1.0/24"),
    ]
    done = play("preflight.yml", spoilt(tmp_path, edits), "-e", "ansible_port=1")
    assert done.code == 2, done.text
    assert "9 finding(s); nothing was changed." in done.text
    assert (
        "host madrid-agent-3  [host-unreachable]\n    seen    no connection to 127.8.1.23: "
        in done.text
    )
    assert "Connection refused" in done.text


@pytest.mark.parametrize("playbook", ["hosts.yml", "engine.yml", "network.yml", "kubernetes.yml"])
def test_a_playbook_alone_refuses_what_its_roles_do_not_allow(
    playbook: str, tmp_path: Path
) -> None:
    agents = ("--limit", "agents") if playbook == "engine.yml" else ()
    inventory = spoilt(tmp_path, [Edit("group_vars/all/dns.yml", "", "dns_ready_timeout: soon\n")])
    done = play(playbook, inventory, *agents)
    assert done.code == 2, done.text
    assert "    wanted  a value of type int for dns_ready_timeout" in done.text
    # No host was asked anything.
    assert "unreachable=0" in done.text
