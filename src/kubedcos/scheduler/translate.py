"""Between Mesos' messages and the model: the only place where both are known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kubedcos.mesos import messages as wire
from kubedcos.model.offer import (
    ROOT_DISK,
    Agent,
    Disk,
    Offer,
    Reservation,
    Resource,
    amount_text,
    millis_of,
)
from kubedcos.model.service import DiskKind, TaskSpec
from kubedcos.offers.requirement import CLUSTER_LABEL, POD_LABEL, TASK_LABEL
from kubedcos.scheduler.settings import CAPABILITIES, UNOWNED_SECONDS, FrameworkSettings
from kubedcos.scheduler.task_updates import TaskUpdate
from kubedcos.scheduler.workload import Command, Launch

_NANOSECONDS = 1_000_000_000
_MORE_CPUS_THAN_A_HOST_HAS = 10_000.0
"""Not infinity: Mesos writes that into `/state` as it is, where JSON has no such number, and
Mesos-DNS, browsers and others then read nothing of it."""


def framework_info(settings: FrameworkSettings, framework_id: str) -> wire.FrameworkInfo:
    """How the framework introduces itself; `framework_id` empty for the first time.

    Until its id is stored nobody could ask for it again, and Mesos is to forget it soon.
    """
    timeout = settings.failover_timeout
    return wire.FrameworkInfo(
        user=settings.user,
        name=settings.name,
        id=wire.FrameworkID(framework_id) if framework_id else None,
        failover_timeout=timeout if framework_id else min(timeout, UNOWNED_SECONDS),
        checkpoint=True,
        roles=settings.roles,
        hostname=settings.hostname or None,
        principal=settings.principal or None,
        webui_url=settings.webui_url or None,
        capabilities=tuple(wire.FrameworkCapability(type=name) for name in CAPABILITIES),
    )


def region_and_zone(domain: wire.DomainInfo | None) -> tuple[str, str]:
    """Names in a domain; empty ones without."""
    if domain is None or domain.fault_domain is None:
        return "", ""
    return domain.fault_domain.region.name, domain.fault_domain.zone.name


def offer(message: wire.Offer) -> Offer:
    """An offer; resources that this framework never uses are left out."""
    region, zone = region_and_zone(message.domain)
    address = (message.url.address.ip or "") if message.url else ""
    start = message.unavailability.start.nanoseconds if message.unavailability else None
    return Offer(
        id=message.id.value,
        agent=Agent(
            message.agent_id.value,
            message.hostname,
            address,
            region,
            zone,
            attributes(message.attributes),
        ),
        role=(message.allocation_info.role or "") if message.allocation_info else "",
        resources=tuple(part for found in message.resources if (part := resource(found))),
        unavailable_from=None if start is None else start / _NANOSECONDS,
        port=message.url.address.port if message.url else 0,
    )


def attributes(found: Iterable[wire.Attribute]) -> tuple[tuple[str, str], ...]:
    """Attributes as text: numbers in their shortest form, ranges as ``[1-3,5-5]``."""
    texts = []
    for attribute in found:
        if attribute.text is not None:
            texts.append((attribute.name, attribute.text.value))
        elif attribute.scalar is not None:
            texts.append((attribute.name, amount_text(millis_of(attribute.scalar.value))))
        elif attribute.ranges is not None:
            parts = ",".join(f"{part.begin}-{part.end}" for part in attribute.ranges.range)
            texts.append((attribute.name, f"[{parts}]"))
    return tuple(texts)


def resource(message: wire.Resource) -> Resource | None:
    """A resource, or None for kinds that the scheduler has no use for.

    Those are sets, revocable and shared resources, and disks of storage providers.
    """
    if message.revocable or message.shared or message.provider_id or message.set:
        return None
    disk = _disk(message.disk)
    if disk is None:
        return None
    ranges = message.ranges.range if message.ranges else ()
    return Resource(
        name=message.name,
        millis=millis_of(message.scalar.value) if message.scalar else 0,
        ranges=tuple((part.begin, part.end) for part in ranges),
        reservations=tuple(_reservation(level) for level in message.reservations),
        disk=disk,
    )


def _reservation(message: wire.ReservationInfo) -> Reservation:
    labels = message.labels.labels if message.labels else ()
    return Reservation(
        role=message.role or "",
        dynamic=message.type == "DYNAMIC",
        principal=message.principal or "",
        labels=tuple((label.key, label.value or "") for label in labels),
    )


def _disk(message: wire.DiskInfo | None) -> Disk | None:
    if message is None:
        return ROOT_DISK
    kind, root = DiskKind.ROOT, ""
    if message.source is not None:
        source = message.source
        if source.type not in ("PATH", "MOUNT") or source.id or source.profile or source.vendor:
            return None
        kind = DiskKind(source.type)
        place = source.path if kind is DiskKind.PATH else source.mount
        root = (place.root or "") if place else ""
    return Disk(
        kind=kind,
        root=root,
        persistence_id=message.persistence.id if message.persistence else "",
        principal=(message.persistence.principal or "") if message.persistence else "",
        container_path=message.volume.container_path if message.volume else "",
    )


def wire_resource(found: Resource, role: str) -> wire.Resource:
    """A resource as Mesos wants it back: with its allocation, reservations and disk."""
    ranges = tuple(wire.Range(low, high) for low, high in found.ranges)
    return wire.Resource(
        name=found.name,
        type="RANGES" if ranges else "SCALAR",
        scalar=None if ranges else wire.Scalar(found.millis / 1000),
        ranges=wire.Ranges(ranges) if ranges else None,
        allocation_info=wire.AllocationInfo(role=role),
        reservations=tuple(_wire_reservation(level) for level in found.reservations),
        disk=_wire_disk(found.disk),
    )


def _wire_reservation(level: Reservation) -> wire.ReservationInfo:
    return wire.ReservationInfo(
        type="DYNAMIC" if level.dynamic else "STATIC",
        role=level.role,
        principal=level.principal or None,
        labels=_labels(level.labels),
    )


def _wire_disk(disk: Disk) -> wire.DiskInfo | None:
    source = None
    if disk.kind is not DiskKind.ROOT:
        root = wire.DiskRoot(disk.root or None)
        source = wire.DiskSource(
            type=str(disk.kind),
            path=root if disk.kind is DiskKind.PATH else None,
            mount=root if disk.kind is DiskKind.MOUNT else None,
        )
    if not disk.persistence_id:
        return wire.DiskInfo(source=source) if source else None
    return wire.DiskInfo(
        persistence=wire.Persistence(disk.persistence_id, disk.principal or None),
        volume=wire.DiskVolume("RW", disk.container_path),
        source=source,
    )


def reserve(resources: Iterable[Resource], role: str) -> wire.Operation:
    """RESERVE of resources, given in the form that they shall have."""
    parts = tuple(wire_resource(part, role) for part in resources)
    return wire.Operation(type="RESERVE", reserve=wire.OperationReserve(resources=parts))


def unreserve(resources: Iterable[Resource], role: str) -> wire.Operation:
    """UNRESERVE."""
    parts = tuple(wire_resource(part, role) for part in resources)
    return wire.Operation(type="UNRESERVE", unreserve=wire.OperationResources(parts))


def create(volumes: Iterable[Resource], role: str) -> wire.Operation:
    """CREATE of persistent volumes."""
    parts = tuple(wire_resource(part, role) for part in volumes)
    return wire.Operation(type="CREATE", create=wire.OperationVolumes(parts))


def destroy(volumes: Iterable[Resource], role: str) -> wire.Operation:
    """DESTROY of persistent volumes and what is on them."""
    parts = tuple(wire_resource(part, role) for part in volumes)
    return wire.Operation(type="DESTROY", destroy=wire.OperationVolumes(parts))


def launch(tasks: Iterable[wire.TaskInfo]) -> wire.Operation:
    """One LAUNCH of several tasks."""
    return wire.Operation(type="LAUNCH", launch=wire.OperationLaunch(tuple(tasks)))


def task_info(
    task: Launch, command: Command, resources: Iterable[Resource], *, cluster: str, role: str
) -> wire.TaskInfo:
    """A command task with all that makes it findable and manageable."""
    spec = task.spec
    labels = {
        **spec.labels,
        **command.labels,
        CLUSTER_LABEL: cluster,
        POD_LABEL: task.pod_instance,
        TASK_LABEL: spec.name,
    }
    grace = round(spec.kill_grace_seconds * _NANOSECONDS)
    return wire.TaskInfo(
        name=f"{task.pod_instance}-{spec.name}",
        task_id=wire.TaskID(task.task_id),
        agent_id=wire.AgentID(task.place.agent_id),
        resources=tuple(wire_resource(part, role) for part in resources),
        command=_command_info(command),
        health_check=_health_check(spec),
        kill_policy=wire.KillPolicy(grace_period=wire.DurationInfo(grace)),
        labels=_labels(labels.items()),
        discovery=_discovery(task),
        # Mesos takes `limits` since 1.11.
        limits=None if spec.cpu_is_limit else {"cpus": wire.Scalar(_MORE_CPUS_THAN_A_HOST_HAS)},
    )


def _command_info(command: Command) -> wire.CommandInfo:
    uris = tuple(
        wire.Uri(
            value=uri.value,
            output_file=uri.output_file or None,
            executable=uri.executable,
            extract=uri.extract,
            cache=uri.cache,
        )
        for uri in command.uris
    )
    variables = tuple(
        wire.Variable(name=name, value=value) for name, value in command.environment.items()
    )
    return wire.CommandInfo(
        uris=uris,
        environment=wire.Environment(variables) if variables else None,
        value=command.shell,
    )


def _health_check(spec: TaskSpec) -> wire.HealthCheck | None:
    check = spec.health_check
    if check is None:
        return None
    return wire.HealthCheck(
        type="HTTP",
        http=wire.HTTPCheck(port=check.port, path=check.path, scheme=check.scheme),
        delay_seconds=0.0,
        interval_seconds=check.interval_seconds,
        timeout_seconds=check.timeout_seconds,
        grace_period_seconds=check.grace_seconds,
        consecutive_failures=check.consecutive_failures,
    )


def _discovery(task: Launch) -> wire.DiscoveryInfo:
    ports = tuple(
        wire.Port(number=task.ports[port.name], name=port.name, protocol=port.protocol)
        for port in task.spec.ports
    )
    return wire.DiscoveryInfo(
        visibility="CLUSTER",
        name=task.spec.discovery_name.replace("{instance}", task.pod_instance)
        or f"{task.pod_instance}-{task.spec.name}",
        ports=wire.Ports(ports) if ports else None,
    )


def _labels(pairs: Iterable[tuple[str, str]]) -> wire.Labels | None:
    found = tuple(wire.Label(key, value) for key, value in pairs)
    return wire.Labels(found) if found else None


def task_update(status: wire.TaskStatus) -> TaskUpdate:
    """News of a task."""
    container = status.container_status
    networks = container.network_infos if container else ()
    addresses = tuple(
        address.ip_address
        for network in networks
        for address in network.ip_addresses
        if address.ip_address
    )
    return TaskUpdate(
        task_id=status.task_id.value,
        state=status.state,
        message=status.message or "",
        reason=(status.reason or "").removeprefix("REASON_"),
        healthy=status.healthy,
        addresses=addresses,
        away=_away(status),
    )


def _away(status: wire.TaskStatus) -> float | None:
    """How long an agent had been out of reach when this was said; None also of clocks that differ.

    Both times are masters': the one that gave the agent up, and the one that speaks.
    """
    if status.unreachable_time is None or status.timestamp is None:
        return None
    seconds = status.timestamp - status.unreachable_time.nanoseconds / _NANOSECONDS
    return seconds if seconds >= 0 else None


def kill(task_id: str, agent_id: str) -> wire.Call:
    """KILL; the grace period is the task's own."""
    body = wire.CallKill(wire.TaskID(task_id), wire.AgentID(agent_id) if agent_id else None)
    return wire.Call(type="KILL", kill=body)


