"""Answers of the agent, cut down to what the caller may see.

Filters on finished answers in Mesos' form, as on the master. Source: `src/slave/http.cpp`,
`Slave::authorizeSandboxAccess`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from kubedcos.embedded.approvals import Approver, user_of
from kubedcos.mesos.messages import FrameworkInfo, TaskInfo

Json = dict[str, Any]


class _Named(Protocol):
    @property
    def framework_id(self) -> str: ...

    @property
    def executor_id(self) -> str: ...


class Known(Protocol):
    """What is known of a task's run."""

    @property
    def run(self) -> _Named:
        """Names of framework and executor."""
        ...

    @property
    def task(self) -> TaskInfo:
        """The task as launched."""
        ...

    @property
    def framework(self) -> FrameworkInfo:
        """Its framework."""
        ...


@dataclass(frozen=True, slots=True)
class Users:
    """Users by framework id, and by framework and executor id."""

    frameworks: Mapping[str, str]
    executors: Mapping[tuple[str, str], str]

    def framework(self, framework_id: str) -> str:
        """The framework's user; "" when it is unknown."""
        return self.frameworks.get(framework_id, "")

    def executor(self, framework_id: str, executor_id: str) -> str:
        """The executor's user, which is the framework's when it has none."""
        key = (framework_id, executor_id)
        return self.executors.get(key) or self.framework(framework_id)


def users_of(runs: Iterable[Known], frameworks: Mapping[str, FrameworkInfo]) -> Users:
    """Users of everything that the agent knows."""
    known = list(runs)
    by_framework = {run.run.framework_id: run.framework.user for run in known}
    by_framework |= {name: info.user for name, info in frameworks.items()}
    executors = {
        (run.run.framework_id, run.run.executor_id): _executor_user(run.task, run.framework)
        for run in known
    }
    return Users(by_framework, executors)


def _executor_user(task: TaskInfo, framework: FrameworkInfo) -> str:
    """That of the executor of a task group; that of the task where it is its own executor."""
    if task.executor is None:
        return user_of(task, framework)
    command = task.executor.command
    return command.user if command is not None and command.user is not None else framework.user


def endpoint(path: str, shown: Any, users: Users, approver: Approver) -> Any:
    """What of an older endpoint's answer the caller may see."""
    if path == "/state":
        return _state(shown, users, approver)
    if path in {"/containers", "/monitor/statistics"}:
        return [entry for entry in shown if _sees_container(entry, users, approver)]
    return shown


def call(kind: str, shown: Any, users: Users, approver: Approver) -> Any:
    """What of the body of an operator call's answer the caller may see."""
    return _CALLS[kind](shown, users, approver) if kind in _CALLS else shown


def may_read_sandbox(path: str, users: Users, approver: Approver) -> bool:
    """Whether the caller may read a virtual path, as far as it lies in a sandbox."""
    parts = path.split("/")
    for position, part in enumerate(parts):
        if part == "frameworks" and parts[position + 2 : position + 3] == ["executors"]:
            names = (parts[position + 1], *parts[position + 3 : position + 4])
            if len(names) == 2 and names[0] in users.frameworks:
                return approver.may("access_sandboxes", users.executor(*names))
    return True


def _sees_container(entry: Json, users: Users, approver: Approver) -> bool:
    names = (_id(entry["framework_id"]), _id(entry["executor_id"]))
    return approver.may("view_containers", users.executor(*names))


def _id(value: str | Json) -> str:
    return value if isinstance(value, str) else str(value["value"])


def _state(shown: Json, users: Users, approver: Approver) -> Json:
    cut = dict(shown)
    for name in ("reserved_resources", "reserved_resources_full", "reserved_resources_allocated"):
        cut[name] = {role: held for role, held in cut[name].items() if approver.view_role(role)}
    if not approver.may("view_flags"):
        for name in ("flags", "log_dir", "external_log_file"):
            cut.pop(name, None)
    for name in ("frameworks", "completed_frameworks"):
        cut[name] = [
            _framework(framework, users, approver)
            for framework in cut[name]
            if approver.view_framework(users.framework(framework["id"]))
        ]
    return cut


def _framework(shown: Json, users: Users, approver: Approver) -> Json:
    user = users.framework(shown["id"])
    cut = dict(shown)
    for name in ("executors", "completed_executors"):
        cut[name] = [
            _executor(executor, user, approver)
            for executor in shown[name]
            if approver.may("view_executors", users.executor(shown["id"], executor["id"]))
        ]
    return cut


def _executor(shown: Json, framework_user: str, approver: Approver) -> Json:
    return shown | {
        name: [t for t in shown[name] if approver.view_task(t.get("user"), framework_user)]
        for name in ("tasks", "queued_tasks", "completed_tasks")
    }


def _tasks(shown: Json, users: Users, approver: Approver) -> Json:
    def sees(task: Json) -> bool:
        framework_id = _id(task["framework_id"])
        user = users.framework(framework_id)
        executor = users.executor(framework_id, _id(task.get("executor_id") or task["task_id"]))
        return (
            approver.view_framework(user)
            and approver.may("view_executors", executor)
            and approver.view_task(task.get("user"), user)
        )

    return {name: list(filter(sees, tasks)) for name, tasks in shown.items()}


def _executors(shown: Json, users: Users, approver: Approver) -> Json:
    def sees(executor: Json) -> bool:
        info = executor["executor_info"]
        names = (_id(info["framework_id"]), _id(info["executor_id"]))
        return approver.view_framework(users.framework(names[0])) and approver.may(
            "view_executors", users.executor(*names)
        )

    return {name: list(filter(sees, executors)) for name, executors in shown.items()}


def _frameworks(shown: Json, _users: Users, approver: Approver) -> Json:
    return {
        name: [f for f in listed if approver.view_framework(f["framework_info"].get("user", ""))]
        for name, listed in shown.items()
    }


def _containers(shown: Json, users: Users, approver: Approver) -> Json:
    listed = shown.get("containers", ())
    kept = [entry for entry in listed if _sees_container(entry, users, approver)]
    return {"containers": kept} if kept else {}


def _whole_state(shown: Json, users: Users, approver: Approver) -> Json:
    return {name: call(name.upper(), part, users, approver) for name, part in shown.items()}


_CALLS: Final[Mapping[str, Callable[[Any, Users, Approver], Any]]] = {
    "GET_CONTAINERS": _containers,
    "GET_EXECUTORS": _executors,
    "GET_FRAMEWORKS": _frameworks,
    "GET_STATE": _whole_state,
    "GET_TASKS": _tasks,
}
