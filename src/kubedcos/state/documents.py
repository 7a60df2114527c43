"""How records are written to a store and read from it: each as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec

from kubedcos.state.records import (
    ACTION,
    AGENT,
    CLUSTER,
    CONFIGURATION,
    EVENTS,
    INTERRUPTION,
    LEFTOVER,
    LEFTOVERS,
    OPTIONS,
    POD,
    RECOVERY,
    RESERVATION,
    STEP,
    TASK,
    ActionRecord,
    AgentRecord,
    ClusterRecord,
    ConfigurationRecord,
    EventsRecord,
    InterruptionRecord,
    LeftoverRecord,
    PodRecord,
    RecoveryRecord,
    ReservationRecord,
    StepRecord,
    TaskRecord,
)
from kubedcos.state.store import Change, StateError, Store

Record = (
    ClusterRecord
    | TaskRecord
    | PodRecord
    | ReservationRecord
    | StepRecord
    | AgentRecord
    | RecoveryRecord
    | InterruptionRecord
    | ActionRecord
    | EventsRecord
)
"""What the records of one living cluster are of."""


@dataclass(frozen=True, slots=True)
class Memory:
    """All records of a cluster as they stand in the store.

    Attributes:
        sizes: bytes of each document by kind and key.
    """

    cluster: ClusterRecord
    tasks: Mapping[str, TaskRecord]
    pods: Mapping[str, PodRecord]
    reservations: Mapping[str, ReservationRecord]
    steps: Mapping[str, StepRecord]
    agents: Mapping[str, AgentRecord]
    recovery: Mapping[str, RecoveryRecord]
    interruptions: Mapping[str, InterruptionRecord]
    actions: Mapping[str, ActionRecord]
    events: Mapping[str, EventsRecord]
    sizes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


_R = TypeVar("_R")


def put(kind: str, key: str, record: object) -> Change:
    """The change that writes a record."""
    return Change(kind, key, msgspec.json.encode(record))


def remove(kind: str, key: str) -> Change:
    """The change that removes a record."""
    return Change(kind, key, None)


def address(record: Record) -> tuple[str, str]:
    """Kind and key under which a record is kept."""
    match record:
        case ClusterRecord():
            return CLUSTER, CLUSTER
        case TaskRecord():
            return TASK, record.key
        case PodRecord():
            return POD, record.key
        case ReservationRecord():
            return RESERVATION, record.id
        case StepRecord():
            return STEP, record.key
        case AgentRecord():
            return AGENT, record.agent.id
        case RecoveryRecord():
            return RECOVERY, record.key
        case InterruptionRecord():
            return INTERRUPTION, record.key
        case ActionRecord():
            return ACTION, record.key
        case EventsRecord():
            return EVENTS, record.pod_instance


def load(store: Store, cluster: str) -> Memory:
    """All records of a cluster; of one that the store does not know, empty ones.

    Raises:
        StateError: the store cannot be read, or a record makes no sense.
    """
    sizes: dict[str, dict[str, int]] = {}
    found = _load(store, cluster, CLUSTER, ClusterRecord, sizes)
    return Memory(
        cluster=found.get(CLUSTER, ClusterRecord()),
        recovery=_load(store, cluster, RECOVERY, RecoveryRecord, sizes),
        tasks=_load(store, cluster, TASK, TaskRecord, sizes),
        pods=_load(store, cluster, POD, PodRecord, sizes),
        reservations=_load(store, cluster, RESERVATION, ReservationRecord, sizes),
        steps=_load(store, cluster, STEP, StepRecord, sizes),
        agents=_load(store, cluster, AGENT, AgentRecord, sizes),
        interruptions=_load(store, cluster, INTERRUPTION, InterruptionRecord, sizes),
        actions=_load(store, cluster, ACTION, ActionRecord, sizes),
        events=_load(store, cluster, EVENTS, EventsRecord, sizes),
        sizes=sizes,
    )


def cluster_names(store: Store) -> tuple[str, ...]:
    """Clusters that the store has records of, sorted."""
    return tuple(name for name in store.clusters() if not name.startswith("_"))


def leftovers(store: Store) -> dict[str, LeftoverRecord]:
    """What deleted clusters have left behind, by id."""
    return _load(store, LEFTOVERS, LEFTOVER, LeftoverRecord, {})


def options(store: Store, cluster: str) -> str | None:
    """The cluster's options as its creator wrote them; None when the cluster is not known."""
    found = store.read(cluster, OPTIONS).get(OPTIONS)
    return None if found is None else found.decode()


def configurations(store: Store, cluster: str) -> dict[int, ConfigurationRecord]:
    """A cluster's configurations by number, ascending; of older clusters there are none.

    Raises:
        StateError: the store cannot be read, or a record makes no sense.
    """
    found = _load(store, cluster, CONFIGURATION, ConfigurationRecord, {})
    return {record.number: record for record in sorted(found.values(), key=lambda r: r.number)}


def put_options(text: str) -> Change:
    """The change that keeps a cluster's options."""
    return Change(OPTIONS, OPTIONS, text.encode())


def _load(
    store: Store,
    cluster: str,
    kind: str,
    record: type[_R],
    sizes: dict[str, dict[str, int]],
) -> dict[str, _R]:
    decoder = msgspec.json.Decoder(record)
    records = {}
    sizes[kind] = {}
    for key, value in store.read(cluster, kind).items():
        sizes[kind][key] = len(value)
        try:
            records[key] = decoder.decode(value)
        except msgspec.DecodeError as error:
            raise StateError(
                f"state of {cluster}: {kind} {key} is not readable: {error}"
            ) from error
    return records
