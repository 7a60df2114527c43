"""Fetching for containers: one worker process each, and one for every file of the cache."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from kubedcos.embedded.agent.fetching import worker
from kubedcos.embedded.agent.fetching.cache import Cache, Entry
from kubedcos.embedded.agent.fetching.rules import base_name, problem_of
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import Uri

SizeOf = Callable[[str], Awaitable[int | None]]
"""Size in bytes of what a URI holds; None when nobody can say."""


class FetchFailed(KubedcosError):
    """The text of a failed launch behind ``Failed to launch container: ``."""


@dataclass(frozen=True, slots=True)
class Job:
    """What one container needs.

    Attributes:
        container_id: for messages.
        uris: of its command.
        sandbox: where they go; its ``stderr`` gets the log.
        user: owner of cached files.
        owner: uid and gid that the files get; None for ours.
    """

    container_id: str
    uris: Sequence[Uri]
    sandbox: Path
    user: str = ""
    owner: tuple[int, int] | None = None


class Fetcher:
    """Fetches for all containers of an agent.

    Attributes:
        succeeded: containers whose URIs all came.
        failed: containers whose URIs did not.
    """

    def __init__(
        self,
        directory: Path,
        capacity: int,
        size_of: SizeOf,
        *,
        frameworks_home: str = "",
        stall_timeout: float = 60.0,
    ) -> None:
        """See the flags `fetcher_cache_dir`, `fetcher_cache_size`, `fetcher_stall_timeout`."""
        self.directory = directory
        self.cache = Cache(capacity)
        self.succeeded = 0
        self.failed = 0
        self._size_of = size_of
        self._home = frameworks_home
        self._stall = stall_timeout
        self._downloads: dict[tuple[str, str], asyncio.Task[bool]] = {}
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}

    def clear(self) -> None:
        """Empty the cache directory: its table did not survive the last agent process."""
        shutil.rmtree(self.directory, ignore_errors=True)

    async def fetch(self, job: Job) -> None:
        """Bring everything into the sandbox.

        Raises:
            FetchFailed: with Mesos' text.
        """
        if not job.uris:
            return
        for uri in job.uris:
            if problem := problem_of(uri):
                self.failed += 1
                raise FetchFailed(f"Could not fetch: {problem}")
        held: list[Entry] = []
        try:
            items = [await self._item(job, uri, held) for uri in job.uris]
            done = None not in items and await self._run(job, [item for item in items if item])
        finally:
            for entry in held:
                entry.readers -= 1
        if not done:
            self.failed += 1
            raise FetchFailed(
                f"Failed to fetch all URIs for container '{job.container_id}': exited with status 1"
            )
        self.succeeded += 1

    async def _item(self, job: Job, uri: Uri, held: list[Entry]) -> dict[str, Any] | None:
        """What the worker is to do for one URI; None when its download into the cache failed."""
        name = base_name(uri.value)
        item = {"uri": msgspec.to_builtins(uri), "name": name, "action": "BYPASS_CACHE"}
        if not uri.cache:
            return item
        entry = await self._cached(job, uri, name)
        if entry is None:
            return item
        entry.readers += 1
        held.append(entry)
        download = self._downloads.get((job.user, uri.value))
        if not entry.ready and download is not None and not await asyncio.shield(download):
            return None
        path = str(self.directory / entry.file_name)
        return item | {"action": "RETRIEVE_FROM_CACHE", "cache_path": path}

    async def _cached(self, job: Job, uri: Uri, name: str) -> Entry | None:
        """The cache's entry, whose download is under way perhaps; None when it cannot be cached."""
        async with self._asking.setdefault((job.user, uri.value), asyncio.Lock()):
            if entry := self.cache.find(job.user, uri.value):
                return entry
            size = await self._size_of(uri.value)
            return None if size is None else self._reserved(job, uri, name, size)

    def _reserved(self, job: Job, uri: Uri, name: str, size: int) -> Entry | None:
        """A new entry whose download has begun; None when there is no room."""
        try:
            entry, victims = self.cache.reserve(job.user, uri.value, name, size)
        except ValueError:
            return None
        for victim in victims:
            (self.directory / victim).unlink(missing_ok=True)
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o755)
        task = asyncio.create_task(self._download(job, uri, entry))
        self._downloads[job.user, uri.value] = task
        return entry

    async def _download(self, job: Job, uri: Uri, entry: Entry) -> bool:
        path = self.directory / entry.file_name
        item = {
            "action": "DOWNLOAD_AND_CACHE",
            "uri": msgspec.to_builtins(uri),
            "cache_path": str(path),
        }
        try:
            entry.ready = await self._run(job, [item])
        finally:
            self._downloads.pop((job.user, uri.value), None)
            if entry.ready:
                entry.size = path.stat().st_size
            else:
                self.cache.drop(job.user, uri.value)
                path.unlink(missing_ok=True)
        return entry.ready

    async def _run(self, job: Job, items: list[dict[str, Any]]) -> bool:
        """Let a worker do `items`; whether it could."""
        info: dict[str, Any] = {
            "sandbox_directory": str(job.sandbox),
            "cache_directory": str(self.directory),
            "items": items,
            "frameworks_home": self._home,
            "stall_timeout": self._stall,
        }
        if job.owner is not None and items[0]["action"] != "DOWNLOAD_AND_CACHE":
            info["owner"] = list(job.owner)
        with (job.sandbox / "stderr").open("ab") as log, (job.sandbox / "stdout").open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", worker.__file__, str(os.getpid())),
                stdin=asyncio.subprocess.PIPE,
                stdout=out,
                stderr=log,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        try:
            await process.communicate(json.dumps(info).encode())
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        return process.returncode == 0
