"""Which tasks may ask for key material, remembered so that a restarted scheduler still knows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from kubedcos.kubernetes.vault import SecretStore
from kubedcos.scheduler.workload import AgentPlace, Launch

_PREFIX: Final = "grant-"


class Place(msgspec.Struct, frozen=True):
    """An agent, as `AgentPlace`."""

    agent_id: str
    hostname: str
    address: str
    region: str
    zone: str
    attributes: dict[str, str]


class Grant(msgspec.Struct, frozen=True):
    """The right of one task to ask once.

    Attributes:
        task_id: Mesos task id.
        pod: name of the pod.
        index: the instance's index.
        task: the task's name within the pod.
        place: the agent that it was launched on.
        volumes: volume names to paths in the sandbox.
        etcd: addresses of etcd's members when it was launched.
        issued_at: seconds since 1970.
        used_at: likewise; 0 while not used.
        proof: hash of the request that used it.
        node: host name that the task reported when it used the grant.
    """

    task_id: str
    pod: str
    index: int
    task: str
    place: Place
    volumes: dict[str, str]
    etcd: tuple[str, ...]
    issued_at: float
    used_at: float = 0.0
    proof: str = ""
    node: str = ""

    @property
    def pod_instance(self) -> str:
        """Such as ``kube-node-2``."""
        return f"{self.pod}-{self.index}"

    @property
    def agent(self) -> AgentPlace:
        """The agent that the task was launched on."""
        place = self.place
        return AgentPlace(
            agent_id=place.agent_id,
            hostname=place.hostname,
            address=place.address,
            region=place.region,
            zone=place.zone,
            attributes=place.attributes,
        )


def new_grant(launch: Launch, etcd: tuple[str, ...], now: float) -> Grant:
    """The grant of a task that is about to be launched."""
    place = launch.place
    return Grant(
        task_id=launch.task_id,
        pod=launch.pod,
        index=launch.index,
        task=launch.spec.name,
        place=Place(
            agent_id=place.agent_id,
            hostname=place.hostname,
            address=place.address,
            region=place.region,
            zone=place.zone,
            attributes=dict(place.attributes),
        ),
        volumes=dict(launch.volumes),
        etcd=etcd,
        issued_at=now,
    )


class Grants:
    """All grants of a cluster, in a store."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store
        self._known: dict[str, Grant] = {}
        for name in store.names():
            if name.startswith(_PREFIX) and (value := store.get(name)) is not None:
                grant = msgspec.json.decode(value, type=Grant)
                self._known[grant.task_id] = grant

    @property
    def all(self) -> Mapping[str, Grant]:
        """Task ids to grants."""
        return self._known

    def put(self, grant: Grant) -> None:
        """Remember, replacing what was known of the task."""
        self._store.put(f"{_PREFIX}{grant.task_id}", msgspec.json.encode(grant))
        self._known[grant.task_id] = grant

    def withdraw(self, task_id: str) -> None:
        """Forget; an unknown task is no error."""
        if self._known.pop(task_id, None) is not None:
            self._store.delete(f"{_PREFIX}{task_id}")
