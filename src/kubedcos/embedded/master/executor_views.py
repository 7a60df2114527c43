"""How executors of task groups are shown by the master."""

from __future__ import annotations

from typing import Any

from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import ExecutorInfo

Json = dict[str, Any]


def executor_view(
    executor: ExecutorInfo, resources: Json, framework_id: str, agent_id: str
) -> Json:
    """One executor as `/state` and `/frameworks` list it; Mesos shows an empty command."""
    view: Json = {
        "executor_id": executor.executor_id.value,
        "name": executor.name or "",
        "framework_id": framework_id,
        "command": {"argv": [], "uris": []},
        "resources": resources,
    }
    if executor.resources:
        allocation = executor.resources[0].allocation_info
        view["role"] = (allocation.role if allocation else None) or "*"
    if executor.labels is not None:
        view["labels"] = to_json(executor.labels).get("labels", [])
    if executor.type is not None:
        view["type"] = executor.type
    return view | {"slave_id": agent_id}


def executors(state: MasterState) -> Json:
    """GET_EXECUTORS: command tasks have none that Mesos would list."""
    return {
        "executors": [
            {"executor_info": to_json(executor), "agent_id": {"value": key.agent_id}}
            for key, executor in state.executors_of()
        ]
    }
