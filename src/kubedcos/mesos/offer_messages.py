"""Wire types of the parties and what they trade: frameworks, agents, offers, operations."""

from __future__ import annotations

from typing import Annotated, Final

from kubedcos.mesos.base_messages import (
    URL,
    Address,
    AgentID,
    AllocationInfo,
    Attribute,
    Capability,
    DomainInfo,
    Empty,
    ExecutorID,
    FrameworkID,
    Labels,
    Message,
    OfferID,
    OperationID,
    Resource,
    Scalar,
    Text,
    Unavailability,
    enum_of,
)
from kubedcos.mesos.task_messages import ExecutorInfo, TaskGroup, TaskInfo

FRAMEWORK_CAPABILITIES: Final = (
    "REVOCABLE_RESOURCES",
    "TASK_KILLING_STATE",
    "GPU_RESOURCES",
    "SHARED_RESOURCES",
    "PARTITION_AWARE",
    "MULTI_ROLE",
    "RESERVATION_REFINEMENT",
    "REGION_AWARE",
)

FrameworkCapabilityType = Annotated[str, enum_of(*FRAMEWORK_CAPABILITIES)]


class FrameworkCapability(Message, frozen=True):
    """Something that a framework can deal with."""

    type: FrameworkCapabilityType | None = None


class ResourceQuantities(Message, frozen=True):
    """Amounts by resource name."""

    quantities: dict[str, Scalar] | None = None


class MinAllocatableResources(Message, frozen=True):
    """Alternatives of amounts that an offer must reach at least."""

    quantities: tuple[ResourceQuantities, ...] = ()


class OfferFilters(Message, frozen=True):
    """What a framework wants of the offers of one role."""

    min_allocatable_resources: MinAllocatableResources | None = None


class AttributeSelector(Message, frozen=True):
    """Which property of an agent a constraint is about; one of the two is set."""

    attribute_name: str | None = None
    pseudoattribute_type: (
        Annotated[str, enum_of("UNKNOWN", "HOSTNAME", "REGION", "ZONE")] | None
    ) = None


class TextPattern(Message, frozen=True):
    """A regular expression of RE2 for a whole text."""

    regex: str


class AttributePredicate(Message, frozen=True):
    """What must hold for the property; one of these is set."""

    exists: Empty | None = None
    not_exists: Empty | None = None
    text_equals: Text | None = None
    text_not_equals: Text | None = None
    text_matches: TextPattern | None = None
    text_not_matches: TextPattern | None = None


class AttributeConstraint(Message, frozen=True):
    """A property of an agent and what must hold for it."""

    selector: AttributeSelector
    predicate: AttributePredicate


class ConstraintGroup(Message, frozen=True):
    """Constraints that must hold together."""

    attribute_constraints: tuple[AttributeConstraint, ...] = ()


class RoleConstraints(Message, frozen=True):
    """Groups of which one must hold for an agent to be offered to a role."""

    groups: tuple[ConstraintGroup, ...] = ()


class OfferConstraints(Message, frozen=True):
    """Which agents a framework wants offers of, by role; a role without them wants all."""

    role_constraints: dict[str, RoleConstraints] | None = None


class FrameworkInfo(Message, frozen=True):
    """Who a framework is. `failover_timeout` in seconds."""

    user: str
    name: str
    id: FrameworkID | None = None
    failover_timeout: float = 0.0
    checkpoint: bool = False
    role: str | None = None
    roles: tuple[str, ...] = ()
    hostname: str | None = None
    principal: str | None = None
    webui_url: str | None = None
    capabilities: tuple[FrameworkCapability, ...] = ()
    labels: Labels | None = None
    offer_filters: dict[str, OfferFilters] | None = None


class MasterInfo(Message, frozen=True):
    """Who a master is; `ip` is the IPv4 address in network order as a number."""

    id: str
    ip: int
    port: int = 5050
    pid: str | None = None
    hostname: str | None = None
    version: str | None = None
    address: Address | None = None
    domain: DomainInfo | None = None
    capabilities: tuple[Capability, ...] = ()


class AgentInfo(Message, frozen=True):
    """Who an agent is."""

    hostname: str
    port: int = 5051
    resources: tuple[Resource, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    id: AgentID | None = None
    domain: DomainInfo | None = None
    checkpoint: bool = False


class Offer(Message, frozen=True):
    """Resources of one agent for one role of a framework."""

    id: OfferID
    framework_id: FrameworkID
    agent_id: AgentID
    hostname: str
    url: URL | None = None
    domain: DomainInfo | None = None
    resources: tuple[Resource, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    executor_ids: tuple[ExecutorID, ...] = ()
    unavailability: Unavailability | None = None
    allocation_info: AllocationInfo | None = None


class Filters(Message, frozen=True):
    """For how many seconds resources refused are not to be offered again."""

    refuse_seconds: float = 5.0


class OperationLaunch(Message, frozen=True):
    """Tasks to launch, each on its own."""

    task_infos: tuple[TaskInfo, ...] = ()


class OperationLaunchGroup(Message, frozen=True):
    """A group of tasks to launch under one executor."""

    executor: ExecutorInfo
    task_group: TaskGroup


class OperationReserve(Message, frozen=True):
    """Resources in the form that they shall have once reserved."""

    source: tuple[Resource, ...] = ()
    resources: tuple[Resource, ...] = ()


class OperationResources(Message, frozen=True):
    """Resources to unreserve, in their reserved form."""

    resources: tuple[Resource, ...] = ()


class OperationVolumes(Message, frozen=True):
    """Persistent volumes to create or to destroy."""

    volumes: tuple[Resource, ...] = ()


class OperationGrowVolume(Message, frozen=True):
    """A volume and what is added to it."""

    volume: Resource
    addition: Resource


class OperationShrinkVolume(Message, frozen=True):
    """A volume and the amount taken from it."""

    volume: Resource
    subtract: Scalar


OperationType = Annotated[
    str,
    enum_of(
        *("UNKNOWN", "LAUNCH", "LAUNCH_GROUP", "RESERVE", "UNRESERVE", "CREATE", "DESTROY"),
        *("GROW_VOLUME", "SHRINK_VOLUME", "CREATE_DISK", "DESTROY_DISK"),
    ),
]


class Operation(Message, frozen=True):
    """One operation of an ACCEPT; exactly the part that belongs to `type` is set."""

    type: OperationType | None = None
    id: OperationID | None = None
    launch: OperationLaunch | None = None
    launch_group: OperationLaunchGroup | None = None
    reserve: OperationReserve | None = None
    unreserve: OperationResources | None = None
    create: OperationVolumes | None = None
    destroy: OperationVolumes | None = None
    grow_volume: OperationGrowVolume | None = None
    shrink_volume: OperationShrinkVolume | None = None
    create_disk: Empty | None = None
    destroy_disk: Empty | None = None
