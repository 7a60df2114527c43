"""From a TaskInfo to a started executor: rules, sandbox, volumes, files, environment."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.embedded.agent import volumes
from kubedcos.embedded.agent.container_rules import (
    Place,
    container_of,
    executor_grace,
    launch_description,
    limits_of,
    refusal,
    task_environment,
)
from kubedcos.embedded.agent.containers import Containers, user_of
from kubedcos.embedded.agent.fetching.fetcher import Fetcher, FetchFailed, Job
from kubedcos.embedded.agent.isolators.order import enclosure_of
from kubedcos.embedded.agent.isolators.preparation import ContainerRefused, Wish
from kubedcos.embedded.agent.paths import Layout
from kubedcos.embedded.agent.settings import Settings
from kubedcos.embedded.agent.taskrun import TaskRun
from kubedcos.errors import KubedcosError


class LaunchRefused(KubedcosError):
    """The task does not start; `status` is (state, reason, message) of its last status."""

    def __init__(self, status: tuple[str, str, str]) -> None:
        self.status = status
        super().__init__(status[2])


def launch_failed(text: str) -> LaunchRefused:
    """The container could not be launched because of `text`."""
    message = f"Failed to launch container: {text}"
    return LaunchRefused(("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", message))


@dataclass(slots=True)
class Surroundings:
    """What launching needs of its agent."""

    settings: Settings
    layout: Layout
    containers: Containers
    fetcher: Fetcher


class Launcher:
    """Starts tasks.

    Attributes:
        port: at which the agent is reached; tasks find it in their environment.
    """

    def __init__(self, surroundings: Surroundings) -> None:
        self.around = surroundings
        self.port = surroundings.settings.port

    async def start(self, run: TaskRun) -> None:
        """Start the executor of a task.

        Raises:
            LaunchRefused: it cannot or may not be started.
        """
        refused = refusal(run.task, self.around.settings.isolators.names)
        if refused is not None:
            raise LaunchRefused(refused)
        try:
            await self._start(run)
        except (FetchFailed, ContainerRefused, volumes.VolumeError, OSError) as error:
            raise launch_failed(str(error)) from error

    async def _start(self, run: TaskRun) -> None:
        task, around, flags = run.task, self.around, self.around.settings.flags
        assert task.command is not None
        name = task.command.user or run.framework.user
        user = user_of(name) if name and flags.boolean("switch_user") else None
        owner = (int(user["uid"]), int(user["gid"])) if user else None
        sandbox = around.containers.make_sandbox(run.agent_id, run.run, owner)
        isolators = around.settings.isolators
        mounted = "filesystem/linux" in isolators.names
        volumes.give(around.layout, sandbox, task.resources, owner, mounted=mounted)
        networks = around.containers.networks
        wish = Wish(container_of(task, around.settings.default_container), sandbox)
        made = isolators.prepare(wish, networks)
        attached = None
        if made.networks:
            attached = await networks.attach(run.run.container_id, made.networks, made.hostname)
            run.networks = attached.infos
        job = Job(run.run.container_id, task.command.uris, sandbox, name, owner)
        await around.fetcher.fetch(job)
        place = Place(
            agent_id=run.agent_id,
            agent_ip=around.settings.advertise_ip,
            agent_port=self.port,
            container_id=run.run.container_id,
            sandbox=str(sandbox),
            container_ip=run.container_ip if attached else "",
            user=user,
        )
        grace = executor_grace(task, flags.seconds("executor_shutdown_grace_period"))
        environment = task_environment(
            task,
            run.framework,
            place,
            around.settings.executor_environment,
            recovery_timeout=flags.required("recovery_timeout"),
            shutdown_grace=grace,
            http_command_executor=flags.boolean("http_command_executor"),
        )
        description = launch_description(
            task,
            run.framework,
            place,
            environment,
            str(run.journal.path),
            recovery_timeout=flags.seconds("recovery_timeout"),
            shutdown_grace=grace,
            kill_policy_of_call_counts=flags.boolean("http_command_executor"),
        )
        description |= made.rights() | {"enclosure": enclosure_of(made, attached)}
        around.containers.start(run.agent_id, run.run, description, limits_of(task))
