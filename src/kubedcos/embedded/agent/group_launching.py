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
from kubedcos.embedded.agent.containers import SANDBOX_MODE, user_of
from kubedcos.embedded.agent.executor.command import environment_of
from kubedcos.embedded.agent.fetching.fetcher import FetchFailed, Job
from kubedcos.embedded.agent.isolators.order import enclosure_of
from kubedcos.embedded.agent.isolators.preparation import ContainerRefused, Wish
from kubedcos.embedded.agent.launching import Launcher, launch_failed
from kubedcos.embedded.agent.settings import PATH
from kubedcos.mesos.messages import ExecutorInfo, TaskInfo
from kubedcos.mesos.resources import Resources

if TYPE_CHECKING:
    from kubedcos.embedded.agent.group_executor import GroupExecutor
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

    async def start_executor(self, executor: GroupExecutor, members: list[TaskRun]) -> None:
        """Start the executor's process in a container of its own.

        Raises:
            LaunchRefused: it cannot or may not be started.
        """
        around, flags = self.around, self.around.settings.flags
        agent_id = executor.agent_id
        try:
            owner = _owner(self._user(executor, None))
            sandbox = around.containers.make_sandbox(agent_id, executor.run, owner)
            resources = executor.info.resources
            volumes.give(around.layout, sandbox, resources, owner, mounted=self._mounted)
            default = around.settings.default_container
            wish = Wish(executor.info.container or default, sandbox)
            networks = around.containers.networks
            made = around.settings.isolators.prepare(wish, networks)
            attached = None
            if made.networks:
                container_id = executor.run.container_id
                attached = await networks.attach(container_id, made.networks, made.hostname)
                executor.networks = attached.infos
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
                "enclosure": enclosure_of(made, attached),
            }
            limits = group_limits(executor.info, [member.task for member in members])
            around.containers.start(agent_id, executor.run, description, limits)
        except (ContainerRefused, volumes.VolumeError, OSError) as error:
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
        except (FetchFailed, ContainerRefused, volumes.VolumeError, OSError) as error:
            return {"task_id": member.task.task_id.value, "refused": str(error)}

    async def _prepare(self, executor: GroupExecutor, member: TaskRun) -> dict[str, Any]:
        task, around, flags = member.task, self.around, self.around.settings.flags
        assert task.command is not None
        assert member.nested_id is not None
        user = self._user(executor, task)
        owner = _owner(user)
        parent = around.layout.sandbox(member.agent_id, executor.run)
        sandbox = _nested_sandbox(parent, member.nested_id, task.task_id.value, owner)
        member.networks = executor.networks
        volumes.give(around.layout, sandbox, task.resources, owner, mounted=self._mounted)
        wish = Wish(task.container, sandbox, parent)
        made = around.settings.isolators.prepare(wish, around.containers.networks)
        container = f"{executor.run.container_id}.{member.nested_id}"
        name = str(user["name"]) if user else ""
        await around.fetcher.fetch(Job(container, task.command.uris, sandbox, name, owner))
        place = Place(
            agent_id=member.agent_id,
            agent_ip=around.settings.advertise_ip,
            agent_port=self.launcher.port,
            container_id=member.nested_id,
            sandbox=str(sandbox),
            container_ip=member.container_ip,
            user=user,
        )
        description = launch_description(
            task,
            executor.framework,
            place,
            _environment(task, place),
            str(executor.journal.path),
            recovery_timeout=flags.seconds("recovery_timeout"),
            shutdown_grace=flags.seconds("executor_shutdown_grace_period"),
            kill_policy_of_call_counts=True,
        )
        return description | made.rights() | {"enclosure": made.enclosure()}

    @property
    def _mounted(self) -> bool:
        return "filesystem/linux" in self.around.settings.isolators.names


def _owner(user: dict[str, Any] | None) -> Owner:
    return (int(user["uid"]), int(user["gid"])) if user else None


def _environment(task: TaskInfo, place: Place) -> dict[str, str]:
    """A nested container does not get the executor's variables, only these, as in Mesos."""
    assert task.command is not None
    role = next((r.allocation_info.role for r in task.resources if r.allocation_info), None)
    environment = {
        "PATH": PATH,
        "MESOS_SANDBOX": place.sandbox,
        "MESOS_CONTAINER_IP": place.container_ip,
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
