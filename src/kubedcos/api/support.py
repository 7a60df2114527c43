"""All that a supporter needs to see of the service, as one document without secrets."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Final, Protocol

import msgspec

from kubedcos import __version__
from kubedcos.api.hosted import Hosted
from kubedcos.api.hosting import Clusters
from kubedcos.errors import KubedcosError
from kubedcos.redaction import Redactor
from kubedcos.scheduler.views import moment
from kubedcos.state.records import TaskRecord

MOST_LOGS: Final = 30
_LOG_BYTES: Final = 16 * 1024
_LOG_SECONDS: Final = 8.0
_AT_ONCE: Final = 5
_PACKAGES: Final = (
    *("cryptography", "fastapi", "httpx2", "kazoo", "lightkube", "msgspec", "prometheus-client"),
    *("pydantic", "starlette", "structlog", "uvicorn"),
)


@dataclass(frozen=True, slots=True)
class House:
    """What the service knows of itself.

    Attributes:
        settings: as they were read, as plain data.
        secrets: every secret of the service that is not a cluster's.
        log: the last lines that it logged.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    secrets: Callable[[], Iterable[str | bytes]] = tuple
    log: Callable[[], Sequence[str]] = tuple

    def __repr__(self) -> str:
        """Without the secrets."""
        return "House()"


class Piece(Protocol):
    """A piece of a log."""

    @property
    def data(self) -> str:
        """Its text."""
        ...


ReadLog = Callable[[Hosted, TaskRecord, str, int, int], Awaitable[Piece]]


async def gather(clusters: Clusters, house: House, read_log: ReadLog) -> dict[str, Any]:
    """The document: service, clusters, and the last output of tasks that are not well."""
    known = [*house.secrets()]
    for hosted in clusters.all():
        known += hosted.workload.secrets()
    redactor = Redactor(known)
    document = {
        "made_at": moment(clusters.clock.time()),
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "settings": house.settings,
        "healthy": not clusters.broken.is_set(),
        "log": list(house.log()),
        "clusters": [await _cluster(hosted, read_log) for hosted in clusters.all()],
    }
    redacted: dict[str, Any] = redactor.data(document)
    return redacted


async def _cluster(hosted: Hosted, read_log: ReadLog) -> dict[str, Any]:
    scheduler = hosted.scheduler
    world = scheduler.world
    health = hosted.health()
    return {
        **hosted.snapshot(),
        "health": {"stage": str(health.stage), "code": health.code, "doing": health.sentence},
        "pods": [scheduler.pod_describe(pod["name"]) for pod in scheduler.pod_list()],
        "tasks": _records(world.tasks),
        "agents": _records(world.agents),
        "reservations": _records(world.reservations),
        "interruptions": _records(world.interruptions),
        "actions": scheduler.action_list(),
        "certificates": {name: moment(at) for name, at in hosted.workload.certificates().items()},
        "state_bytes": {kind: sum(sizes.values()) for kind, sizes in world.sizes.items()},
        "outputs": await _outputs(hosted, read_log),
    }


def _records(found: Mapping[str, object]) -> dict[str, Any]:
    return {key: msgspec.to_builtins(record) for key, record in found.items()}


async def _outputs(hosted: Hosted, read_log: ReadLog) -> dict[str, str]:
    """The end of what tasks said that are not ready, or have failed; agents may not answer."""
    asked = [
        task
        for task in hosted.scheduler.world.tasks.values()
        if not task.ready or task.failures or not task.alive
    ][:MOST_LOGS]
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(task: TaskRecord, file: str) -> tuple[str, str]:
        name = f"{task.pod_instance}-{task.spec.name}.{file}"
        try:
            async with slots, asyncio.timeout(_LOG_SECONDS):
                return name, (await read_log(hosted, task, file, -1, _LOG_BYTES)).data
        except (KubedcosError, TimeoutError) as error:
            return name, f"(not available: {error or 'no answer'})"

    return dict(
        await asyncio.gather(*(one(task, file) for task in asked for file in ("stdout", "stderr")))
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
