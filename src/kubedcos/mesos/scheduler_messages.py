"""Calls and events of the scheduler API, v1 (`scheduler.proto`)."""

from __future__ import annotations

from typing import Annotated

from kubedcos.mesos.base_messages import (
    URL,
    UUID,
    AgentID,
    Bytes,
    Empty,
    ExecutorID,
    FrameworkID,
    Message,
    OfferID,
    OperationID,
    Resource,
    ResourceProviderID,
    TaskID,
    Unavailability,
    enum_of,
)
from kubedcos.mesos.offer_messages import (
    Filters,
    FrameworkInfo,
    MasterInfo,
    Offer,
    OfferConstraints,
    Operation,
)
from kubedcos.mesos.task_messages import KillPolicy, TaskStatus


class CallSubscribe(Message, frozen=True):
    """Body of SUBSCRIBE; a set `framework_info.id` must equal the call's `framework_id`."""

    framework_info: FrameworkInfo
    suppressed_roles: tuple[str, ...] = ()
    offer_constraints: OfferConstraints | None = None


class CallAccept(Message, frozen=True):
    """Body of ACCEPT."""

    offer_ids: tuple[OfferID, ...] = ()
    operations: tuple[Operation, ...] = ()
    filters: Filters | None = None


class CallDecline(Message, frozen=True):
    """Body of DECLINE."""

    offer_ids: tuple[OfferID, ...] = ()
    filters: Filters | None = None


class CallInverseOffers(Message, frozen=True):
    """Body of ACCEPT_INVERSE_OFFERS and DECLINE_INVERSE_OFFERS."""

    inverse_offer_ids: tuple[OfferID, ...] = ()
    filters: Filters | None = None


class CallRoles(Message, frozen=True):
    """Body of REVIVE and SUPPRESS; no roles means all."""

    roles: tuple[str, ...] = ()


class CallKill(Message, frozen=True):
    """Body of KILL."""

    task_id: TaskID
    agent_id: AgentID | None = None
    kill_policy: KillPolicy | None = None


class CallShutdown(Message, frozen=True):
    """Body of SHUTDOWN."""

    executor_id: ExecutorID
    agent_id: AgentID


class CallAcknowledge(Message, frozen=True):
    """Body of ACKNOWLEDGE; `uuid` exactly as the status carried it."""

    agent_id: AgentID
    task_id: TaskID
    uuid: Bytes


class CallAcknowledgeOperation(Message, frozen=True):
    """Body of ACKNOWLEDGE_OPERATION_STATUS."""

    uuid: Bytes
    operation_id: OperationID
    agent_id: AgentID | None = None
    resource_provider_id: ResourceProviderID | None = None


class ReconcileTask(Message, frozen=True):
    """A task to reconcile."""

    task_id: TaskID
    agent_id: AgentID | None = None


class CallReconcile(Message, frozen=True):
    """Body of RECONCILE; no tasks means all that the master knows."""

    tasks: tuple[ReconcileTask, ...] = ()


class ReconcileOperation(Message, frozen=True):
    """An operation to reconcile."""

    operation_id: OperationID
    agent_id: AgentID | None = None
    resource_provider_id: ResourceProviderID | None = None


class CallReconcileOperations(Message, frozen=True):
    """Body of RECONCILE_OPERATIONS."""

    operations: tuple[ReconcileOperation, ...] = ()


class FrameworkMessage(Message, frozen=True):
    """Body of the call and of the event MESSAGE."""

    agent_id: AgentID
    executor_id: ExecutorID
    data: Bytes


class CallRequest(Message, frozen=True):
    """Body of REQUEST, which the default allocator ignores."""

    requests: tuple[Empty, ...] = ()


CallType = Annotated[
    str,
    enum_of(
        *("UNKNOWN", "SUBSCRIBE", "TEARDOWN", "ACCEPT", "DECLINE", "ACCEPT_INVERSE_OFFERS"),
        *("DECLINE_INVERSE_OFFERS", "REVIVE", "KILL", "SHUTDOWN", "ACKNOWLEDGE", "RECONCILE"),
        *("ACKNOWLEDGE_OPERATION_STATUS", "RECONCILE_OPERATIONS", "MESSAGE", "REQUEST"),
        *("SUPPRESS", "UPDATE_FRAMEWORK"),
    ),
]


class Call(Message, frozen=True):
    """A call to the scheduler API; `framework_id` on all but the first SUBSCRIBE."""

    type: CallType | None = None
    framework_id: FrameworkID | None = None
    subscribe: CallSubscribe | None = None
    accept: CallAccept | None = None
    decline: CallDecline | None = None
    accept_inverse_offers: CallInverseOffers | None = None
    decline_inverse_offers: CallInverseOffers | None = None
    revive: CallRoles | None = None
    suppress: CallRoles | None = None
    kill: CallKill | None = None
    shutdown: CallShutdown | None = None
    acknowledge: CallAcknowledge | None = None
    acknowledge_operation_status: CallAcknowledgeOperation | None = None
    reconcile: CallReconcile | None = None
    reconcile_operations: CallReconcileOperations | None = None
    message: FrameworkMessage | None = None
    request: CallRequest | None = None
    update_framework: CallSubscribe | None = None


class Subscribed(Message, frozen=True):
    """First event of a stream."""

    framework_id: FrameworkID
    heartbeat_interval_seconds: float | None = None
    master_info: MasterInfo | None = None


class Offers(Message, frozen=True):
    """New offers."""

    offers: tuple[Offer, ...] = ()


class Rescind(Message, frozen=True):
    """An offer that is no more."""

    offer_id: OfferID


class InverseOffer(Message, frozen=True):
    """Resources that an agent wants back: its machine is to be maintained."""

    id: OfferID
    framework_id: FrameworkID
    unavailability: Unavailability
    url: URL | None = None
    agent_id: AgentID | None = None
    resources: tuple[Resource, ...] = ()


class InverseOffers(Message, frozen=True):
    """New inverse offers."""

    inverse_offers: tuple[InverseOffer, ...] = ()


class RescindInverseOffer(Message, frozen=True):
    """An inverse offer that is no more."""

    inverse_offer_id: OfferID


class Update(Message, frozen=True):
    """News of a task."""

    status: TaskStatus


class OperationStatus(Message, frozen=True):
    """What became of an operation."""

    state: str
    operation_id: OperationID | None = None
    message: str | None = None
    converted_resources: tuple[Resource, ...] = ()
    uuid: UUID | None = None
    agent_id: AgentID | None = None


class UpdateOperationStatus(Message, frozen=True):
    """News of an operation."""

    status: OperationStatus


class Failure(Message, frozen=True):
    """An agent was removed or, with `executor_id`, an executor ended; `status` as from wait(2)."""

    agent_id: AgentID | None = None
    executor_id: ExecutorID | None = None
    status: int | None = None


class Error(Message, frozen=True):
    """Always the end of the subscription."""

    message: str


class Event(Message, frozen=True):
    """An event of the subscription; unknown types are to be ignored."""

    type: str | None = None
    subscribed: Subscribed | None = None
    offers: Offers | None = None
    rescind: Rescind | None = None
    inverse_offers: InverseOffers | None = None
    rescind_inverse_offer: RescindInverseOffer | None = None
    update: Update | None = None
    update_operation_status: UpdateOperationStatus | None = None
    message: FrameworkMessage | None = None
    failure: Failure | None = None
    error: Error | None = None
