"""disk/du: how much of the disk containers use, measured by `du`, and what exceeds its quota."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kubedcos.clock import Clock
from kubedcos.embedded.protojson import to_json
from kubedcos.mesos.messages import Resource

log = logging.getLogger("kubedcos.embedded.agent.disk")

KB: Final = 1 << 10
MB: Final = 1 << 20
_UNITS: Final = (("TB", 1 << 40), ("GB", 1 << 30), ("MB", MB), ("KB", KB))

Measure = Callable[[str, Sequence[str]], Awaitable[int]]
"""Bytes below a path, without those below other paths; raises OSError."""


def bytes_text(amount: int) -> str:
    """An amount as Mesos writes it: in the largest unit that goes into it."""
    for unit, size in _UNITS:
        if amount and amount % size == 0:
            return f"{amount // size}{unit}"
    return f"{amount}B"


@dataclass(frozen=True, slots=True)
class Watched:
    """A container whose disk use is measured.

    Attributes:
        container_id: its id.
        sandbox: its directory.
        parts: resources of its tasks, each with the directory that its volumes are in.
    """

    container_id: str
    sandbox: Path
    parts: tuple[tuple[Path, tuple[Resource, ...]], ...]

    def quotas(self) -> dict[str, tuple[Resource, ...]]:
        """Disk resources by the path that they are for: the sandbox, and each volume."""
        found: dict[str, tuple[Resource, ...]] = {}
        for directory, resources in self.parts:
            for resource in resources:
                if resource.name == "disk":
                    volume = resource.disk.volume if resource.disk else None
                    # An absolute path replaces the directory.
                    path = str(directory / volume.container_path if volume else self.sandbox)
                    found[path] = (*found.get(path, ()), resource)
        return found


def quota_of(resources: Iterable[Resource]) -> int:
    """Bytes that disk resources allow."""
    return round(sum(r.scalar.value for r in resources if r.scalar) * MB)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A quota that a container exceeds: Mesos' text, and the resources that made the quota."""

    message: str
    resources: tuple[Resource, ...]


def excess(used: int, resources: tuple[Resource, ...]) -> Exceeded | None:
    """Whether so many bytes are too many; a MOUNT disk ends by itself."""
    sources = [r.disk.source.type for r in resources if r.disk and r.disk.source]
    quota = quota_of(resources)
    if used <= quota or "MOUNT" in sources:
        return None
    text = f"Disk usage ({bytes_text(used)}) exceeds quota ({bytes_text(quota)})"
    return Exceeded(text, resources)


@dataclass(slots=True)
class DiskWatch:
    """Measures one path after the other, with a pause after each.

    Attributes:
        interval: seconds between two measurements.
        enforce: whether `exceeded` is told.
        used: bytes by container and path, as measured last.
    """

    interval: float
    enforce: bool
    measure: Measure
    used: dict[str, dict[str, int]] = field(default_factory=dict)
    _waiting: list[tuple[str, str]] = field(default_factory=list)

    async def run(
        self,
        clock: Clock,
        containers: Callable[[], Iterable[Watched]],
        exceeded: Callable[[str, Exceeded], None],
    ) -> None:
        """Go on for ever.

        Args:
            clock: for the pauses.
            containers: those that run now.
            exceeded: told the container's id and what is too much.
        """
        while True:
            await clock.sleep(self.interval)
            await self.step({each.container_id: each for each in containers()}, exceeded)

    async def step(
        self, running: Mapping[str, Watched], exceeded: Callable[[str, Exceeded], None]
    ) -> None:
        """Measure the path that waits longest."""
        self.used = {name: paths for name, paths in self.used.items() if name in running}
        wanted = [(name, path) for name, each in running.items() for path in each.quotas()]
        self._waiting = [each for each in self._waiting if each in wanted]
        self._waiting += [each for each in wanted if each not in self._waiting]
        if not self._waiting:
            return
        name, path = self._waiting.pop(0)
        self._waiting.append((name, path))
        container, quotas = running[name], running[name].quotas()
        excludes = [p for p in quotas if p != path] if path == str(container.sandbox) else []
        try:
            used = await self.measure(path, excludes)
        except (OSError, ValueError) as error:
            log.error("Checking disk usage at '%s' for container %s: %s", path, name, error)
            return
        self.used.setdefault(name, {})[path] = used
        if self.enforce and (found := excess(used, quotas[path])):
            exceeded(name, found)

    def statistics(self, container: Watched) -> dict[str, Any]:
        """The disk part of ResourceStatistics."""
        used = self.used.get(container.container_id, {})
        listed: list[dict[str, Any]] = []
        quotas = container.quotas()
        own = quotas.pop(str(container.sandbox), None)
        for path, resources in quotas.items():
            entry: dict[str, Any] = {"limit_bytes": quota_of(resources)}
            if path in used:
                entry["used_bytes"] = used[path]
            for name in ("source", "persistence"):
                part = getattr(resources[0].disk, name)
                if part is not None:
                    entry[name] = to_json(part)
            listed.append(entry)
        values: dict[str, Any] = {}
        if own is not None:
            amounts = quota_of(own), used.get(str(container.sandbox), 0)
            values["disk_limit_bytes"], values["disk_used_bytes"] = amounts
            listed.append({"limit_bytes": amounts[0], "used_bytes": amounts[1]})
        return values | ({"disk_statistics": listed} if listed else {})


async def du(path: str, excludes: Sequence[str]) -> int:
    """Bytes below `path`, measured with `du` as Mesos does: in blocks of 1 KiB.

    Raises:
        OSError: in the words of `du`.
    """
    # A volume may be a link, whose target is meant.
    place = path + "/" if Path(path).is_symlink() else path  # noqa: ASYNC240  at once
    words = [word for each in excludes for word in ("--exclude", each)]
    process = await asyncio.create_subprocess_exec(
        *("du", "-k", "-s", *words, place),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, error = await process.communicate()
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    if process.returncode != 0:
        raise OSError(f"Failed to perform 'du': {error.decode(errors='replace').strip()}")
    return int(output.partition(b"\t")[0]) * KB
