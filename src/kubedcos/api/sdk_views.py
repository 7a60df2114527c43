"""Plans, pods and state in the fields of the DC/OS SDK's scheduler API, made from our own views.

What is compatible, and what was left out, stands in docs/api.md.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from kubedcos.plan.status import Status

View = dict[str, Any]

_NAMESPACE: Final = uuid.UUID("5d5e3b0c-6a0f-5d6e-9f6e-0f6b6f1d0c55")
PLAN_CODES: Final = {Status.COMPLETE: 200, Status.ERROR: 417}
"""Codes of ``GET /v1/plans/NAME``; every other status is 202."""


def plan(view: Mapping[str, Any]) -> View:
    """A plan: phases of steps with id, name, status and message."""
    phases = [_phase(view["name"], phase) for phase in view["phases"]]
    errors = [
        f"{step['name']}: {step['message']}"
        for phase in phases
        for step in phase["steps"]
        if step["status"] == Status.ERROR
    ]
    return {"phases": phases, "errors": errors, "strategy": "serial", "status": view["status"]}


def plan_code(view: Mapping[str, Any]) -> int:
    """The HTTP status code that tells a plan's status."""
    return PLAN_CODES.get(Status(view["status"]), 202)


def element_id(*names: str) -> str:
    """The id of a phase (of plan, phase) or a step (of plan, phase, step); it stays the same."""
    return str(uuid.uuid5(_NAMESPACE, "\0".join(names)))


def phase_and_step(view: Mapping[str, Any], phase: str, step: str) -> tuple[str, str]:
    """Names for what may be names or ids; what is neither stays as it is.

    A step may also be named by what stands before the colon, where only one begins so.
    """
    for found in view["phases"]:
        if phase not in (found["name"], element_id(view["name"], found["name"])):
            continue
        for each in found["steps"]:
            if step in (each["name"], element_id(view["name"], found["name"], each["name"])):
                return found["name"], each["name"]
        short = [each["name"] for each in found["steps"] if each["name"].split(":")[0] == step]
        return found["name"], short[0] if len(short) == 1 else step
    return phase, step


def _phase(plan_name: str, phase: Mapping[str, Any]) -> View:
    return {
        "id": element_id(plan_name, phase["name"]),
        "name": phase["name"],
        "strategy": phase["strategy"],
        "status": phase["status"],
        "steps": [
            {
                "id": element_id(plan_name, phase["name"], step["name"]),
                "name": step["name"],
                "status": step["status"],
                "message": step["reason"],
            }
            for step in phase["steps"]
        ],
    }


def pod_names(pods: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of pod instances."""
    return [str(pod["name"]) for pod in pods]


def pod_statuses(service: str, pods: Sequence[Mapping[str, Any]]) -> View:
    """Tasks of all instances, by kind of pod."""
    kinds: dict[str, list[View]] = {}
    for pod in pods:
        kinds.setdefault(str(pod["name"]).rpartition("-")[0], []).append(pod_status(pod))
    found = [{"name": name, "instances": instances} for name, instances in kinds.items()]
    return {"service": service, "pods": found}


def pod_status(pod: Mapping[str, Any]) -> View:
    """Tasks of one instance that were launched, with their status."""
    tasks = [
        {
            "id": task["id"],
            "name": task_name(pod["name"], task["name"]),
            "status": str(task["state"]).removeprefix("TASK_"),
        }
        for task in pod["tasks"]
        if task["id"]
    ]
    return {"name": pod["name"], "tasks": tasks}


def pod_info(pod: Mapping[str, Any]) -> list[View]:
    """What Mesos is told and tells of each task of one instance, in Mesos' own names."""
    found = []
    for task in pod["tasks"]:
        if not task["id"]:
            continue
        amounts = {"cpus": task["cpus"], "mem": task["mem_mb"], "disk": task["disk_mb"]}
        info = {
            "name": task_name(pod["name"], task["name"]),
            "taskId": {"value": task["id"]},
            "slaveId": {"value": task["agent"]},
            "resources": [
                {"name": name, "type": "SCALAR", "scalar": {"value": value}}
                for name, value in amounts.items()
            ],
        }
        status = {
            "taskId": {"value": task["id"]},
            "slaveId": {"value": task["agent"]},
            "state": task["state"],
            "message": task["message"],
        }
        found.append({"info": info, "status": status})
    return found


def short_task(instance: str, name: str) -> str:
    """The task's own name for what may have the instance's name in front, as the SDK has it."""
    return name.removeprefix(f"{instance}-")


def task_name(instance: str, task: str) -> str:
    """A task's name as Mesos and the SDK show it, such as ``etcd-0-server``."""
    return f"{instance}-{task}"


def zones(pods: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The zone of each task that has one."""
    return {
        task_name(pod["name"], task["name"]): str(task["zone"])
        for pod in pods
        for task in pod["tasks"]
        if task["zone"]
    }
