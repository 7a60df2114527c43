"""What operators may ask of a pod instance, as in the DC/OS SDK: restart, replace, pause, resume.

A wish is stored before anything is done, and is carried out by the next cycles, whichever scheduler
leads then. What would break a quorum is refused, and nothing is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kubedcos.clock import Clock
from kubedcos.errors import InvalidInput, Problem, Refused
from kubedcos.model.offer import Agent
from kubedcos.model.service import PodSpec, ServiceSpec
from kubedcos.scheduler import moves
from kubedcos.scheduler.elsewhere import nowhere_else
from kubedcos.scheduler.invariants import healthy, quorum_objection
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.task_updates import succeeded
from kubedcos.scheduler.views import View
from kubedcos.scheduler.world import Record, World
from kubedcos.state.records import Replacement, TaskRecord

_ASKED: Final = "an operator asked for it"
_TAKEN_BACK: Final = "an operator asked for it, and took it back"


@dataclass(frozen=True, slots=True)
class PodOperations:
    """Operations on the pod instances of one cluster. `wake` starts the next cycle at once."""

    spec: ServiceSpec
    world: World
    settings: FrameworkSettings
    clock: Clock
    wake: Callable[[], None]

    def restart(self, instance: str, *, force: bool = False) -> View:
        """End the tasks of a pod instance; they are started again in place.

        A task that ended well (an add-on) runs once more; one that waits after a failure is
        started at once.

        Args:
            instance: such as ``kube-node-2``.
            force: also the only member of a pod that needs a quorum.

        Raises:
            KeyError: no such pod instance.
            Refused: a quorum would be lost, or the cluster is being deleted.
        """
        pod, index = self._find(instance)
        found = self._records(pod, index)
        self._keep_quorum(pod, index, f"{instance} is not restarted", force=force)
        put: list[Record] = []
        remove: list[Record] = []
        for task in found:
            if task.alive:
                put.append(replace(task, kill_asked=True))
            elif succeeded(task):
                remove.append(task)
            else:
                put.append(replace(task, failures=0, not_before=0.0))
        self.world.commit(put, remove)
        return self._done(instance, found)

    def replace(self, instance: str) -> View:
        """Move a pod instance elsewhere; its reservation and its volumes are given up.

        It waits its turn if others of its kind are being moved. One that moves already, for another
        reason, does not return to what it leaves any more.

        Raises:
            KeyError: no such pod instance.
            Refused: a quorum would be lost, there is no other place for it, or the cluster is being
                deleted.
        """
        pod, index = self._find(instance)
        found = self._records(pod, index)
        record = self.world.recovery_of(pod.name, index)
        move = record.replacement
        if move is not None:
            if move.agent is not None and not move.by_operator:
                self._need_other_place(pod, index, move.agent)
            self.world.commit([replace(record, replacement=replace(move, by_operator=True))])
            return self._done(instance, found)
        if objection := quorum_objection(self.spec, self.world, pod, index):
            raise Refused(f"{instance} is not replaced: {objection}")
        agent = moves.place_of(self.world, pod, index)
        if agent is None:
            return self._done(instance, ())
        self._need_other_place(pod, index, agent)
        wish = Replacement(_ASKED, self.clock.time(), agent=agent, by_operator=True)
        self.world.commit([replace(record, replacement=wish)])
        return self._done(instance, found)

    def cancel_replace(self, instance: str) -> View:
        """Take back that a pod instance be replaced, as far as that goes.

        What has not left yet stays. What has left may go back to the agent that it left, which has
        given up its reservation and volumes by then; so may a member of etcd whose turn has come,
        for it may be out of etcd already. What moves for another reason, too, moves on.

        Raises:
            KeyError: no such pod instance.
            Refused: nobody asked for its replacement, or the cluster is being deleted.
        """
        pod, index = self._find(instance)
        record = self.world.recovery_of(pod.name, index)
        move = record.replacement
        if move is None:
            return self._done(instance, ())
        if not move.by_operator:
            raise Refused(
                f"{instance} is replaced because {move.reason}; what an operator asked for can be"
                " taken back, and nothing else"
            )
        new = replace(record, replacement=replace(move, by_operator=False))
        if move.reason == _ASKED and move.admitted_at is None:
            new = replace(record, replacement=None)
        elif move.reason == _ASKED and move.prepared_at is None and not pod.recovery.quorum:
            new = moves.turned_back(pod, record, None, self.clock.time())
        elif move.reason == _ASKED:
            goes_on = replace(move, by_operator=False, reason=_TAKEN_BACK)
            new = replace(record, replacement=goes_on)
        self.world.commit([] if new.empty else [new], [record] if new.empty else [])
        return self._done(instance, self._records(pod, index))

    def pause(self, instance: str, tasks: Sequence[str] = (), *, force: bool = False) -> View:
        """End tasks of a pod instance and do not start them again; a reservation stays.

        Args:
            instance: such as ``kube-node-2``.
            tasks: names of tasks, such as ``kubelet``; empty for all.
            force: also the only member of a pod that needs a quorum.

        Raises:
            KeyError: no such pod instance.
            InvalidInput: no such task.
            Refused: a quorum would be lost, or the cluster is being deleted.
        """
        pod, index = self._find(instance)
        names = self._names(pod, instance, tasks)
        self._keep_quorum(pod, index, f"{instance} is not paused", force=force)
        record = self.world.recovery_of(pod.name, index)
        now = self.clock.time()
        paused = tuple(
            task.name for task in pod.tasks if task.name in names or task.name in record.paused
        )
        found = [task for task in self._records(pod, index) if task.spec.name in names]
        ended = [replace(task, kill_asked=True) for task in found if task.alive]
        since = record.paused_at if record.paused else now
        self.world.commit([replace(record, paused=paused, paused_at=since), *ended])
        return self._done(instance, found, names)

    def resume(self, instance: str, tasks: Sequence[str] = ()) -> View:
        """Start paused tasks of a pod instance again, all if none is named.

        Raises:
            KeyError: no such pod instance.
            InvalidInput: no such task.
            Refused: the cluster is being deleted.
        """
        pod, index = self._find(instance)
        names = self._names(pod, instance, tasks)
        record = self.world.recovery_of(pod.name, index)
        resumed = [name for name in record.paused if name in names]
        left = tuple(name for name in record.paused if name not in names)
        new = replace(record, paused=left, paused_at=record.paused_at if left else None)
        if new.empty:
            self.world.commit(remove=[record])
        else:
            self.world.commit([new])
        return self._done(instance, (), resumed)

    # --- inside -----------------------------------------------------------------------------------

    def _find(self, instance: str) -> tuple[PodSpec, int]:
        for pod in self.spec.pods:
            name, _, number = instance.rpartition("-")
            if pod.name == name and number.isdecimal() and int(number) in pod.indices:
                if pod.instance(int(number)) != instance:
                    break
                if self.world.cluster.deleting:
                    raise Refused(f"{instance}: cluster {self.spec.name} is being deleted")
                return pod, int(number)
        raise KeyError(instance)

    def _records(self, pod: PodSpec, index: int) -> tuple[TaskRecord, ...]:
        keys = [f"{pod.instance(index)}/{task.name}" for task in pod.tasks]
        return tuple(self.world.tasks[key] for key in keys if key in self.world.tasks)

    def _names(self, pod: PodSpec, instance: str, tasks: Sequence[str]) -> tuple[str, ...]:
        known = [task.name for task in pod.tasks]
        asked = [name.removeprefix(f"{instance}-") for name in tasks]
        if unknown := sorted(set(asked) - set(known)):
            problem = Problem(
                f"tasks of {instance}", ", ".join(unknown), ", ".join(known), id="no-such-task"
            )
            raise InvalidInput([problem])
        return tuple(name for name in known if not asked or name in asked)

    def _keep_quorum(self, pod: PodSpec, index: int, what: str, *, force: bool) -> None:
        """A member that does not work already may be ended: nothing gets worse by it."""
        if (force and pod.count == 1) or not healthy(self.world, pod, index):
            return
        if objection := quorum_objection(self.spec, self.world, pod, index):
            alone = "; it is the only one, and may be ended by force" if pod.count == 1 else ""
            raise Refused(f"{what}: {objection}{alone}")

    def _need_other_place(self, pod: PodSpec, index: int, agent: Agent) -> None:
        if why := nowhere_else(self.spec, self.world, self.settings, pod, index, agent):
            raise Refused(
                f"{pod.instance(index)} is not replaced: its placement and size allow no known"
                f" agent but {agent.hostname}, where it is: {why}"
            )

    def _done(
        self, instance: str, found: Sequence[TaskRecord], names: Sequence[str] | None = None
    ) -> View:
        self.wake()
        touched = [task.spec.name for task in found] if names is None else names
        return {"pod": instance, "tasks": [f"{instance}-{name}" for name in touched]}
