"""What operators look at beside plans and pods: actions, events, logs, and all for a supporter."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from kubedcos.api.hosted import Hosted, Unknown
from kubedcos.api.hosting import Clusters
from kubedcos.api.sdk import pod_view
from kubedcos.api.sdk_views import short_task
from kubedcos.api.support import House, gather
from kubedcos.errors import KubedcosError, NotYetComplete, Problem
from kubedcos.kubernetes.delivery import SandboxUnreadable
from kubedcos.kubernetes.sandbox import LARGEST_PIECE
from kubedcos.state.records import TaskRecord


class LogPiece(BaseModel):
    """A piece of a task's output."""

    task: str
    task_id: str
    hostname: str
    file: str
    offset: int
    data: str
    next_offset: int


class NoLog(KubedcosError):
    """The agent does not give the log."""


def add(router: APIRouter, clusters: Clusters, house: House) -> None:
    """Add the routes."""

    @router.get("/v1/clusters/{name}/health")
    async def health(name: str) -> dict[str, Any]:
        """The life stage of one cluster."""
        found = clusters.get(name).health()
        return {"stage": str(found.stage), "code": found.code, "doing": found.sentence}

    @router.get("/v1/clusters/{name}/actions")
    async def actions(name: str) -> list[dict[str, Any]]:
        """What operators did, the latest first."""
        return clusters.get(name).scheduler.action_list()

    @router.get("/v1/clusters/{name}/pods/{pod}/describe")
    async def describe(name: str, pod: str) -> dict[str, Any]:
        """One pod instance with its last offers and what befell it."""
        hosted = clusters.get(name)
        pod_view(hosted, pod)
        return hosted.scheduler.pod_describe(pod)

    @router.get("/v1/clusters/{name}/pods/{pod}/logs")
    async def logs(
        name: str,
        pod: str,
        task: Annotated[str, Query(max_length=200, description="Default: the only one.")] = "",
        file: Literal["stdout", "stderr"] = "stdout",
        offset: Annotated[
            int, Query(ge=-1, le=1 << 50, description="In bytes; -1: the end of the file.")
        ] = -1,
        length: Annotated[int, Query(ge=1, le=LARGEST_PIECE)] = 8192,
    ) -> LogPiece:
        """A piece of a task's output, from its Mesos sandbox."""
        hosted = clusters.get(name)
        found = _task(hosted, pod, task)
        return await read_log(hosted, found, file, offset, length)

    @router.get("/v1/support")
    async def support() -> dict[str, Any]:
        """Everything that a supporter needs to see, without secrets."""
        return await gather(clusters, house, read_log)


async def read_log(
    hosted: Hosted, task: TaskRecord, file: str, offset: int, length: int
) -> LogPiece:
    """A piece of a task's output.

    Raises:
        NoLog: the agent does not give it.
    """
    where = (task.agent.address, task.task_id, file)
    try:
        if offset < 0:
            _, size = await hosted.workload.log_piece(*where, -1, 0)
            offset = max(0, size - length)
        data, at = await hosted.workload.log_piece(*where, offset, length)
        after = at + len(data.encode())
        if "\ufffd" in data:
            # Bytes that are no UTF-8 came as this sign, so the text does not tell their number.
            _, size = await hosted.workload.log_piece(*where, -1, 0)
            after = min(at + length, size)
    except SandboxUnreadable as error:
        raise NoLog(f"{file} of {task.key}: {error}") from None
    return LogPiece(
        task=task.spec.name,
        task_id=task.task_id,
        hostname=task.agent.hostname,
        file=file,
        offset=at,
        data=data,
        next_offset=after,
    )


def _task(hosted: Hosted, pod: str, name: str) -> TaskRecord:
    """The current task of a pod instance.

    Raises:
        Unknown: there is no such pod or task, or several and none is named.
        NotYetComplete: it was never launched.
    """
    view = pod_view(hosted, pod)
    names = [str(task["name"]) for task in view["tasks"]]
    wanted = short_task(pod, name) or (names[0] if len(names) == 1 else "")
    if wanted not in names:
        seen = repr(name) if name else f"{len(names)} tasks"
        problem = Problem(f"task of {pod}", seen, f"one of: {', '.join(names)}", id="task-unknown")
        raise Unknown([problem])
    found = hosted.scheduler.world.tasks.get(f"{pod}/{wanted}")
    if found is None:
        raise NotYetComplete(f"{pod}/{wanted} was never launched; it has no log")
    return found
