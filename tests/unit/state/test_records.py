"""Records come back as they were written."""

from __future__ import annotations

import pytest

from kubedcos.model.offer import Agent
from kubedcos.model.service import Goal, PortSpec, TaskSpec, VolumeSpec
from kubedcos.state import documents, records
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import (
    AgentRecord,
    ClusterRecord,
    PodRecord,
    ReservationRecord,
    StepRecord,
    TaskRecord,
)
from kubedcos.state.store import Change, StateError

AGENT = Agent("S1", "a1", "10.0.0.1", "dc-a", "a-1", (("rack", "r1"), ("rack", "r2")))
SPEC = TaskSpec(
    "peer",
    "etcd",
    0.5,
    1024,
    256,
    goal=Goal.FINISHED,
    ports=(PortSpec("client", 2379),),
    volumes=(VolumeSpec("data", "data", 3072),),
    labels={"tier": "control"},
)


def test_all_kinds_come_back() -> None:
    task = TaskRecord("t__1", "etcd", 0, SPEC, AGENT, {"client": 2379}, {"data": "data"})
    pod = PodRecord("etcd", 0, AGENT, "r-1", confirmed=True)
    asked = ReservationRecord("r-1", "etcd-0", AGENT, 5.0)
    step = StepRecord("deploy", "etcd", "etcd-0:[peer]", 1.0, 2.0, was_complete=True)
    agent = AgentRecord(AGENT, {"cpus": 4000})
    cluster = ClusterRecord("F-1", deleting=True)
    store = MemoryStore()
    store.write(
        "k8s",
        [
            documents.put(records.CLUSTER, records.CLUSTER, cluster),
            documents.put(records.TASK, task.key, task),
            documents.put(records.POD, pod.key, pod),
            documents.put(records.RESERVATION, asked.id, asked),
            documents.put(records.STEP, step.key, step),
            documents.put(records.AGENT, AGENT.id, agent),
            documents.put_options("name: kubernetes\n"),
        ],
    )
    memory = documents.load(store, "k8s")
    assert memory.cluster == cluster
    assert memory.tasks == {"etcd-0/peer": task}
    assert memory.pods == {"etcd-0": pod}
    assert memory.reservations == {"r-1": asked}
    assert memory.steps == {"deploy/etcd/etcd-0:[peer]": step}
    assert memory.agents == {"S1": agent}
    assert documents.options(store, "k8s") == "name: kubernetes\n"


def test_an_unknown_cluster_is_empty() -> None:
    memory = documents.load(MemoryStore(), "k8s")
    assert memory.cluster == ClusterRecord()
    assert memory.tasks == {}
    assert documents.options(MemoryStore(), "k8s") is None


def test_an_unreadable_record_is_named() -> None:
    store = MemoryStore()
    store.write("k8s", [Change(records.TASK, "etcd-0/peer", b'{"task_id": 7}')])
    with pytest.raises(StateError, match="state of k8s: task etcd-0/peer"):
        documents.load(store, "k8s")
