"""The registry as Mesos' registrar shows it at `/registrar(1)/registry` (`registry.proto`)."""

from __future__ import annotations

from collections.abc import Mapping

from kubedcos.embedded.master import quantities, views
from kubedcos.embedded.master.quota import Quota
from kubedcos.embedded.master.registry import Registry, StoredMachine, registry_of
from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.master.views import Json
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import AgentInfo


def registry_view(state: MasterState) -> Json:
    """What is stored, in Mesos' form; times are nanoseconds since 1970."""
    registry = registry_of(state)
    lists: Json = {
        "weights": [
            {"info": {"role": role, "weight": weight}} for role, weight in registry.weights.items()
        ],
        "quota_configs": [_quota(role, quota) for role, quota in registry.quotas.items()],
        "minimum_capabilities": [{"capability": name} for name in _needed(registry)],
    }
    machines = [_machine(each) for each in registry.machines]
    return {
        "machines": {"machines": machines} if machines else {},
        "master": {"info": to_json(state.info)},
        "slaves": {"slaves": [_agent(registry, info) for info in registry.admitted]},
        "schedules": [to_json(registry.schedule)],
        **{name: listed for name, listed in lists.items() if listed},
        **_gone("unreachable", state.unreachable),
        **_gone("gone", state.gone),
    }


def _agent(registry: Registry, info: AgentInfo) -> Json:
    agent_id = info.id.value if info.id is not None else ""
    shown: Json = {
        "deactivated": agent_id in registry.deactivated,
        "info": to_json(info) | {"resources": views.full(info.resources)},
    }
    drain = registry.drains.get(agent_id)
    if drain is not None:
        state = "DRAINED" if drain.drained else "DRAINING"
        shown["drain_info"] = {"config": to_json(drain.config), "state": state}
    return shown


def _machine(machine: StoredMachine) -> Json:
    info: Json = {"id": to_json(machine.id), "mode": machine.mode}
    if machine.unavailability is not None:
        info["unavailability"] = to_json(machine.unavailability)
    return {"info": info}


def _quota(role: str, quota: Quota) -> Json:
    parts = {"guarantees": quota.guarantees, "limits": quota.limits}
    amounts = {
        name: {resource: {"value": much} for resource, much in quantities.shown(part).items()}
        for name, part in parts.items()
        if part
    }
    return {"role": role, **amounts}


def _needed(registry: Registry) -> list[str]:
    """What a master must know to read this registry."""
    needed = {"AGENT_DRAINING": registry.deactivated, "QUOTA_V2": registry.quotas}
    return [name for name, reason in needed.items() if reason]


def _gone(name: str, known: Mapping[str, float]) -> Json:
    listed = [
        {"id": {"value": agent_id}, "timestamp": {"nanoseconds": int(time * 1e9)}}
        for agent_id, time in known.items()
    ]
    return {name: {"slaves": listed}} if listed else {}
