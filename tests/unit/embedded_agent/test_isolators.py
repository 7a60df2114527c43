"""What isolators decide, on plain data; what they do to the machine is in the container tests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubedcos.embedded.agent.executor.mount_table import mount_of, parse_mount_table
from kubedcos.embedded.agent.isolators import capabilities, container_volumes, namespaces
from kubedcos.embedded.agent.isolators.cni import Networks
from kubedcos.embedded.agent.isolators.cni_results import (
    hosts_text,
    parse_default_dns,
    parse_result,
    reported,
    resolver_text,
)
from kubedcos.embedded.agent.isolators.disk import DiskWatch, Watched, bytes_text
from kubedcos.embedded.agent.isolators.order import Isolators
from kubedcos.embedded.agent.isolators.preparation import (
    ContainerRefused,
    Preparation,
    Wish,
)
from kubedcos.embedded.agent.isolators.unsupported import unsupported
from kubedcos.embedded.agent.taskrun import MB
from kubedcos.errors import InvalidInput
from kubedcos.mesos.container_rules import container_fault
from kubedcos.mesos.messages import ContainerInfo, NetworkInfo, Resource

Json = dict[str, Any]


def container(**parts: Any) -> ContainerInfo:
    return msgspec.convert({"type": "MESOS", **parts}, ContainerInfo)


def wish(**parts: Any) -> Wish:
    return Wish(container(**parts), Path("/sandbox"))


# Rules of both master and agent


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"type": "DOCKER"}, "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo"),
        (
            {
                "type": "DOCKER",
                "docker": {"image": "x", "parameters": [{"key": "name", "value": "n"}]},
            },
            "Parameter in DockerInfo must not be 'name'",
        ),
        (
            {
                "volumes": [
                    {
                        "container_path": "a",
                        "mode": "RW",
                        "source": {"type": "CSI_VOLUME", "csi_volume": {"plugin_name": "p"}},
                    }
                ]
            },
            "Invalid volume: 'source.csi_volume.static_provisioning' is not set for CSI volume",
        ),
    ],
)
def test_faults_of_containers(parts: Json, text: str) -> None:
    assert container_fault(container(**parts)) == text
    assert container_fault(container()) is None


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ({"type": "DOCKER", "docker": {"image": "x"}}, "type DOCKER"),
        ({"mesos": {"image": {"type": "DOCKER"}}}, "container images"),
        ({"tty_info": {}}, "tty_info"),
        ({"linux_info": {"seccomp": {}}}, "seccomp"),
        ({"volumes": [{"container_path": "a", "mode": "RW", "image": {}}]}, "image volumes"),
    ],
)
def test_what_the_agent_cannot_give_is_named(parts: Json, word: str) -> None:
    found = unsupported(container(**parts), frozenset({"linux/seccomp"}))
    assert found is not None
    assert word in found


def test_seccomp_without_its_isolator_is_ignored_as_in_mesos() -> None:
    assert unsupported(container(linux_info={"seccomp": {}}), frozenset()) is None


# Capabilities


def capability_choice(linux: Json, **flags: Any) -> Preparation:
    made = Preparation()
    given = {"effective": None, "bounding": None} | flags
    capabilities.prepare(made, wish(linux_info=linux), **given)
    return made


def capability_set(*names: str) -> Json:
    return {"capabilities": list(names)}


def test_the_agents_flags_are_the_default() -> None:
    made = capability_choice({}, effective=("KILL",))
    assert (made.effective, made.bounding) == (("KILL",), ("KILL",))
    made = capability_choice({}, bounding=("KILL",))
    assert (made.effective, made.bounding) == (None, ("KILL",))
    assert made.rights() == {"capabilities": {"effective": None, "bounding": [5]}}


def test_a_task_may_choose_within_the_bounding_set() -> None:
    linux = {
        "effective_capabilities": capability_set("NET_RAW", "CHOWN"),
        "bounding_capabilities": capability_set("NET_RAW", "CHOWN", "KILL"),
    }
    made = capability_choice(linux, bounding=("CHOWN", "KILL", "NET_RAW"))
    assert made.effective == ("CHOWN", "NET_RAW")
    with pytest.raises(ContainerRefused) as caught:
        capability_choice(linux, bounding=("CHOWN",))
    assert str(caught.value) == (
        "Bounding capabilities '{ CHOWN, KILL, NET_RAW }', but only '{ CHOWN }' are allowed"
    )


def test_the_old_field_and_the_new_one_exclude_each_other() -> None:
    one = capability_set("KILL")
    assert capability_choice({"capability_info": one}).effective == ("KILL",)
    with pytest.raises(ContainerRefused, match="Only one of 'capability_info' or"):
        capability_choice({"capability_info": one, "effective_capabilities": one})


# Namespaces and volumes


def test_namespaces_of_nested_containers() -> None:
    nested = Wish(container(), Path("/sandbox/c"), Path("/sandbox"))
    made = Preparation()
    namespaces.prepare_ipc(made, nested, sharing_allowed=False, shm_size=None)
    assert made.namespaces == set(), "the parent's"
    names = frozenset({"filesystem/linux", "namespaces/pid", "linux/nnp"})
    made = Isolators(names, linux_launcher=True).prepare(nested, Networks(Path("/x"), None, None))
    assert (made.namespaces, made.no_new_privileges) == ({"mnt"}, True)


def test_sharing_may_be_forbidden() -> None:
    shared = wish(linux_info={"ipc_mode": "SHARE_PARENT"})
    with pytest.raises(ContainerRefused, match="Sharing agent IPC namespace"):
        namespaces.prepare_ipc(Preparation(), shared, sharing_allowed=False, shm_size=None)


def test_a_nested_container_sees_its_parents_sandbox(tmp_path: Path) -> None:
    """With filesystem/posix by a link, with filesystem/linux by a mount."""
    parent, own = tmp_path / "parent", tmp_path / "own"
    parent.mkdir()
    own.mkdir()
    source = {"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "shared"}}
    parts = {"volumes": [{"container_path": "data", "mode": "RW", "source": source}]}
    nested = Wish(container(**parts), own, parent)
    posix = frozenset({"filesystem/posix", "volume/sandbox_path"})
    container_volumes.prepare(Preparation(), nested, posix, None)
    assert (own / "data").resolve() == parent / "shared"
    (own / "data").unlink()
    made = Preparation()
    container_volumes.prepare(
        made, nested, posix - {"filesystem/posix"} | {"filesystem/linux"}, None
    )
    (mount,) = made.mounts
    assert (mount.source, mount.target) == (str(parent / "shared"), str(own / "data"))


TABLE = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 0 8:1 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw
30 27 8:1 /work /var/my\040work rw,relatime shared:7 - ext4 /dev/vda rw
31 30 8:1 /work /var/my\040work/deep rw - ext4 /dev/vda rw
"""


