"""One cluster that the service hosts: what it runs, and how it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.lineage import Lineage
from kubedcos.config.pools import is_node_pod
from kubedcos.errors import InvalidInput, Problem
from kubedcos.kubernetes.delivery import Delivery
from kubedcos.scheduler import life
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.workload import Workload


class Kubernetes(Workload, Protocol):
    """A workload that its operators and its tasks can ask something."""

    @property
    def delivery(self) -> Delivery:
        """What answers tasks that ask for their key material."""
        ...

    def kubeconfig(self, user: str = "admin") -> str:
        """A kubeconfig for operators.

        Raises:
            InvalidInput: there is no API server yet.
        """
        ...

    async def objections_to_leaving(self, instances: Sequence[str]) -> list[Problem]:
        """What speaks against taking these nodes away: what could not be evicted from them."""
        ...

    async def run(self) -> None:
        """What goes on beside staging, for ever."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...


class HostedWorkload(Protocol):
    """A workload and what it keeps on disk."""

    @property
    def kubernetes(self) -> Kubernetes:
        """The workload."""
        ...

    def forget(self) -> None:
        """The cluster is gone: forget its keys."""
        ...

    def certificates(self) -> Mapping[str, float]:
        """When certificates expire, in seconds since 1970, by name."""
        ...

    def secrets(self) -> Iterable[bytes]:
        """Every secret of the cluster, so that it can be taken out of what leaves the house."""
        ...

    async def log_piece(
        self, address: str, task_id: str, file: str, offset: int, length: int
    ) -> tuple[str, int]:
        """A piece of a file of a task's sandbox, and the offset where it begins.

        Raises:
            SandboxUnreadable: no such file, no such task there, or no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Links:
    """How a workload reaches its own scheduler, which is made after it.

    Attributes:
        framework_id: Mesos' id of the framework; empty before the first subscription.
        alarm: told task id and reason when a task has to end.
        lineage: configurations that the cluster had, and numbers of its instances.
    """

    framework_id: Callable[[], str]
    alarm: Callable[[str, str], None]
    lineage: Lineage = field(default_factory=Lineage)


MakeWorkload = Callable[[ClusterOptions, Links], Awaitable[HostedWorkload]]


class Unknown(InvalidInput):
    """There is no such cluster, plan, pod or configuration."""


def no_such(kind: str, name: str, known: Sequence[str]) -> Unknown:
    """What to raise for a name that nothing of its kind has."""
    wanted = f"one of: {', '.join(known)}" if known else "nothing: there is none"
    return Unknown([Problem(kind, repr(name), wanted, id=f"{kind}-unknown")])


@dataclass(slots=True)
class Hosted:
    """One cluster."""

    options: ClusterOptions
    workload: HostedWorkload
    scheduler: Scheduler
    running: asyncio.Task[None] | None = None
    beside: asyncio.Task[None] | None = None
    deleting: asyncio.Task[None] | None = None
    failure: str = ""

    def health(self) -> life.Health:
        """At which stage of its life it is."""
        return life.broken(self.failure) if self.failure else self.scheduler.health()

    def snapshot(self) -> dict[str, Any]:
        """How it stands, as plain data."""
        found = self.scheduler.snapshot()
        plans = found["plans"]
        return {
            **found,
            "version": self.options.version,
            "stage": str(self.health().stage),
            "nodes": self._nodes(found),
            "region": self.options.region or found.get("local_region"),
            "overlay": self.options.network.overlay,
            "error": self.failure or found.get("error"),
            "status": next((plan["status"] for plan in plans if plan["name"] == "deploy"), None),
            "options": self.options.model_dump(mode="json"),
        }

    def _nodes(self, found: Mapping[str, Any]) -> str:
        """How many nodes of all are there, as ``2/3``."""
        there = sum(
            all(task["state"] == "TASK_RUNNING" for task in pod["tasks"])
            for pod in found["pods"]
            if is_node_pod(pod["name"].rpartition("-")[0])
        )
        return f"{there}/{self.options.node_count}"
