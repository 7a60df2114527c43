"""Whether a service fits on agents: it is placed as the scheduler would place it, on paper."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubedcos.model.offer import Agent, Range, Resource
from kubedcos.model.service import Goal, PodSpec, ServiceSpec
from kubedcos.offers.fit import Fit
from kubedcos.offers.outcome import AgentOffers, Outcome
from kubedcos.offers.pool import size, without_port
from kubedcos.offers.requirement import KnownAgent, Requirement, Surroundings, largest_first
from kubedcos.offers.round import Round

_PAPER = "paper"


@dataclass(frozen=True, slots=True)
class Room:
    """What one agent has free, and what it has in all; reservations as they are."""

    agent: Agent
    free: tuple[Resource, ...]
    total: tuple[Resource, ...] = ()


@dataclass(frozen=True, slots=True)
class Lack:
    """Instances of a pod that find no agent.

    Attributes:
        placed: how many of the pod do.
        missing: names of those that do not.
        outcome: what evaluation says of the first of them.
    """

    pod: PodSpec
    placed: int
    missing: tuple[str, ...]
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Report:
    """What placing on paper came to.

    Attributes:
        places: agent by pod instance.
        rooms: what is left then.
    """

    lacks: tuple[Lack, ...]
    places: Mapping[str, Agent]
    rooms: tuple[Room, ...]

    @property
    def fits(self) -> bool:
        """Whether everything finds an agent."""
        return not self.lacks


@dataclass(slots=True)
class _Paper:
    """The agents while a service is placed on them."""

    service: ServiceSpec
    local_region: str
    totals: tuple[KnownAgent, ...]
    free: dict[str, tuple[Agent, tuple[Resource, ...]]]
    placed: dict[tuple[str, int], Agent]
    places: dict[str, Agent] = field(default_factory=dict)
    held: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)

    def place(self, pending: Sequence[Requirement]) -> dict[str, Outcome]:
        """Place what can be placed; outcomes of the others by pod instance."""
        left = list(pending)
        while True:
            refused = self._round(left)
            if not refused or len(refused) == len(left):
                return refused
            # Agents are used once in a round; another one sees what is left of them.
            left = [each for each in left if each.pod_instance in refused]

    def _round(self, pending: Sequence[Requirement]) -> dict[str, Outcome]:
        offers = [
            AgentOffers(agent, (_PAPER,), offered_to(role, resources), role=role)
            for agent, resources in self.free.values()
            for role in self.service.roles
        ]
        around = Surroundings(self.local_region, self.totals, self.placed, self.held)
        there = Round(offers, around)
        refused = {}
        for requirement in pending:
            outcome = there.evaluate(requirement)
            verdict = outcome.chosen
            if verdict is None or verdict.fit is None:
                refused[requirement.pod_instance] = outcome
                continue
            there.take(requirement, verdict)
            self._use(requirement, verdict.offers, verdict.fit)
        return refused

    def _use(self, requirement: Requirement, offers: AgentOffers, fit: Fit) -> None:
        agent, resources = self.free[offers.agent.id]
        # What ends does not keep its share.
        stays = {task.name for task in requirement.pod.tasks if task.goal is Goal.RUNNING}
        taken = [part for grant in fit.grants if grant.task in stays for part in grant.resources]
        plain = [_as_offered(part, reserved=requirement.pod.reserved) for part in taken]
        self.free[agent.id] = (agent, less(resources, plain))
        self.places[requirement.pod_instance] = agent
        there = self.held.setdefault(agent.id, {}).setdefault(requirement.pod.name, {})
        for name, amount in _amounts(plain).items():
            there[name] = there.get(name, 0) + amount
        if stays:
            self.placed[requirement.pod.name, requirement.index] = agent


def check(
    service: ServiceSpec,
    rooms: Sequence[Room],
    local_region: str,
    placed: Mapping[tuple[str, int], Agent] | None = None,
) -> Report:
    """Place every instance that is not placed yet, in the order of the plan ``deploy``.

    Args:
        service: what is to run.
        rooms: the agents.
        local_region: region of the masters.
        placed: instances that run already; what they use is not free.
    """
    known = dict(placed or {})
    ours = {agent.id for agent in known.values()}
    paper = _Paper(
        service,
        local_region,
        tuple(KnownAgent(room.agent, _amounts(_largest(room, ours))) for room in rooms),
        {room.agent.id: (room.agent, room.free) for room in rooms},
        dict(known),
    )
    refused: dict[str, Outcome] = {}
    for requirements in _phases(service, known):
        refused |= paper.place(largest_first(requirements))
    lacks = []
    for pod in service.pods:
        names = [pod.instance(index) for index in pod.indices]
        missing = tuple(name for name in names if name in refused)
        if missing:
            there = len(names) - len(missing)
            lacks.append(Lack(pod, there, missing, refused[missing[0]]))
    left = tuple(replace(room, free=paper.free[room.agent.id][1]) for room in rooms)
    return Report(tuple(lacks), paper.places, left)


def offered_to(role: str, resources: Sequence[Resource]) -> tuple[Resource, ...]:
    """What Mesos offers to a role: what is nobody's, the role's own, and its ancestors'."""
    return tuple(
        resource
        for resource in resources
        if resource.reservation is None or f"{role}/".startswith(f"{resource.reservation.role}/")
    )


def less(resources: Sequence[Resource], taken: Sequence[Resource]) -> tuple[Resource, ...]:
    """Resources without what was taken out of them."""
    left = list(resources)
    for part in taken:
        missing, ports = part.millis, list(part.ranges)
        for at, have in enumerate(left):
            same = (have.name, have.reservations, have.disk)
            if same != (part.name, part.reservations, part.disk):
                continue
            gone = min(missing, have.millis)
            missing -= gone
            left[at] = replace(have, millis=have.millis - gone, ranges=_apart(have.ranges, ports))
    return tuple(have for have in left if size(have) > 0)


def _largest(room: Room, ours: Collection[str]) -> tuple[Resource, ...]:
    """The most that an agent offers: of what strangers use the scheduler never hears."""
    return room.total or room.free if room.agent.id in ours else room.free


def _phases(
    service: ServiceSpec, placed: Mapping[tuple[str, int], Agent]
) -> list[list[Requirement]]:
    """What is placed together, phase after phase of every plan; each instance once."""
    seen: set[tuple[str, int]] = set(placed)
    found = []
    for phase in (phase for plan in service.plans for phase in plan.phases):
        requirements = []
        for step in phase.steps:
            pod = service.pod(step.pod)
            if (step.pod, step.index) in seen:
                continue
            seen.add((step.pod, step.index))
            role = pod.role or service.role
            requirements.append(
                Requirement(
                    cluster=service.name,
                    role=role,
                    principal="",
                    pod=pod,
                    index=step.index,
                    launch=step.tasks,
                    fresh_id=_PAPER,
                )
            )
        found.append(requirements)
    return found


def _as_offered(part: Resource, *, reserved: bool) -> Resource:
    """What a grant was before it was reserved and a volume was made on it."""
    if not reserved:
        return part
    return replace(part, reservations=part.reservations[:-1], disk=part.disk.bare)


def _apart(ranges: tuple[Range, ...], taken: Sequence[Range]) -> tuple[Range, ...]:
    for low, high in taken:
        for number in range(low, high + 1):
            ranges = without_port(ranges, number)
    return ranges


def _amounts(resources: Sequence[Resource]) -> dict[str, int]:
    found: dict[str, int] = {}
    for resource in resources:
        found[resource.name] = found.get(resource.name, 0) + size(resource)
    return found
