"""Between Mesos' messages and the model."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec

from kubedcos.mesos import messages as wire
from kubedcos.model.offer import Agent
from kubedcos.model.service import DiskKind, HealthCheckSpec, PortSpec, TaskSpec
from kubedcos.scheduler import translate
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.workload import AgentPlace, Command, Launch, Uri

# As Apache Mesos 1.12 wrote it, shortened.
OFFER = """
{"id": {"value": "64f6-O21"}, "framework_id": {"value": "64f6-0002"},
 "agent_id": {"value": "64f6-S1"}, "hostname": "b1",
 "url": {"scheme": "http", "path": "/slave(1)",
         "address": {"hostname": "b1", "ip": "10.89.2.21", "port": 5051}},
 "domain": {"fault_domain": {"region": {"name": "dc-b"}, "zone": {"name": "b-1"}}},
 "resources": [
  {"name": "ports", "type": "RANGES", "ranges": {"range": [{"begin": 31002, "end": 31992}]},
   "allocation_info": {"role": "lab"}},
  {"name": "cpus", "type": "SCALAR", "scalar": {"value": 3.3}, "allocation_info": {"role": "lab"}},
  {"name": "disk", "type": "SCALAR", "scalar": {"value": 64.0}, "allocation_info": {"role": "lab"},
   "reservations": [{"type": "DYNAMIC", "role": "lab", "principal": "p",
                     "labels": {"labels": [{"key": "resource_id", "value": "r-1"}]}}],
   "disk": {"persistence": {"id": "own-1", "principal": "p"},
            "volume": {"mode": "RW", "container_path": "data"}}},
  {"name": "disk", "type": "SCALAR", "scalar": {"value": 99.0}, "allocation_info": {"role": "lab"},
   "disk": {"source": {"type": "MOUNT", "mount": {"root": "/mnt/1"}}}},
  {"name": "disk", "type": "SCALAR", "scalar": {"value": 64.0}, "allocation_info": {"role": "lab"},
   "shared": {}, "disk": {"persistence": {"id": "shared-1"},
                          "volume": {"mode": "RW", "container_path": "data"}}},
  {"name": "disk", "type": "SCALAR", "scalar": {"value": 1.0}, "allocation_info": {"role": "lab"},
   "disk": {"source": {"type": "RAW"}}},
  {"name": "mem", "type": "SCALAR", "scalar": {"value": 5.0}, "allocation_info": {"role": "lab"},
   "revocable": {}}],
 "attributes": [{"name": "rack", "type": "TEXT", "text": {"value": "r2"}},
                {"name": "slots", "type": "SCALAR", "scalar": {"value": 4.0}}],
 "unavailability": {"start": {"nanoseconds": 1500000000}},
 "allocation_info": {"role": "lab"}}
