"""From task groups to processes: sandboxes, volumes, files, commands."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from kubedcos.embedded.agent import volumes
from kubedcos.embedded.agent.cgroup_layout import Limits
from kubedcos.embedded.agent.container_rules import Place, launch_description
from kubedcos.embedded.agent.containers import SANDBOX_MODE, LaunchFailed, user_of
from kubedcos.embedded.agent.executor.command import environment_of
from kubedcos.embedded.agent.fetching.fetcher import FetchFailed, Job
from kubedcos.embedded.agent.launching import Launcher, launch_failed
from kubedcos.embedded.agent.settings import PATH
from kubedcos.mesos.messages import ExecutorInfo, TaskInfo
from kubedcos.mesos.resources import Resources

if TYPE_CHECKING:
    from kubedcos.embedded.agent.groups import GroupExecutor
    from kubedcos.embedded.agent.taskrun import TaskRun

Owner = tuple[int, int] | None


def group_limits(info: ExecutorInfo, tasks: Iterable[TaskInfo]) -> Limits:
    """What the container of an executor and these tasks may use."""
    total = Resources(info.resources)
    for task in tasks:
        total += task.resources
    return Limits(total.scalar("cpus"), total.scalar("mem"))


class GroupLauncher:
    """Starts executors of task groups and prepares their tasks."""

    def __init__(self, launcher: Launcher) -> None:
        self.launcher = launcher
        self.around = launcher.around

    def start_executor(self, executor: GroupExecutor, members: list[TaskRun]) -> None:
        """Start the executor's process in a container of its own.

        Raises:
            LaunchRefused: it cannot or may not be started.
        """
        around, flags = self.around, self.around.settings.flags
        agent_id = executor.agent_id
        try:
            owner = _owner(self._user(executor, None))
            sandbox = around.containers.make_sandbox(agent_id, executor.run, owner)
            volumes.give(around.layout, sandbox, executor.info.resources, owner)
            capabilities = {c.type for c in executor.framework.capabilities}
            description = {
                "group": True,
                "executor_id": executor.run.executor_id,
                "container_id": executor.run.container_id,
                "journal": str(executor.journal.path),
                "sandbox": str(sandbox),
                "checkpoint": executor.framework.checkpoint,
                "recovery_timeout": flags.seconds("recovery_timeout"),
                "shutdown_grace": flags.seconds("executor_shutdown_grace_period"),
                "reports_killing": "TASK_KILLING_STATE" in capabilities,
            }
            limits = group_limits(executor.info, [member.task for member in members])
            around.containers.start(agent_id, executor.run, description, limits)
        except (LaunchFailed, volumes.VolumeError, OSError) as error:
            raise launch_failed(str(error)) from error

    def _user(self, executor: GroupExecutor, task: TaskInfo | None) -> dict[str, Any] | None:
        command = task.command if task is not None else None
        name = (command.user if command is not None else None) or executor.framework.user
        switch = self.around.settings.flags.boolean("switch_user")
        return user_of(name) if name and switch else None

    async def prepare(self, executor: GroupExecutor, member: TaskRun) -> dict[str, Any]:
        """Make everything ready for a task; its description for the executor.

        A task that cannot be started has a description, too: the executor fails it, as in Mesos.
        """
        try:
            return await self._prepare(executor, member)
        except (FetchFailed, LaunchFailed, volumes.VolumeError, OSError) as error:
            return {"task_id": member.task.task_id.value, "refused": str(error)}

    async def _prepare(self, executor: GroupExecutor, member: TaskRun) -> dict[str, Any]:
        task, around, flags = member.task, self.around, self.around.settings.flags
        assert task.command is not None
        assert member.nested_id is not None
        user = self._user(executor, task)
        owner = _owner(user)
        parent = around.layout.sandbox(member.agent_id, executor.run)
        sandbox = _nested_sandbox(parent, member.nested_id, task.task_id.value, owner)
        volumes.give(around.layout, sandbox, task.resources, owner)
        share(task, parent, sandbox, owner)
        container = f"{executor.run.container_id}.{member.nested_id}"
        name = str(user["name"]) if user else ""
        await around.fetcher.fetch(Job(container, task.command.uris, sandbox, name, owner))
        place = Place(
            agent_id=member.agent_id,
            agent_ip=around.settings.advertise_ip,
            agent_port=self.launcher.port,
            container_id=member.nested_id,
            sandbox=str(sandbox),
            user=user,
        )
        return launch_description(
            task,
            executor.framework,
            place,
            _environment(task, place),
            str(executor.journal.path),
            recovery_timeout=flags.seconds("recovery_timeout"),
            shutdown_grace=flags.seconds("executor_shutdown_grace_period"),
            kill_policy_of_call_counts=True,
        )


def _owner(user: dict[str, Any] | None) -> Owner:
    return (int(user["uid"]), int(user["gid"])) if user else None


def _environment(task: TaskInfo, place: Place) -> dict[str, str]:
    """A nested container does not get the executor's variables, only these, as in Mesos."""
    assert task.command is not None
    role = next((r.allocation_info.role for r in task.resources if r.allocation_info), None)
    environment = {
        "PATH": PATH,
        "MESOS_SANDBOX": place.sandbox,
        "MESOS_CONTAINER_IP": place.agent_ip,
    }
    if role:
        environment["MESOS_ALLOCATION_ROLE"] = role
    return environment | environment_of(msgspec.to_builtins(task.command))


def _nested_sandbox(parent: Path, container_id: str, task_id: str, owner: Owner) -> Path:
    """A task's sandbox inside that of its executor, also to be found as ``tasks/<task id>``."""
    sandbox = parent / "containers" / container_id
    sandbox.mkdir(parents=True)
    sandbox.chmod(SANDBOX_MODE)
    for name in ("stdout", "stderr"):
        (sandbox / name).touch(0o644)
    link = parent / "tasks" / task_id
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(sandbox)
    if owner is not None:
        paths = (sandbox.parent, sandbox, sandbox / "stdout", sandbox / "stderr", link.parent)
        for path in paths:
            os.chown(path, *owner)
    return sandbox


def share(task: TaskInfo, parent: Path, sandbox: Path, owner: Owner) -> None:
    """Give a task its SANDBOX_PATH volumes: directories of its executor's sandbox, or of its own.

    Raises:
        LaunchFailed: a path leads out of the sandbox, or is taken.
    """
    for volume in task.container.volumes if task.container is not None else ():
        path = volume.source.sandbox_path if volume.source is not None else None
        if path is None:
            raise LaunchFailed("the embedded agent supports only SANDBOX_PATH volumes in a group")
        base = parent if path.type == "PARENT" else sandbox
        for text in (path.path, volume.container_path):
            if not text or text.startswith("/") or ".." in Path(text).parts:
                raise LaunchFailed(f"Path '{text}' of a volume must stay within the sandbox")
        directory, link = base / path.path, sandbox / volume.container_path
        directory.mkdir(parents=True, exist_ok=True)
        link.parent.mkdir(parents=True, exist_ok=True)
        if owner is not None:
            os.chown(directory, *owner)
        try:
            link.symlink_to(directory)
        except OSError as error:
            raise LaunchFailed(f"Failed to link '{link}': {error.strerror}") from error