def test_the_mount_of_a_path() -> None:
    table = parse_mount_table(TABLE)
    assert mount_of("/var/my work/x", table).shared == 7
    assert mount_of("/var/my work/deep/x", table).shared is None
    assert mount_of("/var/my workshop", table).target == "/"
    assert mount_of("/proc/1", table).target == "/proc"


# CNI


def test_results_of_plugins() -> None:
    result = parse_result(
        '{"ip4": {"ip": "9.0.0.5/25", "gateway": "9.0.0.1"}, "ip6": {"ip": "fd01::5/64"}}'
    )
    wanted = NetworkInfo(name="apps", groups=("a",))
    info = reported(wanted, result)
    assert [(a.protocol, a.ip_address) for a in info.ip_addresses] == [
        ("IPv4", "9.0.0.5"),
        ("IPv6", "fd01::5/64"),
    ]
    assert (info.name, info.groups) == ("apps", ("a",))
    assert hosts_text("web", [parse_result("{}"), result]) == ("127.0.0.1 localhost\n9.0.0.5 web\n")
    later = parse_result('{"cniVersion": "0.3.1", "ips": [{"address": "9.0.0.5/25"}]}')
    assert reported(wanted, later).ip_addresses == (), "Mesos knows no such form"
    for bad, word in (("x", "JSON parse"), ('{"ip4": {}}', "Protobuf parse"), ("[]", "Protobuf")):
        with pytest.raises(ValueError, match=word):
            parse_result(bad)