"""

LAUNCH = Launch(
    task_id="etcd-0-peer__1",
    pod="etcd",
    index=0,
    spec=TaskSpec(
        "peer",
        "etcd",
        0.5,
        1024,
        256,
        ports=(PortSpec("client", 2379), PortSpec("dns", 1053, "udp")),
        health_check=HealthCheckSpec(2381, "/livez", "https", grace_seconds=30.0),
        kill_grace_seconds=7.5,
        discovery_name="etcd-0",
        labels={"tier": "control", "kubedcos_task": "another"},
    ),
    place=AgentPlace("S1", "b1", "10.0.0.1"),
    ports={"client": 2379, "dns": 1053},
    volumes={},
)
COMMAND = Command(
    "exec etcd", (Uri("http://b/x", "x", executable=True),), {"A": "1"}, {"hash": "h"}
)


def sent(message: wire.Call | wire.TaskInfo | wire.FrameworkInfo) -> Any:
    return json.loads(wire.encode(message))


def test_an_offer_as_mesos_writes_it() -> None:
    offer = translate.offer(wire.decode(OFFER, wire.Offer))
    assert offer.agent == Agent(
        "64f6-S1", "b1", "10.89.2.21", "dc-b", "b-1", (("rack", "r2"), ("slots", "4"))
    )
    assert (offer.id, offer.role, offer.unavailable_from) == ("64f6-O21", "lab", 1.5)
    ports, cpus, volume, mount = offer.resources
    assert ports.ranges == ((31002, 31992),)
    assert cpus.millis == 3300
    assert volume.label("resource_id") == "r-1"
    assert (volume.disk.persistence_id, volume.disk.container_path) == ("own-1", "data")
    assert (mount.disk.kind, mount.disk.root) == (DiskKind.MOUNT, "/mnt/1")


def test_resources_go_back_as_they_came() -> None:
    for message in wire.decode(OFFER, wire.Offer).resources:
        found = translate.resource(message)
        if found is not None:
            assert translate.wire_resource(found, "lab") == message


def test_a_task_carries_all_that_makes_it_findable() -> None:
    info = sent(translate.task_info(LAUNCH, COMMAND, (), cluster="k8s", role="lab"))
    assert info["name"] == "etcd-0-peer"
    assert info["task_id"] == {"value": "etcd-0-peer__1"}
    assert info["agent_id"] == {"value": "S1"}
    assert info["command"] == {
        "value": "exec etcd",
        "uris": [
            {
                "value": "http://b/x",
                "output_file": "x",
                "executable": True,
                "extract": False,
                "cache": True,
            }
        ],
        "environment": {"variables": [{"name": "A", "value": "1"}]},
    }
    assert info["discovery"] == {
        "visibility": "CLUSTER",
        "name": "etcd-0",
        "ports": {
            "ports": [
                {"number": 2379, "name": "client", "protocol": "tcp"},
                {"number": 1053, "name": "dns", "protocol": "udp"},
            ]
        },
    }
    labels = {label["key"]: label["value"] for label in info["labels"]["labels"]}
    assert labels == {
        "tier": "control",
        "hash": "h",
        "kubedcos_cluster": "k8s",
        "kubedcos_pod": "etcd-0",
        "kubedcos_task": "peer",
    }
    assert info["kill_policy"] == {"grace_period": {"nanoseconds": 7_500_000_000}}
    check = info["health_check"]
    assert check["type"] == "HTTP"
    assert check["http"] == {"port": 2381, "scheme": "https", "path": "/livez"}
    assert (check["grace_period_seconds"], check["consecutive_failures"]) == (30.0, 5)


def test_a_task_whose_cpus_are_no_limit_has_none_of_them() -> None:
    unlimited = replace(LAUNCH, spec=replace(LAUNCH.spec, cpu_is_limit=False))
    info = sent(translate.task_info(unlimited, COMMAND, (), cluster="k8s", role="lab"))
    assert info["limits"] == {"cpus": {"value": 10_000.0}}
    assert "limits" not in sent(translate.task_info(LAUNCH, COMMAND, (), cluster="k8s", role="lab"))


def test_the_framework_introduces_itself() -> None:
    settings = FrameworkSettings("k8s", "k8s", "m1:5050", principal="p", hostname="m1")
    first = sent(translate.framework_info(settings, ""))
    assert "id" not in first
    assert first["roles"] == ["k8s"]
    assert (first["checkpoint"], first["failover_timeout"]) == (True, 300.0)
    assert {entry["type"] for entry in first["capabilities"]} == {
        "MULTI_ROLE",
        "RESERVATION_REFINEMENT",
        "PARTITION_AWARE",
        "TASK_KILLING_STATE",
        "REGION_AWARE",
    }
    again = sent(translate.framework_info(settings, "F-1"))
    assert again["id"] == {"value": "F-1"}


def test_only_updates_with_a_uuid_are_acknowledged() -> None:
    status = wire.TaskStatus(wire.TaskID("t"), "TASK_RUNNING", agent_id=wire.AgentID("S"))
    assert translate.acknowledge(status) is None
    answer = translate.acknowledge(msgspec.structs.replace(status, uuid="rVQn=="))
    assert answer is not None
    assert sent(answer) == {
        "type": "ACKNOWLEDGE",
        "acknowledge": {
            "agent_id": {"value": "S"},
            "task_id": {"value": "t"},
            "uuid": "rVQn==",
        },
    }


def test_no_refusal_is_said_in_so_many_words() -> None:
    assert sent(translate.accept(["O1"], [], 0.0))["accept"]["filters"] == {"refuse_seconds": 0.0}


def test_an_update_tells_addresses_and_reason() -> None:
    text = """{"task_id": {"value": "t"}, "state": "TASK_FAILED", "reason": "REASON_GC_ERROR",
     "message": "m", "healthy": false, "container_status": {"network_infos": [
     {"ip_addresses": [{"protocol": "IPv4", "ip_address": "10.0.0.9"}]}]}}"""
    update = translate.task_update(wire.decode(text, wire.TaskStatus))
    assert update.addresses == ("10.0.0.9",)
    assert (update.reason, update.message, update.healthy) == ("GC_ERROR", "m", False)


def test_how_long_an_agent_is_away_is_told_by_the_masters_clocks() -> None:
    lost = wire.TaskStatus(wire.TaskID("t"), "TASK_UNREACHABLE", timestamp=1000.0)
    assert translate.task_update(lost).away is None
    since = msgspec.structs.replace(lost, unreachable_time=wire.TimeInfo(940_500_000_000))
    assert translate.task_update(since).away == 59.5
    other = msgspec.structs.replace(since, timestamp=900.0)
    assert translate.task_update(other).away is None


def test_the_framework_is_kept_as_long_as_is_wished_once_its_id_is_stored() -> None:
    settings = FrameworkSettings("k8s", "k8s", "m1:5050", failover_timeout=60.0)
    assert translate.framework_info(settings, "").failover_timeout == 60.0
    call = translate.update_framework(replace(settings, failover_timeout=900.0), "F-1")
    assert call.update_framework is not None
    assert call.update_framework.framework_info.id == wire.FrameworkID("F-1")
    assert call.update_framework.framework_info.failover_timeout == 900.0
