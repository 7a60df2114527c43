"""Everything of the wire under one name, and its way to JSON and back.

Import wire types from here; where each stands follows Mesos' own files: the scheduler's calls and
events in `scheduler_messages`, the rest of `mesos.proto` by subject. `base_messages` says which
conventions hold.
"""

from __future__ import annotations

import math
from typing import Any, TypeVar

import msgspec

from kubedcos.mesos.base_messages import (
    ID,
    URL,
    UUID,
    Address,
    AgentID,
    AllocationInfo,
    Attribute,
    Bytes,
    Capability,
    ContainerID,
    DiskInfo,
    DiskRoot,
    DiskSource,
    DiskVolume,
    DomainInfo,
    DurationInfo,
    Empty,
    ExecutorID,
    FaultDomain,
    FrameworkID,
    Label,
    Labels,
    Message,
    OfferID,
    OperationID,
    Parameter,
    Persistence,
    Range,
    Ranges,
    RegionInfo,
    ReservationInfo,
    Resource,
    ResourceProviderID,
    Scalar,
    Set,
    TaskID,
    Text,
    TimeInfo,
    Unavailability,
    ZoneInfo,
)
from kubedcos.mesos.container_messages import (
    CAPABILITIES,
    CapabilityInfo,
    ContainerInfo,
    IPAddress,
    LinuxInfo,
    NetworkInfo,
    RLimit,
    RLimitInfo,
    Volume,
)
from kubedcos.mesos.offer_messages import (
    FRAMEWORK_CAPABILITIES,
    AgentInfo,
    AttributeConstraint,
    AttributePredicate,
    AttributeSelector,
    ConstraintGroup,
    Filters,
    FrameworkCapability,
    FrameworkInfo,
    MasterInfo,
    MinAllocatableResources,
    Offer,
    OfferConstraints,
    OfferFilters,
    Operation,
    OperationGrowVolume,
    OperationLaunch,
    OperationLaunchGroup,
    OperationReserve,
    OperationResources,
    OperationShrinkVolume,
    OperationVolumes,
    ResourceQuantities,
    RoleConstraints,
    TextPattern,
)
from kubedcos.mesos.scheduler_messages import (
    Call,
    CallAccept,
    CallAcknowledge,
    CallAcknowledgeOperation,
    CallDecline,
    CallInverseOffers,
    CallKill,
    CallReconcile,
    CallReconcileOperations,
    CallRequest,
    CallRoles,
    CallShutdown,
    CallSubscribe,
    CallType,
    Error,
    Event,
    Failure,
    FrameworkMessage,
    InverseOffer,
    InverseOffers,
    Offers,
    OperationStatus,
    ReconcileOperation,
    ReconcileTask,
    Rescind,
    RescindInverseOffer,
    Subscribed,
    Update,
    UpdateOperationStatus,
)
from kubedcos.mesos.task_messages import (
    LIVE_STATES,
    TERMINAL_STATES,
    CheckCommand,
    CheckInfo,
    CheckStatus,
    CommandInfo,
    ContainerStatus,
    DiscoveryInfo,
    Environment,
    ExecutorInfo,
    HealthCheck,
    HTTPCheck,
    KillPolicy,
    Limitation,
    Port,
    Ports,
    Task,
    TaskGroup,
    TaskInfo,
    TaskStatus,
    TCPCheck,
    Uri,
    Variable,
)

_M = TypeVar("_M")


def encode(message: Any) -> bytes:
    """JSON of a message, or of what holds messages; an infinite number is the text Mesos reads."""
    data = msgspec.json.encode(message)
    # JSON has no infinity; the encoder writes `null`, which nothing else in a message becomes.
    if b"null" not in data:
        return data
    return msgspec.json.encode(_finite(msgspec.to_builtins(message)))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    if isinstance(value, float) and math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def decode(data: bytes | str, kind: type[_M]) -> _M:
    """A message from JSON; numbers may be given as text, unknown fields are ignored.

    Raises:
        msgspec.DecodeError: not JSON, or (as `msgspec.ValidationError`) not of that kind.
    """
    return msgspec.json.decode(data, type=kind, strict=False)


def decode_event(data: bytes | str) -> Event:
    """An event from one record of the stream; raises as `decode`."""
    return decode(data, Event)


__all__ = [
    "CAPABILITIES",
    "FRAMEWORK_CAPABILITIES",
    "ID",
    "LIVE_STATES",
    "TERMINAL_STATES",
    "URL",
    "UUID",
    "Address",
    "AgentID",
    "AgentInfo",
    "AllocationInfo",
    "Attribute",
    "AttributeConstraint",
    "AttributePredicate",
    "AttributeSelector",
    "Bytes",
    "Call",
    "CallAccept",
    "CallAcknowledge",
    "CallAcknowledgeOperation",
    "CallDecline",
    "CallInverseOffers",
    "CallKill",
    "CallReconcile",
    "CallReconcileOperations",
    "CallRequest",
    "CallRoles",
    "CallShutdown",
    "CallSubscribe",
    "CallType",
    "Capability",
    "CapabilityInfo",
    "CheckCommand",
    "CheckInfo",
    "CheckStatus",
    "CommandInfo",
    "ConstraintGroup",
    "ContainerID",
    "ContainerInfo",
    "ContainerStatus",
    "DiscoveryInfo",
    "DiskInfo",
    "DiskRoot",
    "DiskSource",
    "DiskVolume",
    "DomainInfo",
    "DurationInfo",
    "Empty",
    "Environment",
    "Error",
    "Event",
    "ExecutorID",
    "ExecutorInfo",
    "Failure",
    "FaultDomain",
    "Filters",
    "FrameworkCapability",
    "FrameworkID",
    "FrameworkInfo",
    "FrameworkMessage",
    "HTTPCheck",
    "HealthCheck",
    "IPAddress",
    "InverseOffer",
    "InverseOffers",
    "KillPolicy",
    "Label",
    "Labels",
    "Limitation",
    "LinuxInfo",
    "MasterInfo",
    "Message",
    "MinAllocatableResources",
    "NetworkInfo",
    "Offer",
    "OfferConstraints",
    "OfferFilters",
    "OfferID",
    "Offers",
    "Operation",
    "OperationGrowVolume",
    "OperationID",
    "OperationLaunch",
    "OperationLaunchGroup",
    "OperationReserve",
    "OperationResources",
    "OperationShrinkVolume",
    "OperationStatus",
    "OperationVolumes",
    "Parameter",
    "Persistence",
    "Port",
    "Ports",
    "RLimit",
    "RLimitInfo",
    "Range",
    "Ranges",
    "ReconcileOperation",
    "ReconcileTask",
    "RegionInfo",
    "Rescind",
    "RescindInverseOffer",
    "ReservationInfo",
    "Resource",
    "ResourceProviderID",
    "ResourceQuantities",
    "RoleConstraints",
    "Scalar",
    "Set",
    "Subscribed",
    "TCPCheck",
    "Task",
    "TaskGroup",
    "TaskID",
    "TaskInfo",
    "TaskStatus",
    "Text",
    "TextPattern",
    "TimeInfo",
    "Unavailability",
    "Update",
    "UpdateOperationStatus",
    "Uri",
    "Variable",
    "Volume",
    "ZoneInfo",
    "decode",
    "decode_event",
    "encode",
]
