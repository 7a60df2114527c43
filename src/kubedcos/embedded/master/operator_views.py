"""What the operator API v1 shows: the answers to its GET calls."""

from __future__ import annotations

from typing import Any

from kubedcos.embedded.master import quantities, role_views, views
from kubedcos.embedded.master.draining import drain_info
from kubedcos.embedded.master.executor_views import executors
from kubedcos.embedded.master.sorter import DEFAULT_WEIGHT
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState
from kubedcos.embedded.protojson import to_json

Json = dict[str, Any]


def _time(seconds: float) -> Json:
    return {"nanoseconds": int(seconds * 1e9)}


def agent(state: MasterState, record: AgentRecord) -> Json:
    """One agent."""
    shown: Json = {
        "agent_info": to_json(record.info),
        "active": record.active,
        "deactivated": record.deactivated,
        "version": record.version,
        "pid": record.pid,
        "registered_time": _time(record.registered_time),
    }
    if record.reregistered_time is not None:
        shown["reregistered_time"] = _time(record.reregistered_time)
    held = {
        "total_resources": record.total,
        "allocated_resources": state.used(agent_id=record.id),
        "offered_resources": state.offered(agent_id=record.id),
    }
    shown |= {name: views.full(resources) for name, resources in held.items() if len(resources)}
    shown["capabilities"] = to_json(record.capabilities)
    drain = drain_info(state, record.id)
    if drain is not None:
        shown["drain_info"] = drain
        if record.drain_started is not None:
            # Mesos tells whole seconds here.
            shown["estimated_drain_start_time"] = _time(float(int(record.drain_started)))
    return shown


def agents(state: MasterState) -> Json:
    """GET_AGENTS."""
    return {
        "agents": [agent(state, record) for record in state.agents.values()],
        "recovered_agents": [to_json(info) for info in state.recovered.values()],
    }


def framework(state: MasterState, record: FrameworkRecord) -> Json:
    """One framework."""
    shown: Json = {
        "framework_info": to_json(record.info),
        "active": record.connected,
        "connected": record.connected,
        "recovered": record.recovered,
        "registered_time": _time(record.registered_time),
    }
    if record.reregistered_time is not None:
        shown["reregistered_time"] = _time(record.reregistered_time)
    if record.unregistered_time is not None:
        shown["unregistered_time"] = _time(record.unregistered_time)
    offers = [to_json(offer.offer) for offer in state.offers_of(framework_id=record.id)]
    if offers:
        shown["offers"] = offers
    held = {
        "allocated_resources": state.used(framework_id=record.id),
        "offered_resources": state.offered(framework_id=record.id),
    }
    shown |= {name: views.full(resources) for name, resources in held.items() if len(resources)}
    return shown | {"offer_constraints": to_json(record.constraints.constraints)}


def frameworks(state: MasterState) -> Json:
    """GET_FRAMEWORKS."""
    return {
        "frameworks": [framework(state, record) for record in state.frameworks.values()],
        "completed_frameworks": [framework(state, record) for record in state.completed.values()],
    }


def tasks(state: MasterState) -> Json:
    """GET_TASKS."""
    known = [*state.frameworks.values(), *state.completed.values()]
    return {
        "tasks": to_json(list(state.tasks.values())),
        "unreachable_tasks": [
            to_json(task) for record in known for task in record.unreachable_tasks.values()
        ],
        "completed_tasks": [to_json(task) for record in known for task in record.completed_tasks],
    }


def operations(state: MasterState) -> Json:
    """GET_OPERATIONS: those with an id whose end is not acknowledged."""
    listed = []
    for record in state.operations.values():
        shown: Json = {
            "framework_id": {"value": record.framework_id},
            "agent_id": {"value": record.agent_id},
            "info": to_json(record.info),
            "latest_status": to_json(record.status),
            "uuid": {"value": record.uuid},
        }
        if record.status.uuid is not None:
            shown["statuses"] = [to_json(record.status)]
        listed.append(shown)
    return {"operations": listed} if listed else {}


def whole_state(state: MasterState) -> Json:
    """GET_STATE."""
    return {
        "get_tasks": tasks(state),
        "get_executors": executors(state),
        "get_frameworks": frameworks(state),
        "get_agents": agents(state),
    }


def master(state: MasterState) -> Json:
    """GET_MASTER."""
    shown: Json = {"master_info": to_json(state.info), "start_time": state.start_time}
    if state.elected_time is not None:
        shown["elected_time"] = state.elected_time
    return shown


def roles(state: MasterState, allowed_roles: frozenset[str]) -> Json:
    """GET_ROLES."""
    listed, used_by = [], role_views.owners(state)
    for name, use in role_views.known_roles(state, allowed_roles).items():
        role: Json = {"name": name, "weight": state.weights.get(name, DEFAULT_WEIGHT)}
        if name in used_by:
            role["frameworks"] = [{"value": owner} for owner in used_by[name]]
        held = quantities.shown(quantities.plus(use.allocated, use.offered))
        resources = [
            {"name": resource, "type": "SCALAR", "scalar": {"value": amount}}
            for resource, amount in held.items()
            if resource in {"cpus", "mem", "disk", "gpus"}
        ]
        if resources:
            role["resources"] = resources
        listed.append(role)
    return {"roles": listed}
