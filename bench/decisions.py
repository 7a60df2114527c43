"""Offers of thousands of agents, a cluster of thousands of nodes: how long does one round take?

Prints what a round costs against the second that it may take, and what each agent costs among few
and among many. Rounds of each kind are measured: some nodes are placed, with and without Marathon's
rules, none fits anywhere, and every agent gets one: all alike, each of another size, and each with
another small part reserved for the role, so that nothing is worked out for two at once. CPU time of
this process alone, the best of several.

    python bench/decisions.py [--small 500] [--large 5000]
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import replace

from kubedcos.config import cluster
from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes import components
from kubedcos.model.offer import Agent, Offer, Reservation, Resource
from kubedcos.offers.evaluation import group
from kubedcos.offers.outcome import AgentOffers
from kubedcos.offers.requirement import KnownAgent, Requirement, Surroundings, largest_first
from kubedcos.offers.round import Round

ALLOWED_SECONDS = 1.0
REPEATS = 3
REGIONS, ZONES, RACKS = 4, 3, 50
RULES = "@zone:GROUP_BY,rack:MAX_PER:1000,rack:UNLIKE:x.*,hostname:UNIQUE"


def offers(
    agents: int, cpus: int, *, alike: bool, reserved: bool = False
) -> tuple[AgentOffers, ...]:
    """One offer of each agent.

    Unless they are alike, no two have the same memory; of what is `reserved` neither, which is less
    than a task needs.
    """

    def resources(number: int) -> tuple[Resource, ...]:
        part = Resource("mem", 1 + number, reservations=(Reservation("kubernetes", dynamic=False),))
        return (
            Resource("cpus", cpus * 1000),
            Resource("mem", 16_384_000 + (0 if alike else number * 1000)),
            Resource("disk", 65_536_000),
            Resource("ports", ranges=((1025, 32000),)),
            *((part,) if reserved else ()),
        )

    return group(Offer(f"O{n}", agent(n), "kubernetes", resources(n)) for n in range(agents))


def agent(number: int) -> Agent:
    region = f"dc-{number % REGIONS}"
    return Agent(
        f"S{number:05}",
        f"host-{number:05}",
        "127.1.0.1",
        region,
        f"{region}-{number % ZONES}",
        (("rack", f"r{number % RACKS}"),),
    )


def requirements(nodes: int, rules: str) -> list[Requirement]:
    """What all pod instances of a cluster ask for."""
    options = ClusterOptions(
        network=cluster.NetworkOptions(pod_cidr="10.128.0.0/9", node_prefix=24),
        placement=cluster.Placement.model_validate({"nodes": rules})
        if rules
        else cluster.Placement(),
    )
    node = replace(components.service(options).pod("kube-node"), count=nodes)
    names = tuple(task.name for task in node.tasks)
    return [
        Requirement("kubernetes", "kubernetes", "", node, index, names, fresh_id="r")
        for index in range(nodes)
    ]


def decide(found: tuple[AgentOffers, ...], wanted: list[Requirement]) -> int:
    """How many instances found an agent."""
    amounts = {"cpus": 16_000, "mem": 16_384_000}
    known = tuple(KnownAgent(each.agent, amounts) for each in found)
    there = Round(found, Surroundings("dc-0", known))
    placed = 0
    for requirement in largest_first(wanted):
        outcome = there.evaluate(requirement)
        if outcome.chosen is not None:
            there.take(requirement, outcome.chosen)
            placed += 1
    return placed


def seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(REPEATS):
        gc.collect()
        started = time.process_time()
        work()
        best = min(best, time.process_time() - started)
    return best


def main(small: int, large: int) -> None:
    stories = {
        "100 nodes placed": (8, True, False, 100, "", 100),
        "100 nodes placed by rules": (8, True, False, 100, RULES, 100),
        "no agent fits 1000 nodes": (0, True, False, 1000, "", 0),
        "every agent gets a node": (8, True, False, 0, "", None),
        "every agent, no two alike": (8, False, False, 0, "", None),
        "every agent, partly reserved": (8, False, True, 0, "", None),
    }
    for name, (cpus, alike, reserved, nodes, rules, expected) in stories.items():
        times = []
        for agents in (small, large):
            found = offers(agents, cpus, alike=alike, reserved=reserved)
            wanted = requirements(nodes or agents, rules)
            placed = decide(found, wanted)
            assert placed == (agents if expected is None else expected), placed
            times.append(seconds(lambda f=found, w=wanted: decide(f, w)))  # type: ignore[misc]
        few, many = times
        print(
            f"{name:28} {many:6.3f} s of {ALLOWED_SECONDS} s for {large} agents:"
            f" ratio {many / ALLOWED_SECONDS:.2f}; each agent costs"
            f" {(many / large) / (few / small):.2f} times what it does among {small}"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--large", type=int, default=5000)
    chosen = parser.parse_args()
    main(chosen.small, chosen.large)
