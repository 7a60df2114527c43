"""What Kubernetes and etcd have to be told when a pod instance leaves its place for good."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final

import httpx2
import structlog

from kubedcos.clock import Clock
from kubedcos.config.pools import is_node_pod
from kubedcos.errors import KubedcosError
from kubedcos.kubernetes import node_drain
from kubedcos.kubernetes.approval import NodeClaim
from kubedcos.kubernetes.etcd_members import EtcdMembers, EtcdUnreachable
from kubedcos.kubernetes.etcd_reconfiguration import Move, WantedMember, next_step, stop_objection
from kubedcos.kubernetes.kube_api import ApiError, KubeApi
from kubedcos.scheduler.views import moment
from kubedcos.scheduler.workload import Departure, Readiness

_READY: Final = Readiness(ready=True)
_RUNNING: Final = "TASK_RUNNING"

_log = structlog.get_logger(__name__)


class Leaving:
    """Prepares and finishes departures; all of it finds done what is done.

    Args:
        kinds: kinds of the tasks of the service's pods, by name.
        members: a client of etcd's members.
        established: whether etcd was ever seen to work.
        api: kube-apiserver; None while its address is not known.
        claims: the nodes that tasks of ours are.
        drain_timeout: seconds after which a node is given up that could not be drained.
        clock: for deadlines.
    """

    def __init__(
        self,
        *,
        kinds: Mapping[str, Collection[str]],
        members: Callable[[], EtcdMembers],
        established: Callable[[], bool],
        api: Callable[[], KubeApi | None],
        claims: Callable[[], Iterable[NodeClaim]],
        drain_timeout: float,
        clock: Clock,
    ) -> None:
        self._known_kinds = kinds
        self._members = members
        self._established = established
        self._api = api
        self._claims = claims
        self._drain_timeout = drain_timeout
        self._clock = clock
        self._nodes: dict[tuple[str, float], str] = {}

    async def may_stop(self, departure: Departure) -> Readiness:
        """Whether etcd can do without a member for as long as it restarts."""
        if "etcd" not in self._kinds(departure.pod):
            return _READY
        try:
            survey = await self._members().survey()
        except (KubedcosError, httpx2.HTTPError) as error:
            return Readiness(ready=False, reason=str(error))
        objection = stop_objection(survey, departure.pod_instance)
        return Readiness(ready=not objection, reason=objection)

    async def prepare(self, departure: Departure) -> Readiness:
        """Before its tasks end: a member leaves etcd, a node is drained."""
        kinds = self._kinds(departure.pod)
        if "etcd" in kinds and not departure.returns:
            return await self._leave_etcd(departure)
        if "kubelet" in kinds:
            deadline = departure.since + self._drain_timeout
            return await self._or_deadline(departure, self._drain(departure), deadline)
        return _READY

    async def finish(self, departure: Departure) -> Readiness:
        """After its tasks ended: a node is deleted, unless another pod instance is it by now.

        A node that is back at its place takes pods again. There is no deadline: one that stays
        cordoned is of no use.
        """
        if "kubelet" in self._kinds(departure.pod):
            if departure.returns:
                return await self._answered(self._take_back(departure))
            # The first deadline may have passed already.
            deadline = departure.since + 2 * self._drain_timeout
            return await self._or_deadline(departure, self._delete_node(departure), deadline)
        return _READY

    # --- inside -----------------------------------------------------------------------------------

    def _kinds(self, pod: str) -> Collection[str]:
        """Kinds of a pod's tasks; of a pool that was taken away the name is all that is left."""
        return self._known_kinds.get(pod) or (("kubelet",) if is_node_pod(pod) else ())

    async def _leave_etcd(self, departure: Departure) -> Readiness:
        """There is no deadline: a member that etcd counts on does not go.

        Before etcd has ever worked nothing is in it, and who is to found it may be nobody to ask.
        """
        name = departure.pod_instance
        members = self._members()
        try:
            survey = await members.survey()
            if not any(seen.member.name == name for seen in survey):
                return _READY
            stay = [
                WantedMember(seen.member.title, url)
                for seen in survey
                if seen.member.name != name
                for url in seen.member.peer_urls
            ]
            step = next_step(survey, stay)
            leaves = {seen.member.id for seen in survey if seen.member.name == name}
            if step.move is Move.PROMOTE:
                await members.promote(step.member_id)
            if step.move is not Move.REMOVE or step.member_id not in leaves:
                return Readiness(ready=False, reason=step.reason)
            await members.remove(step.member_id)
        except (KubedcosError, httpx2.HTTPError) as error:
            if isinstance(error, EtcdUnreachable) and not self._established():
                return _READY
            return Readiness(ready=False, reason=str(error))
        _log.info("etcd member removed", member=name, reason=step.reason)
        return _READY

    async def _drain(self, departure: Departure) -> Readiness:
        api = self._api()
        if api is None:
            return Readiness(ready=False, reason="kube-apiserver does not run")
        node = await self._find_node(api, departure)
        if not node or not await node_drain.cordon(api, node):
            return _READY
        progress = await node_drain.drain(api, node)
        kubelet = next((t for t in departure.tasks if t.launch.spec.kind == "kubelet"), None)
        reachable = kubelet is not None and kubelet.state == _RUNNING
        if not progress.open(reachable=reachable):
            return _READY
        return Readiness(ready=False, reason=f"drains {node}: {progress}")

    async def _take_back(self, departure: Departure) -> Readiness:
        api = self._api()
        if api is None:
            return Readiness(ready=False, reason="kube-apiserver does not run")
        node = await self._find_node(api, departure)
        if node and await node_drain.uncordon(api, node):
            _log.info("node takes pods again", node=node, pod=departure.pod_instance)
        self._nodes.pop((departure.pod_instance, departure.since), None)
        return _READY

    async def _find_node(self, api: KubeApi, departure: Departure) -> str:
        """Name of its node, by what it claims to be, else by its address; empty without one."""
        if node := self._node_of(departure):
            return node
        found = await node_drain.nodes_at(api, departure.place.address)
        node = next((name for name in found if not self._is_claimed(name, departure)), "")
        self._remember(departure, node)
        return node

    async def _delete_node(self, departure: Departure) -> Readiness:
        api = self._api()
        if api is None:
            return Readiness(ready=False, reason="kube-apiserver does not run")
        known = self._node_of(departure)
        found = (known,) if known else await node_drain.nodes_at(api, departure.place.address)
        for node in found:
            if self._is_claimed(node, departure):
                continue
            await api.delete(f"/api/v1/nodes/{node}")
            _log.info("node deleted", node=node, pod=departure.pod_instance)
        self._nodes.pop((departure.pod_instance, departure.since), None)
        return _READY

    def _node_of(self, departure: Departure) -> str:
        """Name of its node; empty if nobody remembers."""
        ids = {task.launch.task_id for task in departure.tasks}
        for claim in self._claims():
            if claim.task_id in ids:
                self._remember(departure, claim.node)
        return self._nodes.get((departure.pod_instance, departure.since), "")

    def _remember(self, departure: Departure, node: str) -> None:
        if node:
            self._nodes[departure.pod_instance, departure.since] = node

    def _is_claimed(self, node: str, departure: Departure) -> bool:
        ids = {task.launch.task_id for task in departure.tasks}
        return any(c.node == node and c.task_id not in ids for c in self._claims())

    async def _or_deadline(
        self, departure: Departure, doing: Awaitable[Readiness], deadline: float
    ) -> Readiness:
        """The answer, or after the deadline a yes with the reason, and a sigh in the log."""
        readiness = await self._answered(doing)
        if readiness.ready:
            return readiness
        if self._clock.time() >= deadline:
            _log.warning(
                "goes on without an answer", pod=departure.pod_instance, reason=readiness.reason
            )
            told = f"goes on after {self._drain_timeout:.0f} s: {readiness.reason}"
            return Readiness(ready=True, reason=told)
        return Readiness(ready=False, reason=f"{readiness.reason}; until {moment(deadline)}")

    async def _answered(self, doing: Awaitable[Readiness]) -> Readiness:
        """The answer; what Kubernetes refuses is a reason to wait."""
        try:
            return await doing
        except (ApiError, httpx2.HTTPError) as error:
            return Readiness(ready=False, reason=f"Kubernetes: {error}")
