"""Operations whose framework wants to hear of their end: told, told again, acknowledged, forgotten.

As in Mesos an operation with an id stays known until its framework acknowledges its end. Unlike
Mesos this master keeps them itself: one that is elected later knows none, and says so.
"""

from __future__ import annotations

import base64
import uuid
from typing import Final

from msgspec.structs import replace

from kubedcos.embedded.master.effects import Effects, ToFramework
from kubedcos.embedded.master.state import (
    AgentRecord,
    FrameworkRecord,
    MasterState,
    OperationRecord,
)
from kubedcos.mesos.messages import (
    UUID,
    AgentID,
    CallAcknowledgeOperation,
    CallReconcileOperations,
    Event,
    Operation,
    OperationStatus,
    ReconcileOperation,
    UpdateOperationStatus,
)

FIRST_PAUSE: Final = 10.0
LONGEST_PAUSE: Final = 600.0


def _new_uuid(state: MasterState) -> str:
    """A number that nothing else has, and that a repeated run gives again."""
    number, state.next_uuid = state.next_uuid, state.next_uuid + 1
    made = uuid.uuid5(uuid.NAMESPACE_OID, f"{state.info.id}-{number}")
    return base64.b64encode(made.bytes).decode()


def _event(framework_id: str, status: OperationStatus) -> ToFramework:
    event = Event(
        type="UPDATE_OPERATION_STATUS", update_operation_status=UpdateOperationStatus(status)
    )
    return ToFramework(framework_id, event)


def refused(framework_id: str, operation: Operation, message: str) -> ToFramework:
    """What a framework hears of an operation that broke a rule or did not fit."""
    status = OperationStatus(state="OPERATION_ERROR", operation_id=operation.id, message=message)
    return _event(framework_id, status)


def begun(
    state: MasterState, framework: FrameworkRecord, agent: AgentRecord, operation: Operation
) -> str:
    """Remember an operation that is on its way to its agent; its uuid."""
    status = OperationStatus(state="OPERATION_PENDING", operation_id=operation.id)
    record = OperationRecord(_new_uuid(state), framework.id, agent.id, operation, status)
    state.operations[record.uuid] = record
    return record.uuid


def carried_out(state: MasterState, operation_uuid: str, *, now: float) -> Effects:
    """The agent has it: the framework is told."""
    record = state.operations.get(operation_uuid)
    if record is None:
        return []
    return _told(state, record, "OPERATION_FINISHED", None, now=now)


def settled(state: MasterState, agent_id: str, *, kept: bool, now: float) -> Effects:
    """An agent came back: what was on its way to it arrived, or did not."""
    effects: Effects = []
    ended = "OPERATION_FINISHED" if kept else "OPERATION_DROPPED"
    message = None if kept else "Agent is not aware of this operation"
    for record in list(state.operations.values()):
        if record.agent_id == agent_id and record.status.state == "OPERATION_PENDING":
            effects += _told(state, record, ended, message, now=now)
    return effects


def _told(
    state: MasterState, record: OperationRecord, ended: str, message: str | None, *, now: float
) -> Effects:
    record.status = OperationStatus(
        state=ended,
        operation_id=record.info.id,
        message=message,
        uuid=UUID(_new_uuid(state)),
        agent_id=AgentID(record.agent_id),
    )
    record.pause, record.next_time = FIRST_PAUSE, now + FIRST_PAUSE
    count_end(state, record.info, ended)
    return [_event(record.framework_id, record.status)]


def count_end(state: MasterState, operation: Operation, ended: str) -> None:
    """Count the end of an operation, with an id or without, for the metrics."""
    name = ended.removeprefix("OPERATION_").lower()
    for kind in ("", f"{(operation.type or 'unknown').lower()}/"):
        state.count(f"operations/{kind}{name}")


def repeated(state: MasterState, *, now: float) -> Effects:
    """Tell again what nobody acknowledged: after 10 s, 20 s, 40 s and so on."""
    effects: Effects = []
    for record in state.operations.values():
        if record.next_time is None or now < record.next_time:
            continue
        record.pause = min(record.pause * 2, LONGEST_PAUSE)
        record.next_time = now + record.pause
        effects.append(_event(record.framework_id, record.status))
    return effects


def acknowledged(
    state: MasterState, framework: FrameworkRecord, call: CallAcknowledgeOperation
) -> Effects:
    """ACKNOWLEDGE_OPERATION_STATUS: the operation is forgotten; one that fits none is ignored."""
    for record in list(state.operations.values()):
        status = record.status
        if (
            record.framework_id == framework.id
            and status.operation_id == call.operation_id
            and status.uuid is not None
            and status.uuid.value == call.uuid
        ):
            del state.operations[record.uuid]
    return []


def reconciled(
    state: MasterState, framework: FrameworkRecord, call: CallReconcileOperations
) -> Effects:
    """RECONCILE_OPERATIONS: the state of those asked for, of all known ones when none is named."""
    mine = [each for each in state.operations.values() if each.framework_id == framework.id]
    if not call.operations:
        return [_event(framework.id, replace(each.status, uuid=None)) for each in mine]
    effects: Effects = []
    for asked in call.operations:
        known = [each.status for each in mine if each.info.id == asked.operation_id]
        status = replace(known[-1], uuid=None) if known else _unknown(state, asked)
        effects.append(_event(framework.id, status))
    return effects


def _unknown(state: MasterState, asked: ReconcileOperation) -> OperationStatus:
    agent_id = asked.agent_id.value if asked.agent_id is not None else None
    found, words = "OPERATION_UNKNOWN", "Both operation and agent are unknown"
    if agent_id is None:
        words = "Operation is unknown and no 'agent_id' was provided"
    elif agent_id in state.recovered:
        found, words = "OPERATION_RECOVERING", "Agent is recovered but has not re-registered"
    elif agent_id in state.agents:
        words = "Operation is unknown"
    elif agent_id in state.unreachable:
        found, words = "OPERATION_UNREACHABLE", "Agent is unreachable"
    elif agent_id in state.gone:
        found, words = "OPERATION_GONE_BY_OPERATOR", "Agent marked gone by operator"
    return OperationStatus(
        state=found,
        operation_id=asked.operation_id,
        message=f"Reconciliation: {words}",
        agent_id=asked.agent_id,
    )


def lost(state: MasterState, agent_id: str, became: str, message: str) -> Effects:
    """An agent is out of reach or gone: frameworks hear of their operations there, once."""
    effects: Effects = []
    for record in state.operations.values():
        if record.agent_id == agent_id:
            status = OperationStatus(
                state=became,
                operation_id=record.info.id,
                message=message,
                agent_id=AgentID(agent_id),
            )
            count_end(state, record.info, became)
            effects.append(_event(record.framework_id, status))
    return effects


def forgotten(
    state: MasterState, *, framework_id: str | None = None, agent_id: str | None = None
) -> None:
    """A framework or an agent is no more, and its operations with it."""
    for record in list(state.operations.values()):
        if framework_id == record.framework_id or agent_id == record.agent_id:
            del state.operations[record.uuid]
