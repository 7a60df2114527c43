"""What masters keep in ZooKeeper, held to nodes that Apache Mesos wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kubedcos.errors import InvalidInput
from kubedcos.mesos.zookeeper import candidates, master_address, zookeeper_address

BOOK: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "fixtures" / "mesos" / "ha-and-operator.json").read_text()
)


@pytest.mark.parametrize(
    ("moment", "port"), [("znodes_before", "leader_port"), ("znodes_after", "new_leader_port")]
)
def test_the_lowest_node_leads(moment: str, port: str) -> None:
    first = candidates(BOOK[moment])[0]
    assert master_address(BOOK[moment][first]["data"].encode()).endswith(f":{BOOK[port]}")


def test_other_nodes_of_mesos_do_not_count() -> None:
    children = ["json.info_0000000012", "json.info_0000000009", "log_replicas", "info_0000000001"]
    assert candidates(children) == ["json.info_0000000009", "json.info_0000000012"]


def test_the_address_is_surer_than_the_name() -> None:
    info = {"hostname": "m1", "port": 1, "address": {"hostname": "m1", "ip": "10.0.0.1", "port": 2}}
    assert master_address(json.dumps(info).encode()) == "10.0.0.1:2"
    assert master_address(b'{"hostname": "m1", "port": 1}') == "m1:1"


@pytest.mark.parametrize("info", [b"{}", b"torn", b'{"hostname": "m1"}'])
def test_what_is_no_master(info: bytes) -> None:
    with pytest.raises(ValueError, match=r"address|Expecting"):
        master_address(info)


def test_parts_of_an_address() -> None:
    address = zookeeper_address("zk://user:secret@h1:2182,h2/mesos/")
    assert (address.hosts, address.path) == ("h1:2182,h2:2181", "/mesos")
    assert address.auth_data == [("digest", "user:secret")]
    assert zookeeper_address("zk://h1/mesos").auth_data is None


@pytest.mark.parametrize(
    "text", ["http://h/mesos", "zk://h:2181", "zk:///mesos", "zk://u:hunter2@/m", "zk://a,,b/m", ""]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        zookeeper_address(text, "flag --zk")
    assert "flag --zk" in str(refused.value)
    assert "hunter2" not in str(refused.value)
