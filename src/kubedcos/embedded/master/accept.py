"""ACCEPT and DECLINE: what becomes of offers, operations and tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from msgspec.structs import replace

from kubedcos.embedded.approvals import EVERYTHING, Approver
from kubedcos.embedded.master import operation_feedback
from kubedcos.embedded.master.authorization import group_refusal, operation_refusal, task_refusal
from kubedcos.embedded.master.counting import count_operation
from kubedcos.embedded.master.effects import Effects, ToAgent
from kubedcos.embedded.master.offers import refuse
from kubedcos.embedded.master.operating import checkpoint_call
from kubedcos.embedded.master.operation_rules import (
    Asking,
    body_fault,
    launch_fault,
    operation_fault,
)
from kubedcos.embedded.master.resource_rules import InvalidResource, checked
from kubedcos.embedded.master.rules import task_fault
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState, OfferRecord
from kubedcos.embedded.master.statuses import refused_task, state_for, update_event
from kubedcos.embedded.master.task_groups import group_fault, launch_group
from kubedcos.embedded.protocol import MasterCall, RunTasks
from kubedcos.mesos import operations as convert
from kubedcos.mesos.messages import (
    AgentID,
    AllocationInfo,
    CallAccept,
    CallDecline,
    ExecutorID,
    ExecutorInfo,
    FrameworkID,
    OfferID,
    Operation,
    Resource,
    Task,
    TaskInfo,
)
from kubedcos.mesos.resources import Resources

RESIZES: Final = frozenset({"GROW_VOLUME", "SHRINK_VOLUME"})
_LAUNCHES: Final = {
    "LAUNCH": "REASON_TASK_INVALID",
    "LAUNCH_GROUP": "REASON_TASK_GROUP_INVALID",
}
_Holder = TypeVar("_Holder", TaskInfo, ExecutorInfo)


def decline(
    state: MasterState,
    framework: FrameworkRecord,
    call: CallDecline,
    *,
    now: float,
    allocation_interval: float,
) -> Effects:
    """DECLINE: unknown offers are ignored, the others go back with a filter."""
    for offer_id in call.offer_ids:
        offer = state.offers.get(offer_id.value)
        if offer is not None and offer.framework_id == framework.id:
            del state.offers[offer.id]
            framework.count("offers/declined")
            refuse(
                framework,
                offer,
                offer.resources,
                call.filters,
                now=now,
                allocation_interval=allocation_interval,
            )
    return []


def accept(
    state: MasterState,
    framework: FrameworkRecord,
    call: CallAccept,
    *,
    now: float,
    allocation_interval: float,
    approver: Approver = EVERYTHING,
) -> Effects:
    """ACCEPT: operations in order against the union of the offers; each as far as permitted."""
    offers = [
        state.offers[offer_id.value]
        for offer_id in dict.fromkeys(call.offer_ids)
        if offer_id.value in state.offers
        and state.offers[offer_id.value].framework_id == framework.id
    ]
    fault = _offers_fault(state, framework, call.offer_ids)
    for offer in offers:
        del state.offers[offer.id]
    if fault is not None:
        return _refuse_all(framework, call, fault, "REASON_INVALID_OFFERS", now)
    agent = state.agents.get(offers[0].agent_id)
    if agent is None or not agent.connected:
        reason = "REASON_AGENT_REMOVED" if agent is None else "REASON_AGENT_DISCONNECTED"
        words = "Agent removed" if agent is None else "Agent disconnected"
        return _refuse_all(framework, call, None, reason, now, message=words)
    framework.count("offers/accepted", len(offers))
    carrying = _Accepting(state, framework, agent, offers[0].role, _union(offers), now, approver)
    for operation in call.operations:
        carrying.apply(operation)
    unused = carrying.available + carrying.resized
    refuse(
        framework,
        offers[0],
        unused,
        call.filters,
        now=now,
        allocation_interval=allocation_interval,
    )
    return carrying.effects


def _union(offers: Sequence[OfferRecord]) -> Resources:
    total = Resources()
    for offer in offers:
        total += offer.resources
    return total


def _offers_fault(
    state: MasterState, framework: FrameworkRecord, offer_ids: Sequence[OfferID]
) -> str | None:
    if not offer_ids:
        return "No offers specified"
    ids = [offer_id.value for offer_id in offer_ids]
    twice = next((value for value in ids if ids.count(value) > 1), None)
    if twice is not None:
        return f"Duplicate offer {twice} in offer list"
    for value in ids:
        if value not in state.offers or state.offers[value].framework_id != framework.id:
            return f"Offer {value} is no longer valid"
    first, *others = (state.offers[value] for value in ids)
    for other in others:
        # The missing quotes are Mesos' own.
        if other.role != first.role:
            return (
                "Aggregated offers must be allocated to the same role. Offer "
                f"{other.id} uses role '{other.role} but another is using role '{first.role}"
            )
    for other in others:
        if other.agent_id != first.agent_id:
            return (
                f"Aggregated offers must belong to one single agent. Offer {other.id} uses agent "
                f"{other.agent_id} and agent {first.agent_id}"
            )
    return None


def _refuse_all(
    framework: FrameworkRecord,
    call: CallAccept,
    fault: str | None,
    reason: str,
    now: float,
    *,
    message: str = "",
) -> Effects:
    effects: Effects = []
    for operation in call.operations:
        for task in _tasks(operation):
            words = f"Task launched with invalid offers: {fault}" if fault else message
            status = refused_task(
                task, state_for(framework, "TASK_DROPPED"), reason, words, now=now
            )
            effects.append(update_event(framework.id, status))
        if operation.id is not None and not _tasks(operation):
            words = f"Operation attempted with invalid offers: {fault}" if fault else message
            effects.append(operation_feedback.refused(framework.id, operation, words))
    return effects


def _tasks(operation: Operation) -> tuple[TaskInfo, ...]:
    if operation.type == "LAUNCH" and operation.launch is not None:
        return operation.launch.task_infos
    if operation.type == "LAUNCH_GROUP" and operation.launch_group is not None:
        return operation.launch_group.task_group.tasks
    return ()


@dataclass(slots=True)
class _Accepting:
    """One ACCEPT on its way: `available` shrinks and changes with each operation.

    Attributes:
        resized: what volumes became that were grown or shrunk; not available before the end.
    """

    state: MasterState
    framework: FrameworkRecord
    agent: AgentRecord
    role: str
    available: Resources
    now: float
    approver: Approver
    resized: Resources = field(default_factory=Resources)
    effects: Effects = field(default_factory=list)

    def apply(self, operation: Operation) -> None:
        """Carry out one operation, or say why not; the next one goes on either way."""
        if operation.type in (None, "UNKNOWN"):
            return  # Mesos says nothing of these, not even to those who want to hear
        fault = body_fault(operation)
        if fault is not None:
            self._error(operation, f"Operation attempted with invalid resources: {fault}")
            return
        if operation.type not in _LAUNCHES:
            self._convert(operation)
        elif (fault := launch_fault(operation)) is not None:
            for task in _tasks(operation):
                self._refuse_task(task, _LAUNCHES[operation.type], fault)
        elif operation.type == "LAUNCH":
            self._launch(operation)
        else:
            self._launch_group(operation)

    def _convert(self, operation: Operation) -> None:
        if operation.id is not None and not self.agent.can("AGENT_OPERATION_FEEDBACK"):
            self._error(
                operation,
                f"Operation requested feedback, but agent {self.agent.id} does not have the "
                "required AGENT_OPERATION_FEEDBACK capability",
            )
            return
        try:
            upgraded = convert.with_resources(operation, checked)
        except InvalidResource as error:
            self._error(operation, f"Operation attempted with invalid resources: {error}")
            return
        wanted = convert.with_resources(upgraded, self._allocated)
        asking = Asking(
            self.framework.info.principal,
            self.framework,
            self.agent.total,
            self.state.used(agent_id=self.agent.id).unallocated(),
        )
        fault = operation_fault(wanted, asking)
        if fault is not None:
            self._error(operation, f"{fault}; on agent {self.agent.named()}")
            return
        subject = convert.subject(wanted)
        fault = operation_refusal(self.approver, operation.type or "", subject)
        if fault is not None:
            self._error(operation, fault)
            return
        steps = convert.conversions(wanted)
        try:
            available = convert.applied(self.available, steps)
            total = convert.applied(self.agent.total, [step.unallocated() for step in steps])
        except convert.NotApplicable as error:
            resize = operation.type in RESIZES
            self._error(operation, f"Invalid {operation.type} operation: " * resize + str(error))
            return
        if operation.type in RESIZES:
            # What becomes of the volume is only offered later.
            available = self.available
            for step in steps:
                available -= step.consumed
                self.resized += step.produced
        self.available, self.agent.total = available, total
        begun = None
        if operation.id is not None:
            begun = operation_feedback.begun(self.state, self.framework, self.agent, wanted)
        else:
            operation_feedback.count_end(self.state, operation, "OPERATION_FINISHED")
        count_operation(self.framework, operation)
        self.effects.append(checkpoint_call(self.agent, begun))

    def _error(self, operation: Operation, message: str) -> None:
        operation_feedback.count_end(self.state, operation, "OPERATION_ERROR")
        # Without an id the framework hears of it by the next offer only, as in Mesos.
        if operation.id is not None:
            refusal = operation_feedback.refused(self.framework.id, operation, message)
            self.effects.append(refusal)

    def _allocated(self, resource: Resource) -> Resource:
        if resource.allocation_info is not None and resource.allocation_info.role is not None:
            return resource
        return replace(resource, allocation_info=AllocationInfo(self.role))

    def _launch(self, operation: Operation) -> None:
        started: list[TaskInfo] = []
        for task in _tasks(operation):
            denied = task_refusal(self.approver, task, self.framework.info)
            if denied is not None:
                self._refuse_task(task, "REASON_TASK_UNAUTHORIZED", denied)
                continue
            info = self._with_allocation(task)
            fault = task_fault(
                info,
                agent_id=AgentID(self.agent.id),
                available=self.available,
                known=self._taken,
            )
            if fault is not None:
                self._refuse_task(task, "REASON_TASK_INVALID", fault)
                continue
            self.available -= info.resources
            self._enter(info)
            # One for each task, as Mesos sends each by itself.
            count_operation(self.framework, operation)
            started.append(info)
        if started:
            call = RunTasks(framework=self.framework.info, tasks=tuple(started))
            self.effects.append(
                ToAgent(self.agent.id, MasterCall(type="RUN_TASKS", run_tasks=call))
            )

    def _launch_group(self, operation: Operation) -> None:
        assert operation.launch_group is not None
        executor = self._with_allocation(operation.launch_group.executor)
        tasks = tuple(map(self._with_allocation, _tasks(operation)))
        # Mesos puts the executor into each task itself.
        members = tuple(
            replace(
                task,
                executor=executor
                if task.executor is None
                else self._with_allocation(task.executor),
            )
            for task in tasks
        )
        fault = group_fault(
            self.state,
            self.agent,
            self.framework,
            executor,
            members,
            available=self.available,
            known=self._taken,
        )
        denied = group_refusal(self.approver, tasks, self.framework.info)
        if fault is not None or denied is not None:
            reason = "REASON_TASK_GROUP_UNAUTHORIZED" if denied else "REASON_TASK_GROUP_INVALID"
            for task in tasks:
                self._refuse_task(task, reason, denied or fault or "")
            return
        taken, call = launch_group(self.state, self.agent, self.framework, executor, members)
        self.available -= taken
        for member in members:
            self._enter(member, executor.executor_id)
        count_operation(self.framework, operation)
        self.effects.append(call)

    def _with_allocation(self, holder: _Holder) -> _Holder:
        resources = tuple(self._allocated(checked(r)) for r in holder.resources)
        return replace(holder, resources=resources)

    def _taken(self, task_id: str) -> str | None:
        if (self.framework.id, task_id) in self.state.tasks:
            return f"Task has duplicate ID: {task_id}"
        if task_id in self.framework.unreachable_tasks:
            return f"Task reuses the ID of an unreachable task: {task_id}"
        return None

    def _enter(self, info: TaskInfo, executor_id: ExecutorID | None = None) -> None:
        user = info.command.user if info.command and info.command.user else None
        self.state.tasks[(self.framework.id, info.task_id.value)] = Task(
            name=info.name,
            task_id=info.task_id,
            framework_id=FrameworkID(self.framework.id),
            agent_id=info.agent_id,
            state="TASK_STAGING",
            executor_id=executor_id,
            resources=info.resources,
            labels=info.labels,
            discovery=info.discovery,
            container=info.container,
            health_check=info.health_check,
            kill_policy=info.kill_policy,
            user=user,
            limits=info.limits,
        )

    def _refuse_task(self, task: TaskInfo, reason: str, message: str) -> None:
        status = refused_task(task, "TASK_ERROR", reason, message, now=self.now)
        self.effects.append(update_event(self.framework.id, status))
