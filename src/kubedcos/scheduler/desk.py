"""What people see of a scheduler and ask of it: plans, pods, and what operators did."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from kubedcos.clock import Clock
from kubedcos.errors import Refused
from kubedcos.plan.interruption import Target, Verb
from kubedcos.plan.tree import Plan
from kubedcos.scheduler import steering, views, why
from kubedcos.scheduler.cycle import Cycle
from kubedcos.scheduler.operations import PodOperations
from kubedcos.scheduler.settings import FrameworkSettings
from kubedcos.scheduler.steering import Operator, Steered
from kubedcos.scheduler.workload import Workload
from kubedcos.scheduler.world import World

_log = logging.getLogger(__name__)


class Desk:
    """Answers questions of what is and stores wishes; the next cycle heeds them.

    Args:
        workload: what is run.
        world: what is known of it.
        settings: who the framework is to Mesos.
        clock: time.
        cycle: what knows the plans.
        wake: has the scheduler look at once.
    """

    def __init__(
        self,
        workload: Workload,
        world: World,
        settings: FrameworkSettings,
        clock: Clock,
        cycle: Cycle,
        wake: Callable[[], None],
    ) -> None:
        self._workload = workload
        self.world = world
        self._settings = settings
        self._clock = clock
        self._cycle = cycle
        self._wake = wake
        self._operations = PodOperations(workload.spec, world, settings, clock, wake)

    @property
    def name(self) -> str:
        """Name of the cluster and of its framework."""
        return self._workload.spec.name

    @property
    def refusals(self) -> Mapping[str, int]:
        """What was not done, by the invariant that it would have broken."""
        return self._cycle.refusals

    def plans(self) -> tuple[Plan, ...]:
        """All plans as they stand."""
        return self._cycle.plans()

    def plan_list(self) -> list[views.View]:
        """All plans with their progress."""
        return views.plan_list(self._cycle.plans())

    def plan_show(self, name: str) -> views.View:
        """One plan as a tree.

        Raises:
            KeyError: no such plan.
        """
        for plan in self._cycle.plans():
            if plan.name == name:
                return views.plan_view(plan, self.world)
        raise KeyError(name)

    def plan_why(self, name: str) -> views.View:
        """What the waiting steps of a plan wait for, with every stage's verdicts.

        Raises:
            KeyError: no such plan.
        """
        for plan in self._cycle.plans():
            if plan.name == name:
                return why.plan_why(plan, self.world)
        raise KeyError(name)

    def plan_steer(
        self, verb: Verb, plan: str, phase: str = "", step: str = "", *, operator: Operator
    ) -> Steered:
        """Pause, resume, restart, complete, start or stop a plan, a phase or a step.

        The wish and the action are stored in one write; the next cycle heeds it.

        Raises:
            NoSuchElement: there is no such plan, phase or step.
            InvalidInput: the verb is of whole plans, and more than a plan is named.
            Refused: the cluster is being deleted.
            StateError: nothing was stored.
        """
        target, now = Target(plan, phase, step), self._clock.time()
        if self.world.cluster.deleting:
            sentence = f"{self.name} is being deleted; its plans take no more wishes"
            self.note_action(operator, f"plan {verb} {target}", f"refused: {sentence}")
            raise Refused(sentence)
        done = steering.steer(self.world, self._cycle.plans(), verb, target, operator, now)
        told = {"cluster": self.name, "operator": operator.who, "why": operator.why}
        _log.info("%s: %s", self.name, done.sentence, extra=told)
        self._wake()
        return done

    def pod_list(self) -> list[views.View]:
        """All pod instances."""
        return views.pod_list(self._workload.spec, self.world)

    def pod_show(self, instance: str) -> views.View:
        """One pod instance in detail.

        Raises:
            KeyError: no such pod instance.
        """
        return views.pod_view(self._workload.spec, self.world, instance)

    def pod_describe(self, instance: str) -> views.View:
        """One pod instance in detail, with its last offers and what befell it.

        Raises:
            KeyError: no such pod instance.
        """
        return {**self.pod_show(instance), **views.pod_history(self.world, instance)}

    def pod_restart(self, instance: str, *, force: bool = False) -> views.View:
        """Restart a pod instance in place: see `PodOperations.restart`."""
        return self._operations.restart(instance, force=force)

    def pod_replace(self, instance: str) -> views.View:
        """Move a pod instance elsewhere: see `PodOperations.replace`."""
        return self._operations.replace(instance)

    def pod_cancel_replace(self, instance: str) -> views.View:
        """Take a replacement back: see `PodOperations.cancel_replace`."""
        return self._operations.cancel_replace(instance)

    def pod_pause(
        self, instance: str, tasks: Sequence[str] = (), *, force: bool = False
    ) -> views.View:
        """End tasks and keep them from running: see `PodOperations.pause`."""
        return self._operations.pause(instance, tasks, force=force)

    def pod_resume(self, instance: str, tasks: Sequence[str] = ()) -> views.View:
        """Let paused tasks run again: see `PodOperations.resume`."""
        return self._operations.resume(instance, tasks)

    def action_list(self) -> list[views.View]:
        """What operators did, the latest first; the oldest are forgotten."""
        return views.action_list(self.world)

    def note_action(self, operator: Operator, what: str, outcome: str) -> None:
        """Store what an operator did, or was refused, apart from its effect.

        Raises:
            StateError: it was not stored.
        """
        steering.note(self.world, operator, what, outcome, self._clock.time())
