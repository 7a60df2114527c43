"""The workload of the stories: what it runs is ready after a while, and tells no lies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kubedcos.model.service import ServiceSpec
from kubedcos.scheduler.invariants import quorum_of
from kubedcos.scheduler.workload import Command, Departure, Launch, Readiness, RunningTask

from .simulated_mesos import SimulatedMesos


class FakeWorkload:
    """Ready some seconds after a task runs; remembers what it was asked.

    Members of etcd tell the truth of each other: whoever is out of reach does not answer.

    Attributes:
        asked_to_stop: told each time which member the others are asked about.
        left: members that etcd has removed and not taken in again.
    """

    def __init__(self, spec: ServiceSpec, mesos: SimulatedMesos, ready_after: float = 1.0) -> None:
        self._spec = spec
        self._mesos = mesos
        self.asked_to_stop: Callable[[str], None] = lambda _: None
        self.left: set[str] = set()
        self._stood: set[str] = set()
        self._first_asked: dict[str, float] = {}
        self.ready_after = ready_after
        self.not_ready: dict[str, str] = {}
        self.commands: list[Launch] = []
        self.peers: dict[str, tuple[str, ...]] = {}
        self.ended: list[str] = []
        self.fails_for: set[str] = set()
        self.departures: list[tuple[str, str, str]] = []
        self.stays: dict[str, str] = {}
        self.cordoned: set[str] = set()
        self.silent: set[str] = set()

    @property
    def spec(self) -> ServiceSpec:
        return self._spec

    def become(self, spec: ServiceSpec) -> None:
        self._spec = spec

    def command(self, launch: Launch, peers: Sequence[RunningTask]) -> Command:
        name = f"{launch.pod_instance}-{launch.spec.name}"
        if name in self.fails_for:
            raise LookupError(f"no certificate for {name}")
        self.commands.append(launch)
        self.peers[name] = tuple(sorted(p.launch.pod_instance for p in peers))
        return Command(f"exec {name}", environment={"NAME": name})

    async def probe(
        self,
        task: RunningTask,
        peers: Sequence[RunningTask],  # noqa: ARG002  part of the seam
    ) -> Readiness:
        name = f"{task.launch.pod_instance}-{task.launch.spec.name}"
        await asyncio.sleep(0.05)
        while name in self.silent:  # noqa: ASYNC110  stories change the set at will
            await asyncio.sleep(1)
        if name in self.not_ready:
            return Readiness(ready=False, reason=self.not_ready[name])
        now = asyncio.get_running_loop().time()
        since = now - self._first_asked.setdefault(task.launch.task_id, now)
        if since >= self.ready_after:
            self._stood.add(task.launch.pod_instance)
            self.left.discard(task.launch.pod_instance)
            return Readiness(ready=True)
        return Readiness(ready=False, reason="answers 503")

    async def may_stop(
        self,
        departure: Departure,
        peers: Sequence[RunningTask],  # noqa: ARG002  part of the seam
    ) -> Readiness:
        await asyncio.sleep(0.05)
        instance = departure.pod_instance
        self.asked_to_stop(instance)
        voters, there = self._ensemble(departure.pod)
        if not voters or len(there - {instance}) >= quorum_of(len(voters)):
            return Readiness(ready=True)
        return Readiness(ready=False, reason=f"of {sorted(voters)} {sorted(there)} answer")

    def _ensemble(self, pod_name: str) -> tuple[set[str], set[str]]:
        """Members, and those of them that answer; none before all have stood, or of one."""
        pod = self._spec.pod(pod_name)
        instances = {pod.instance(index) for index in pod.indices}
        if len(instances) == 1 or not instances <= self._stood:
            return set(), set()
        voters = instances - self.left
        live = self._mesos.live
        now = asyncio.get_running_loop().time()
        there = set()
        for instance in voters:
            name = f"{instance}-{pod.tasks[0].name}"
            task = live.get(name)
            if task is None or task.state != "TASK_RUNNING" or name in self.silent:
                continue
            since = self._first_asked.get(task.info.task_id.value, now)
            if self._mesos.reachable(task.agent.hostname) and now - since >= self.ready_after:
                there.add(instance)
        return voters, there - {name.rpartition("-")[0] for name in self.not_ready}

    def lost_for_good(self, pod_name: str) -> bool:
        """Whether most of the members are on agents that are gone, and not all ever stood."""
        pod = self._spec.pod(pod_name)
        wanted = {pod.instance(index) for index in pod.indices}
        stood = wanted & self._stood
        gone = self._mesos.engine.state.gone
        places = {task.info.name: task.info.agent_id.value for task in self._mesos.tasks.values()}
        lost = {name for name in stood if places[f"{name}-{pod.tasks[0].name}"] in gone}
        return stood != wanted and len(stood - lost) < quorum_of(len(stood))

    async def prepare_departure(
        self,
        departure: Departure,
        peers: Sequence[RunningTask],  # noqa: ARG002  part of the seam
    ) -> Readiness:
        answer = await self._departs(departure, "prepare")
        instance = departure.pod_instance
        if not answer.ready or departure.returns or departure.pod != "etcd":
            return answer
        voters, there = self._ensemble(departure.pod)
        if instance not in voters:
            return answer
        needed = quorum_of(len(voters) - 1)
        if len(there) < quorum_of(len(voters)) or len(there - {instance}) < needed:
            return Readiness(ready=False, reason=f"of {sorted(voters)} {sorted(there)} answer")
        self.left.add(instance)
        return answer

    async def finish_departure(
        self,
        departure: Departure,
        peers: Sequence[RunningTask],  # noqa: ARG002  part of the seam
    ) -> Readiness:
        return await self._departs(departure, "finish")

    async def _departs(self, departure: Departure, side: str) -> Readiness:
        await asyncio.sleep(0.05)
        instance = departure.pod_instance
        if departure.returns:
            side = {"prepare": "empty", "finish": "take back"}[side]
        self.departures.append((side, instance, departure.place.hostname))
        if departure.pod != "etcd":  # a member is no node
            self.cordoned.add(instance)
        why = self.stays.get(instance, "")
        if side in ("take back", "finish") and not why:
            self.cordoned.discard(instance)
        return Readiness(ready=not why, reason=why)

    def task_ended(self, task_id: str) -> None:
        self.ended.append(task_id)