def accept(
    offer_ids: Iterable[str], operations: Iterable[wire.Operation], refuse_seconds: float
) -> wire.Call:
    """ACCEPT of all offers of one agent."""
    body = wire.CallAccept(
        offer_ids=tuple(wire.OfferID(id_) for id_ in offer_ids),
        operations=tuple(operations),
        filters=wire.Filters(refuse_seconds),
    )
    return wire.Call(type="ACCEPT", accept=body)


def decline(offer_ids: Iterable[str], refuse_seconds: float) -> wire.Call:
    """DECLINE."""
    ids = tuple(wire.OfferID(id_) for id_ in offer_ids)
    return wire.Call(type="DECLINE", decline=wire.CallDecline(ids, wire.Filters(refuse_seconds)))


def answer_inverse(offer_ids: Iterable[str], *, vacates: bool, refuse_seconds: float) -> wire.Call:
    """ACCEPT_INVERSE_OFFERS if the agent will be vacated in time, else DECLINE_INVERSE_OFFERS."""
    body = wire.CallInverseOffers(
        tuple(wire.OfferID(id_) for id_ in offer_ids), wire.Filters(refuse_seconds)
    )
    if vacates:
        return wire.Call(type="ACCEPT_INVERSE_OFFERS", accept_inverse_offers=body)
    return wire.Call(type="DECLINE_INVERSE_OFFERS", decline_inverse_offers=body)


