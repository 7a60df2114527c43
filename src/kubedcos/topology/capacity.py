"""Whether the agents of an inventory could hold the nodes that a cluster asks for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kubedcos.errors import Problem


@dataclass(frozen=True, slots=True)
class Agent:
    """What one agent can offer.

    Attributes:
        name: inventory name.
        region: data centre.
        cpus: number of CPUs; None when the agent finds out itself.
        mem: memory in MB; None as above.
        disk: disk in MB; None as above.
    """

    name: str
    region: str
    cpus: float | None = None
    mem: float | None = None
    disk: float | None = None


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """The nodes that a cluster wants, or a part of its control plane.

    Attributes:
        cluster: its name.
        count: number of nodes, each on an agent of its own.
        cpus: CPUs of one node.
        mem: memory of one node in MB.
        disk: disk of one node in MB.
        regions: where nodes may be; empty means anywhere.
        what: the option that asks for it.
    """

    cluster: str
    count: int
    cpus: float = 0
    mem: float = 0
    disk: float = 0
    regions: tuple[str, ...] = ()
    what: str = "node"


_RESOURCES = ("cpus", "mem", "disk")


def capacity_problems(agents: Sequence[Agent], requests: Iterable[NodeRequest]) -> list[Problem]:
    """Requests that these agents can never satisfy, with the limit that binds."""
    problems: list[Problem] = []
    for request in requests:
        problems.extend(_request_problems(agents, request))
    return problems


def _request_problems(agents: Sequence[Agent], request: NodeRequest) -> Iterable[Problem]:
    where = f"cluster {request.cluster}: {request.what}"
    allowed = [agent for agent in agents if not request.regions or agent.region in request.regions]
    place = f" in {', '.join(request.regions)}" if request.regions else ""
    if not allowed and request.what != "node":
        yield Problem(
            where,
            f"no agent{place}",
            "an agent there: the control plane is in the masters' region",
            "control-plane-without-agents",
        )
        return
    if len(allowed) < request.count:
        yield Problem(
            where,
            f"{request.count} nodes for {len(allowed)} agents{place}",
            f"at most {len(allowed)}: an agent holds one node of a cluster",
            "nodes-exceed-agents",
            "Add agents, allow more regions, or ask for fewer nodes.",
        )
        return
    impossible = False
    for resource in _RESOURCES:
        needed = getattr(request, resource)
        offers = [(_amount(agent, resource), agent.name) for agent in allowed]
        best, name = max(offers, default=(0.0, "none"))
        if request.count and best < needed:
            impossible = True
            yield Problem(
                where,
                f"{_number(needed)} {resource} each; "
                f"the largest agent{place} has {_number(best)} ({name})",
                f"at most {_number(best)}",
                "resources-unoffered",
            )
    if not impossible:
        yield from _binding_limit(allowed, request, where, place)


def _number(amount: float) -> str:
    """With as many digits as there are, but no power of ten."""
    return f"{amount:.3f}".rstrip("0").rstrip(".")


def _amount(agent: Agent, resource: str) -> float:
    amount: float | None = getattr(agent, resource)
    return float("inf") if amount is None else amount


def _binding_limit(
    allowed: Sequence[Agent], request: NodeRequest, where: str, place: str
) -> Iterable[Problem]:
    def fits(agent: Agent, resources: Iterable[str]) -> bool:
        return all(_amount(agent, r) >= getattr(request, r) for r in resources)

    able = [agent for agent in allowed if fits(agent, _RESOURCES)]
    if len(able) >= request.count:
        return
    # The resource that rules out the most agents binds; the first one wins a tie.
    binding = min(_RESOURCES, key=lambda r: sum(fits(agent, (r,)) for agent in allowed))
    short = [agent.name for agent in allowed if not fits(agent, (binding,))]
    yield Problem(
        where,
        f"{request.count} nodes; {len(able)} of {len(allowed)} agents{place} could hold one",
        f"{request.count} agents with {_number(getattr(request, binding))} {binding} or more",
        "nodes-exceed-agents",
        f"The limit that binds is {binding}: too little on {', '.join(short[:5])}.",
    )
