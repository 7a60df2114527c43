"""What a deleted cluster leaves on agents that were lost, and how it is collected later. Pure.

A deletion waits for lost agents for a bounded time. What is reserved there is written down in a
place that outlives the cluster; when the agent returns, exactly that is destroyed and unreserved:
what carries the cluster's label, its role and the reservation's own id.

Tasks there end with their framework, for the master tells a returning agent of those that were torn
down. A master that leads since knows of none, and takes the framework back from the agent, to keep
it for ever: so Mesos' ``Master::updateSlaveFrameworks`` and ``recoverFramework``, which starts no
failover timeout. Therefore such agents are written down as well, and the framework is torn down
again when they are back.

What was released a moment ago is written down, too: if its agent was out of reach then, it is known
to be lost after a while (`settings.RELEASE_ARRIVES`), and has kept the reservation when it is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kubedcos.mesos import messages as wire
from kubedcos.model.offer import Agent, Resource
from kubedcos.offers.requirement import CLUSTER_LABEL, RESERVATION_LABEL
from kubedcos.scheduler import translate
from kubedcos.state.records import LeftoverRecord, ReservationRecord, TaskRecord

Json = dict[str, Any]
_OLD_FORM = ("role", "reservation", "allocation_info")
"""How agents before reservation refinement had it; the master shows both forms."""


@dataclass(frozen=True, slots=True)
class Remains:
    """What is still there of one leftover, in the form that the master takes back."""

    volumes: tuple[Json, ...] = ()
    resources: tuple[Json, ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.resources)


def notes(
    reservations: Iterable[ReservationRecord],
    *,
    cluster: str,
    role: str,
    masters: str,
    now: float,
    released: bool = False,
) -> tuple[LeftoverRecord, ...]:
    """What to write down of a cluster's reservations.

    Args:
        reservations: those of them that are left.
        cluster: its name.
        role: its role.
        masters: where it was registered.
        now: seconds since 1970.
        released: Mesos' master has them no more.
    """
    return tuple(
        LeftoverRecord(
            id=found.id,
            cluster=cluster,
            role=role,
            masters=masters,
            pod_instance=found.pod_instance,
            agent=found.agent,
            left_at=now,
            released=released,
        )
        for found in reservations
    )


def task_notes(
    tasks: Iterable[TaskRecord],
    gave_up: Iterable[Agent],
    *,
    framework_id: str,
    cluster: str,
    role: str,
    masters: str,
    now: float,
) -> tuple[LeftoverRecord, ...]:
    """What to write down of tasks out of reach when their framework ends, agent by agent.

    Args:
        tasks: those known.
        gave_up: agents with tasks that were given up, and perhaps replaced elsewhere since.
        framework_id: the framework; without one there are no tasks.
        cluster: its name.
        role: its role.
        masters: where it was registered.
        now: seconds since 1970.
    """
    if not framework_id:
        return ()
    agents = {agent.id: agent for agent in gave_up}
    names: dict[str, set[str]] = {agent_id: set() for agent_id in agents}
    for task in tasks:
        agents[task.agent.id] = task.agent
        names.setdefault(task.agent.id, set()).add(task.pod_instance)
    return tuple(
        LeftoverRecord(
            id=f"{framework_id}.{agent_id}",
            cluster=cluster,
            role=role,
            masters=masters,
            pod_instance=", ".join(sorted(names[agent_id])) or "what was replaced",
            agent=agents[agent_id],
            left_at=now,
            framework_id=framework_id,
        )
        for agent_id in sorted(agents)
    )


def remains(record: LeftoverRecord, agent: Mapping[str, Any]) -> Remains:
    """What an agent that is back holds of a leftover; nothing means that it is settled.

    Args:
        record: what was left.
        agent: the agent as the master's `/slaves` has it.
    """
    parts = agent.get("reserved_resources_full", {}).get(record.role, ())
    ours = [raw for raw in parts if _is_of(record, raw)]
    volumes = [raw for raw in ours if "persistence" in raw.get("disk", {})]
    return Remains(
        tuple(_new_form(raw) for raw in volumes),
        tuple(_without_volume(_new_form(raw)) for raw in ours),
    )


def _is_of(record: LeftoverRecord, raw: Json) -> bool:
    try:
        message = msgspec.convert(_new_form(raw), wire.Resource, strict=False)
    except msgspec.ValidationError:
        return False
    found: Resource | None = translate.resource(message)
    return (
        found is not None
        and found.reservation is not None
        and found.reservation.role == record.role
        and found.label(CLUSTER_LABEL) == record.cluster
        and found.label(RESERVATION_LABEL) == record.id
    )


def _new_form(raw: Json) -> Json:
    return {key: value for key, value in raw.items() if key not in _OLD_FORM}


def _without_volume(raw: Json) -> Json:
    """The space that is left when the volume on it is destroyed."""
    disk = raw.get("disk")
    if not disk:
        return raw
    rest = {key: value for key, value in disk.items() if key not in ("persistence", "volume")}
    plain = {key: value for key, value in raw.items() if key != "disk"}
    return {**plain, "disk": rest} if rest else plain