def acknowledge(status: wire.TaskStatus) -> wire.Call | None:
    """ACKNOWLEDGE of a status that asks for it; None for the others."""
    if status.uuid is None or status.agent_id is None:
        return None
    body = wire.CallAcknowledge(status.agent_id, status.task_id, status.uuid)
    return wire.Call(type="ACKNOWLEDGE", acknowledge=body)


def reconcile(tasks: Mapping[str, str]) -> wire.Call:
    """RECONCILE of tasks, agent id by task id; of everything when empty."""
    found = tuple(
        wire.ReconcileTask(wire.TaskID(task), wire.AgentID(agent)) for task, agent in tasks.items()
    )
    return wire.Call(type="RECONCILE", reconcile=wire.CallReconcile(found))


def revive(roles: Sequence[str]) -> wire.Call:
    """REVIVE."""
    return wire.Call(type="REVIVE", revive=wire.CallRoles(tuple(roles)))


def suppress(roles: Sequence[str]) -> wire.Call:
    """SUPPRESS."""
    return wire.Call(type="SUPPRESS", suppress=wire.CallRoles(tuple(roles)))


def update_framework(settings: FrameworkSettings, framework_id: str) -> wire.Call:
    """UPDATE_FRAMEWORK: its id is stored, and Mesos is to keep it for as long as is wished."""
    body = wire.CallSubscribe(framework_info=framework_info(settings, framework_id))
    return wire.Call(type="UPDATE_FRAMEWORK", update_framework=body)


def teardown() -> wire.Call:
    """TEARDOWN."""
    return wire.Call(type="TEARDOWN")
