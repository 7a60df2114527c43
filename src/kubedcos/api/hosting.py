"""The clusters that one service hosts: each is a Mesos framework with a scheduler of its own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from kubedcos.clock import Clock
from kubedcos.config import cluster as options_file
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import InvalidInput, KubedcosError, Problem, Refused
from kubedcos.mesos.client import Connector
from kubedcos.scheduler.scheduler import Scheduler
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.workload import Workload
from kubedcos.state import records
from kubedcos.state.store import StateError, Store

_log = logging.getLogger(__name__)


class HostedWorkload(Workload, Protocol):
    """A workload that its operators and its tasks can ask something."""

    async def material(self, task_id: str, body: bytes) -> Mapping[str, Any]:
        """What a task needs to become its component; once for each task.

        Raises:
            KeyError: no such task.
            InvalidInput: the request makes no sense.
            KubedcosError: it is refused.
        """
        ...

    def kubeconfig(self) -> str:
        """A kubeconfig for operators.

        Raises:
            NotYetComplete: there is no API server yet.
        """
        ...

    def destroy(self) -> None:
        """Forget every key: the cluster is gone."""
        ...


class Unknown(InvalidInput):
    """There is no such cluster, plan or pod."""


@dataclass(slots=True)
class Hosted:
    """One cluster."""

    options: ClusterOptions
    workload: HostedWorkload
    scheduler: Scheduler
    running: asyncio.Task[None] | None = None
    deleting: asyncio.Task[None] | None = None
    failure: str = ""

    def snapshot(self) -> dict[str, Any]:
        """How it stands, as plain data."""
        found = self.scheduler.snapshot()
        plans = found["plans"]
        return {
            **found,
            "version": self.options.version,
            "error": self.failure or found.get("error"),
            "status": next((plan["status"] for plan in plans if plan["name"] == "deploy"), None),
            "options": self.options.model_dump(mode="json"),
        }


@dataclass(slots=True)
class Clusters:
    """Makes, keeps and removes clusters. Everything happens in one event loop.

    Attributes:
        broken: set when the store failed under a cluster; the service must end then.
    """

    store: Store
    clock: Clock
    make_workload: Callable[[ClusterOptions], HostedWorkload]
    framework: Callable[[ClusterOptions], FrameworkSettings]
    connect: Callable[[FrameworkSettings], Connector]
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    _hosted: dict[str, Hosted] = field(default_factory=dict)

    def restore(self) -> None:
        """Go on with the clusters that the store knows."""
        for name in self.store.clusters():
            text = records.options(self.store, name)
            if text is None:
                _log.error("cluster %s has records and no options; it is left alone", name)
                continue
            try:
                self._host(options_file.validate(json.loads(text), f"stored options of {name}"))
            except (InvalidInput, ValueError):
                # One cluster that cannot be read must not take the others along.
                _log.exception("cluster %s cannot be restored", name)

    def create(self, data: Mapping[str, Any], where: str) -> tuple[Hosted, bool]:
        """The cluster with these options, and whether it is new.

        Raises:
            InvalidInput: the options are wrong.
            Refused: a cluster of this name has other options, or is being deleted.
        """
        options = options_file.validate(dict(data), where)
        known = self._hosted.get(options.name)
        if known is not None:
            if known.deleting is not None:
                raise Refused(f"cluster {options.name} is being deleted")
            if known.options != options:
                keys = ", ".join(_differences(known.options, options))
                raise Refused(
                    f"cluster {options.name} exists with other options ({keys}); options of a "
                    "running cluster cannot be changed yet"
                )
            return known, False
        text = json.dumps(options.model_dump(mode="json"))
        self.store.write(options.name, [records.put_options(text)])
        return self._host(options), True

    def delete(self, name: str) -> Hosted:
        """Begin to take the cluster `name` down; asking again changes nothing.

        Raises:
            Unknown: there is none.
        """
        hosted = self.get(name)
        if hosted.deleting is None:
            hosted.deleting = asyncio.create_task(self._delete(name, hosted))
        return hosted

    def get(self, name: str) -> Hosted:
        """The cluster `name`.

        Raises:
            Unknown: there is none.
        """
        try:
            return self._hosted[name]
        except KeyError:
            known = ", ".join(sorted(self._hosted)) or "none so far"
            problem = Problem("cluster", repr(name), f"one of: {known}", id="cluster-unknown")
            raise Unknown([problem]) from None

    def all(self) -> list[Hosted]:
        """Every cluster, by name."""
        return [self._hosted[name] for name in sorted(self._hosted)]

    async def material(self, task_id: str, body: bytes) -> Mapping[str, Any]:
        """What the task needs; asked of the cluster that it belongs to.

        Raises:
            KeyError: no cluster has such a task.
        """
        for hosted in self.all():
            if hosted.scheduler.world.task(task_id) is not None:
                return await hosted.workload.material(task_id, body)
        raise KeyError(task_id)

    async def close(self) -> None:
        """Stop all schedulers; what they staged goes on running."""
        tasks = [
            task
            for hosted in self._hosted.values()
            for task in (hosted.running, hosted.deleting)
            if task is not None
        ]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _host(self, options: ClusterOptions) -> Hosted:
        settings = self.framework(options)
        workload = self.make_workload(options)
        scheduler = Scheduler(workload, self.store, self.connect(settings), settings, self.clock)
        hosted = Hosted(options, workload, scheduler)
        self._hosted[options.name] = hosted
        hosted.running = asyncio.create_task(self._run(hosted))
        if scheduler.world.cluster.deleting:
            self.delete(options.name)
        return hosted

    async def _run(self, hosted: Hosted) -> None:
        name = hosted.options.name
        try:
            await hosted.scheduler.run()
        except StateError as error:
            hosted.failure = str(error)
            _log.critical("cluster %s: %s", name, error)
            self.broken.set()
        except KubedcosError as error:
            hosted.failure = str(error)
            _log.error("cluster %s: %s", name, error)
        except Exception as error:
            hosted.failure = f"defect: {error!r}"
            _log.exception("cluster %s: the scheduler ended", name)
            self.broken.set()

    async def _delete(self, name: str, hosted: Hosted) -> None:
        await hosted.scheduler.delete()
        hosted.workload.destroy()
        if hosted.running is not None:
            await asyncio.gather(hosted.running, return_exceptions=True)
        self._hosted.pop(name, None)
        _log.info("cluster %s is gone", name)


def _differences(old: ClusterOptions, new: ClusterOptions) -> list[str]:
    """Top-level keys whose values differ."""
    before, after = old.model_dump(mode="json"), new.model_dump(mode="json")
    return sorted(key for key in after if before.get(key) != after[key])
