"""Wire types that everything else is made of: identifiers, values, resources, domains.

Names and nesting are those of Mesos' v1 API in JSON (`mesos.proto`): snake_case, bytes as base64
text, 64-bit numbers as JSON numbers. Conventions of all structs here:

* `None` or `()` is an unset field and is never sent;
* a default that is neither is the default of the proto definition: clients may leave it out, the
  master writes it even when nobody set it, as Mesos does;
* enumerations are text, because a newer Mesos may send values that this code does not know;
  `Annotated` carries the known values for readers and for the embedded master's parser.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct


class Message(Struct, frozen=True, omit_defaults=True):
    """Base of all wire types: immutable; unknown fields are ignored when decoding."""


def enum_of(*names: str) -> Meta:
    """Metadata of an enumeration field: the values that Mesos 1.11 knows."""
    return Meta(extra={"enum": frozenset(names)})


Bytes = Annotated[str, Meta(extra={"bytes": True})]
"""Bytes as base64 text, passed on exactly as received."""


class ID(Message, frozen=True):
    """An identifier; compare the `value`s, or two of the same kind."""

    value: str

    def __str__(self) -> str:
        return self.value


class FrameworkID(ID, frozen=True):
    """Identifier of a framework, ``<master uuid>-NNNN`` when the master chose it."""


class AgentID(ID, frozen=True):
    """Identifier of an agent, ``<master uuid>-S<n>``."""


class OfferID(ID, frozen=True):
    """Identifier of an offer, ``<master uuid>-O<n>``."""


class TaskID(ID, frozen=True):
    """Identifier of a task, chosen by the framework; never to be used twice."""


class ExecutorID(ID, frozen=True):
    """Identifier of an executor; equals the task's for command tasks."""


class OperationID(ID, frozen=True):
    """Identifier of an offer operation, when its framework wants to hear of its end."""


class UUID(Message, frozen=True):
    """A universally unique identifier, in base64."""

    value: Bytes


class ResourceProviderID(ID, frozen=True):
    """Identifier of a resource provider (storage)."""


class ContainerID(Message, frozen=True):
    """Identifier of a container, nested in a `parent` perhaps."""

    value: str
    parent: ContainerID | None = None


class Empty(Message, frozen=True):
    """A message without fields that we know, such as ``revocable {}``."""


class DurationInfo(Message, frozen=True):
    """A duration in nanoseconds."""

    nanoseconds: int


class TimeInfo(Message, frozen=True):
    """A point in time, nanoseconds since 1970-01-01 UTC."""

    nanoseconds: int


class Label(Message, frozen=True):
    """A key with an optional value."""

    key: str
    value: str | None = None


class Labels(Message, frozen=True):
    """Labels, in order; keys may repeat."""

    labels: tuple[Label, ...] = ()


class RegionInfo(Message, frozen=True):
    """Name of a region."""

    name: str


class ZoneInfo(Message, frozen=True):
    """Name of a zone; only unique within its region."""

    name: str


class FaultDomain(Message, frozen=True):
    """Region and zone."""

    region: RegionInfo
    zone: ZoneInfo


class DomainInfo(Message, frozen=True):
    """Where a machine stands; `fault_domain` is the only kind there is."""

    fault_domain: FaultDomain | None = None


class Scalar(Message, frozen=True):
    """A number; Mesos keeps three decimals."""

    value: float


class Range(Message, frozen=True):
    """Whole numbers from `begin` to `end`, both included."""

    begin: int
    end: int


class Ranges(Message, frozen=True):
    """Several ranges."""

    range: tuple[Range, ...] = ()


class Set(Message, frozen=True):
    """A set of texts."""

    item: tuple[str, ...] = ()


class Text(Message, frozen=True):
    """A text value."""

    value: str


ValueType = Annotated[str, enum_of("SCALAR", "RANGES", "SET", "TEXT")]


class Attribute(Message, frozen=True):
    """An attribute of an agent; the same name may occur several times."""

    name: str
    type: ValueType
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    set: Set | None = None
    text: Text | None = None


class ReservationInfo(Message, frozen=True):
    """One level of a reservation; without `type` and `role` in the pre-refinement form."""

    type: Annotated[str, enum_of("UNKNOWN", "STATIC", "DYNAMIC")] | None = None
    role: str | None = None
    principal: str | None = None
    labels: Labels | None = None


class AllocationInfo(Message, frozen=True):
    """The role that a resource is allocated to."""

    role: str | None = None


class Persistence(Message, frozen=True):
    """Identity of a persistent volume, unique per agent and role."""

    id: str
    principal: str | None = None


class DiskRoot(Message, frozen=True):
    """Directory of a PATH or MOUNT disk."""

    root: str | None = None


DiskSourceType = Annotated[str, enum_of("UNKNOWN", "PATH", "MOUNT", "BLOCK", "RAW")]


class DiskSource(Message, frozen=True):
    """Which disk of the agent; absent for the root disk."""

    type: DiskSourceType
    path: DiskRoot | None = None
    mount: DiskRoot | None = None
    vendor: str | None = None
    id: str | None = None
    metadata: Labels | None = None
    profile: str | None = None


VolumeMode = Annotated[str, enum_of("RW", "RO")]


class DiskVolume(Message, frozen=True):
    """Where a persistent volume appears in the sandbox of the task that uses it."""

    mode: VolumeMode
    container_path: str
    host_path: str | None = None


class DiskInfo(Message, frozen=True):
    """What makes a disk resource more than an amount."""

    persistence: Persistence | None = None
    volume: DiskVolume | None = None
    source: DiskSource | None = None


class Resource(Message, frozen=True):
    """An amount of something; see `kubedcos.mesos.resources` for arithmetic.

    `role` and `reservation` are the form from before reservation refinement; `reservations` is
    the stack that replaced it, the last entry being the most refined. Never both.
    """

    name: str
    type: ValueType
    scalar: Scalar | None = None
    ranges: Ranges | None = None
    set: Set | None = None
    role: str | None = None
    allocation_info: AllocationInfo | None = None
    reservation: ReservationInfo | None = None
    reservations: tuple[ReservationInfo, ...] = ()
    disk: DiskInfo | None = None
    revocable: Empty | None = None
    shared: Empty | None = None
    provider_id: ResourceProviderID | None = None


class Address(Message, frozen=True):
    """A network address."""

    port: int
    hostname: str | None = None
    ip: str | None = None


class Parameter(Message, frozen=True):
    """A key and a value."""

    key: str
    value: str


class URL(Message, frozen=True):
    """A URL in parts, as offers carry that of the agent."""

    scheme: str
    address: Address
    path: str | None = None
    query: tuple[Parameter, ...] = ()
    fragment: str | None = None


class Unavailability(Message, frozen=True):
    """Planned maintenance of a machine."""

    start: TimeInfo
    duration: DurationInfo | None = None


class Capability(Message, frozen=True):
    """Something that a framework, an agent or a master can do."""

    type: str | None = None
