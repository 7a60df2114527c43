"""What a task has written so far, by the endpoints of its agent."""

from __future__ import annotations

from urllib.parse import quote

from .client import Framework, Http, Json
from .engine import wait_for

READY = "echo ready; "
"""In front of a command that `until_ready` waits for."""
ONCE_ANOTHER_IS = "until grep -qsx ready ../*/stdout; do sleep 0.1; done; "
"""In front of the command of a group's member: it waits until another member is ready."""
LIMITS = (1.0, 4.0, 16.0)
"""Seconds that Mesos counts from a launch to a task's end: if its command did not run by then, the
test begins again with the next."""


def agent_at(master: Http, agent_id: str) -> Http:
    """The endpoints of an agent that the master knows."""
    slaves = master.get("/slaves").json["slaves"]
    pid = next(slave["pid"] for slave in slaves if slave["id"] == agent_id)
    return Http(pid.partition("@")[2], master.credential, master.tls)


def said_ready(framework: Framework, status: Json) -> bool:
    """Whether the task of this TASK_RUNNING has written ``ready``, be it over by now or not."""
    agent = agent_at(framework.master, status["agent_id"]["value"])
    executor, container = status["executor_id"]["value"], status["container_status"]["container_id"]
    nested = f"containers/{container['value']}/" if "parent" in container else ""
    path = f"/frameworks/{framework.id}/executors/{executor}/runs/latest/{nested}stdout"
    return b"ready\n" in agent.get(f"/files/download?path={quote(path)}").body


def until_ready(framework: Framework, status: Json) -> None:
    """Wait until the task of this TASK_RUNNING has written ``ready``.

    Mesos tells TASK_RUNNING when it forked its launcher, not when the command runs. A TERM before
    that ends the launcher, which then says ``exited with status 1`` (`launch.cpp`, `signalHandler`)
    or knows nothing of the command's trap.
    """
    wait_for(
        lambda: said_ready(framework, status),
        f"task {status['task_id']['value']} runs its command",
    )