def test_resolvers_of_plugins_go_before_the_flags() -> None:
    def entry(servers: list[str], **more: Any) -> Json:
        return {"network_mode": "CNI", "dns": {"nameservers": servers}, **more}

    dns = parse_default_dns(
        {
            "mesos": [
                entry(["10.0.0.1"], network_name="a"),
                entry(["10.0.0.2"]),
            ],
            "docker": [{"network_mode": "BRIDGE", "dns": {}}],
        }
    )
    own = parse_result('{"dns": {"nameservers": ["1.1.1.1"], "domain": "d", "search": ["s"]}}')
    empty = parse_result('{"dns": {}}')
    assert dns.of({"a": own}).nameservers == ("1.1.1.1",)
    assert dns.of({"a": empty, "b": empty}).nameservers == ("10.0.0.1", "10.0.0.2")
    text = resolver_text(dns.of({"x": own, "b": empty}))
    assert text == "domain d\nsearch s\nnameserver 1.1.1.1\nnameserver 10.0.0.2\n"
    for twice in ({}, {"network_name": "a"}):
        with pytest.raises(InvalidInput, match="Multiple DNS configuration"):
            parse_default_dns({"mesos": [entry([], **twice), entry([], **twice)]})


# Disk


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0, "0B"), (65544 << 10, "65544KB"), (16 << 20, "16MB"), (3 << 30, "3GB"), (1025, "1025B")],
)
def test_amounts_as_mesos_writes_them(amount: int, text: str) -> None:
    assert bytes_text(amount) == text


def disk(value: float, path: str | None = None, kind: str | None = None) -> Resource:
    made: Json = {"name": "disk", "type": "SCALAR", "scalar": {"value": value}}
    if path is not None:
        made["disk"] = {
            "persistence": {"id": path},
            "volume": {"mode": "RW", "container_path": path},
        }
        if kind is not None:
            made["disk"]["source"] = {"type": kind}
    return msgspec.convert(made, Resource)


def test_disk_quotas_in_turn() -> None:
    resources = (disk(1), disk(1), disk(4, "vol"), disk(1, "whole", "MOUNT"))
    running = {"c-1": Watched("c-1", Path("/s"), ((Path("/s"), resources),))}
    used = {"/s": 3 * MB, "/s/vol": 3 * MB, "/s/whole": 9 * MB}
    asked: list[tuple[str, Sequence[str]]] = []
    told: list[tuple[str, str]] = []

    async def measure(path: str, excludes: Sequence[str]) -> int:
        asked.append((path, excludes))
        return used[path]

    async def story() -> None:
        watch = DiskWatch(15, True, measure)
        for _ in range(4):
            await watch.step(running, lambda name, found: told.append((name, found.message)))
        found = watch.statistics(running["c-1"])
        assert (found["disk_limit_bytes"], found["disk_used_bytes"]) == (2 * MB, 3 * MB)
        assert [entry["limit_bytes"] for entry in found["disk_statistics"]] == [
            *(4 * MB, MB, 2 * MB)
        ]
        await watch.step({}, lambda *_: None)
        assert watch.used == {}

    asyncio.run(story())
    assert asked[:3] == [("/s", ["/s/vol", "/s/whole"]), ("/s/vol", []), ("/s/whole", [])]
    assert told == [("c-1", "Disk usage (3MB) exceeds quota (2MB)")] * 2
