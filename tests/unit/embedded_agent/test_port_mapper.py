"""Mesos' port mapper: what it refuses, and the rules that it makes and removes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubedcos.embedded.agent import port_mapper
from kubedcos.embedded.agent.port_mapper import PluginError, PortMapper

Json = dict[str, Any]
MAPPINGS = [
    {"host_port": 31005, "container_port": 80},
    {"host_port": 31006, "container_port": 53, "protocol": "UDP"},
]


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A directory with a plugin that answers, and one that fails."""
    bridge = tmp_path / "bridge"
    answer = '{"ip4": {"ip": "10.7.0.9/24"}, "dns": {}}'
    bridge.write_text(f"#!/bin/sh\ncat > {tmp_path}/input-$CNI_COMMAND\necho '{answer}'\n")
    (tmp_path / "broken").write_text("#!/bin/sh\necho no more addresses; exit 7\n")
    for name in ("bridge", "broken"):
        (tmp_path / name).chmod(0o755)
    return tmp_path


def config(plugin: str = "bridge", **changes: Any) -> Json:
    made = {
        "name": "apps",
        "type": "mesos-cni-port-mapper",
        "chain": "KDC-TEST",
        "excludeDevices": ["docker0"],
        "delegate": {"type": plugin, "bridge": "m-apps"},
        "args": {"org.apache.mesos": {"network_info": {"port_mappings": MAPPINGS}}},
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def environment(plugins: Path, command: str) -> dict[str, str]:
    return {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": "c-1",
        "CNI_NETNS": "/proc/self/ns/net",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(plugins),
        "PATH": os.environ["PATH"],
    }


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"chain": None}, "Failed to get the required field 'chain': Not found"),
        ({"name": 3}, "Failed to get the required field 'name': Not found"),
        ({"delegate": None}, "required field 'delegate'"),
        ({"delegate": {"type": "nowhere"}}, "Could not find the delegate plugin 'nowhere' in "),
        ({"excludeDevices": [1]}, "The excluded device needs to be a string"),
        ({"args": {}}, "Failed to get the field 'args{org.apache.mesos}': Not found"),
    ],
)
def test_bad_configurations(plugins: Path, changes: Json, text: str) -> None:
    with pytest.raises(PluginError) as caught:
        PortMapper(config(**changes), environment(plugins, "ADD"))
    assert text in str(caught.value)
    assert caught.value.code == 101


def test_a_missing_variable(plugins: Path) -> None:
    given = environment(plugins, "ADD")
    del given["CNI_NETNS"]
    with pytest.raises(PluginError, match="'CNI_NETNS' for non-'DEL' command"):
        PortMapper(config(), given)
    PortMapper(config(), given | {"CNI_COMMAND": "DEL"})


@pytest.fixture
def namespace(tmp_path: Path) -> Iterator[str]:
    """A network namespace whose rules are nobody else's."""
    if os.geteuid() != 0 or shutil.which("iptables") is None:
        pytest.skip("needs root and iptables")
    name = f"kdc-{os.getpid()}-{tmp_path.name}"
    if subprocess.run(["ip", "netns", "add", name], check=False).returncode != 0:
        pytest.skip("no network namespaces here")
    yield name
    subprocess.run(["ip", "netns", "del", name], check=True)


def call(namespace: str, plugins: Path, command: str, conf: Json) -> tuple[int, str]:
    done = subprocess.run(
        ["ip", "netns", "exec", namespace, sys.executable, "-IS", port_mapper.__file__],
        input=json.dumps(conf),
        env=environment(plugins, command),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def rules(namespace: str) -> list[str]:
    words = ["ip", "netns", "exec", namespace, "iptables", "-t", "nat", "-S"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def test_rules_come_and_go(namespace: str, plugins: Path) -> None:
    for _ in range(2):
        status, output = call(namespace, plugins, "ADD", config())
        assert (status, json.loads(output)["ip4"]["ip"]) == (0, "10.7.0.9/24")
    found = rules(namespace)
    mapped = [rule for rule in found if "DNAT" in rule]
    assert len(mapped) == 2, "a second ADD adds nothing"
    assert "! -i docker0 -p tcp -m tcp --dport 31005" in mapped[0]
    assert "--to-destination 10.7.0.9:80" in mapped[0]
    assert "-p udp -m udp --dport 31006" in mapped[1]
    assert "-A PREROUTING -m addrtype --dst-type LOCAL -j KDC-TEST" in found
    assert "-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j KDC-TEST" in found
    passed = json.loads((plugins / "input-ADD").read_text())
    assert passed == {"type": "bridge", "bridge": "m-apps"} | {
        name: config()[name] for name in ("name", "args")
    }
    assert call(namespace, plugins, "DEL", config()) == (0, "")
    assert not [rule for rule in rules(namespace) if "DNAT" in rule]
    assert (plugins / "input-DEL").exists()
    status, output = call(namespace, plugins, "ADD", config("broken"))
    told = json.loads(output)
    assert (status, told["code"]) == (1, 102)
    assert "return status 7. Could not attach/detach container: no more addresses" in told["msg"]
    assert json.loads(call(namespace, plugins, "CHECK", config())[1])["code"] == 104
