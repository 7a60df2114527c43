"""`kubedcos lab simulate`: a master that frameworks reach over HTTP, with simulated agents."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from kubedcos.clock import SystemClock
from kubedcos.embedded.master.__main__ import serve
from kubedcos.embedded.master.options import MasterOptions, read_options
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.embedded.simulation.cluster import SimulatedCluster
from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.messages import (
    AgentInfo,
    DomainInfo,
    FaultDomain,
    RegionInfo,
    ZoneInfo,
    encode,
)
from kubedcos.mesos.resource_text import parse_attributes, parse_resources

FIRST_ADDRESS: Final = ipaddress.IPv4Address("127.1.0.1")
"""Loopback: a framework connects to its tasks, and must not reach strangers of that address."""
MOST_AGENTS: Final = 100_000
STATUS_INTERVAL: Final = 1.0

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Cut:
    """A fault that comes again and again: one agent, chosen by chance, is out of reach.

    Attributes:
        every: seconds between two of them.
        lasts: seconds until the agent is back.
    """

    every: float
    lasts: float


@dataclass(frozen=True, slots=True)
class Plan:
    """What to simulate.

    Attributes:
        agents: how many.
        domains: regions and zones, to which agents are dealt out in turn; the master is in the
            first.
        resources: of each agent, as Mesos' flag has it.
        attributes: likewise; ``{number}``, ``{region}`` and ``{zone}`` are filled in.
        address: where the master listens; `port` likewise.
        master_flags: further flags of the master; they win over what is said here.
        seed: of everything that chance decides.
        runs_for: seconds that a task runs when it does not say; `None`: until it is killed.
        cut: faults of the network.
    """

    agents: int
    domains: tuple[tuple[str, str], ...]
    resources: str
    attributes: str
    address: str
    port: int
    master_flags: tuple[str, ...]
    seed: int
    runs_for: float | None = None
    cut: Cut | None = None


def master_options(plan: Plan) -> MasterOptions:
    """Flags of the master.

    Raises:
        InvalidInput: a flag is wrong, or is one that a simulation cannot follow.
    """
    usual = {
        "ip": plan.address,
        "port": str(plan.port),
        "hostname": plan.address,
        "cluster": "simulation",
        "domain": encode(_domain(*plan.domains[0])).decode(),
        "registry": "in_memory",
        "logging_level": "WARNING",
    }
    # As environment, because what is given on the command line wins over it.
    environment = {f"MESOS_{name.upper()}": value for name, value in usual.items()}
    options = read_options(plan.master_flags, environment)
    if options.zk is not None:
        problem = Problem("flag --zk", options.zk, "no --zk: the simulation has one master")
        raise InvalidInput([problem])
    return options


def agent_infos(plan: Plan) -> list[AgentInfo]:
    """The agents.

    Raises:
        InvalidInput: too many or none, or resources or attributes that make no sense.
    """
    if not 1 <= plan.agents <= MOST_AGENTS:
        problem = Problem("--agents", str(plan.agents), f"between 1 and {MOST_AGENTS}")
        raise InvalidInput([problem])
    resources = tuple(parse_resources(plan.resources))
    infos = []
    for number in range(plan.agents):
        region, zone = plan.domains[number % len(plan.domains)]
        text = plan.attributes
        for name, value in (("number", str(number)), ("region", region), ("zone", zone)):
            text = text.replace("{" + name + "}", value)
        info = AgentInfo(
            hostname=f"agent-{number:05d}",
            resources=resources,
            attributes=tuple(parse_attributes(text)) if text else (),
            domain=_domain(region, zone),
            checkpoint=True,
        )
        infos.append(info)
    return infos


def _domain(region: str, zone: str) -> DomainInfo:
    return DomainInfo(FaultDomain(RegionInfo(region), ZoneInfo(zone)))


def simulate(plan: Plan, tell: Tell) -> int:
    """Serve until a signal; the exit status.

    Raises:
        InvalidInput: the plan makes no sense.
    """
    options = master_options(plan)
    infos = agent_infos(plan)
    level = getattr(logging, options.flags.required("logging_level"), logging.WARNING)
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(_serve(plan, options, infos, tell))


async def _serve(plan: Plan, options: MasterOptions, infos: Sequence[AgentInfo], tell: Tell) -> int:
    clock, chance = SystemClock(), random.Random(plan.seed)  # noqa: S311  to be repeated
    cluster = SimulatedCluster(options, clock, chance, Behaviour(runs_for=plan.runs_for))
    for number, info in enumerate(infos):
        cluster.add(info, str(FIRST_ADDRESS + number))

    async def beside() -> None:
        started = clock.monotonic()
        await cluster.register()
        seconds = clock.monotonic() - started
        tell(f"{len(infos)} agents registered within {seconds:.1f} s")
        if plan.cut is not None:
            cluster.engine.spawn(_cut(cluster, plan.cut))
        await _report(cluster, tell)

    where = f"http://{options.hostname}:{options.advertise_port}"
    tell(f"master listens on {where}; seed {plan.seed}; ends on SIGTERM or ^C")
    return await serve(options, cluster.engine, beside)


async def _cut(cluster: SimulatedCluster, cut: Cut) -> None:
    while True:
        await cluster.clock.sleep(cut.every)
        reachable = [agent for agent in cluster.agents if agent.reachable]
        if reachable:
            agent = cluster.chance.choice(reachable)
            cluster.cut(agent)
            cluster.later(cut.lasts, partial(cluster.heal, agent))


async def _report(cluster: SimulatedCluster, tell: Tell) -> None:
    """Say how the cluster stands whenever that has changed."""
    said = ""
    while True:
        line = status_line(cluster)
        if line != said:
            tell(line)
            said = line
        await cluster.clock.sleep(STATUS_INTERVAL)


def status_line(cluster: SimulatedCluster) -> str:
    """How the cluster stands, in one line."""
    state = cluster.engine.state
    connected = sum(agent.connected for agent in state.agents.values())
    frameworks = sum(framework.connected for framework in state.frameworks.values())
    states = Counter(task.state.removeprefix("TASK_").lower() for task in state.tasks.values())
    tasks = ", ".join(f"{count} {name}" for name, count in sorted(states.items()))
    return (
        f"agents {connected}/{len(cluster.agents)}; frameworks {frameworks}; "
        f"offers {len(state.offers)}; tasks {len(state.tasks)}" + (f" ({tasks})" if tasks else "")
    )
