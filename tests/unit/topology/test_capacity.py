"""Nodes that agents could never hold are refused with the limit that binds."""

from __future__ import annotations

from kubedcos.topology.capacity import Agent, NodeRequest, capacity_problems

AGENTS = [
    Agent("a1", "dc-a", cpus=4, mem=8192, disk=20000),
    Agent("a2", "dc-a", cpus=4, mem=2048, disk=20000),
    Agent("b1", "dc-b", cpus=2, mem=8192, disk=20000),
]


def only(request: NodeRequest) -> tuple[str, str, str]:
    (problem,) = capacity_problems(AGENTS, [request])
    return problem.id, problem.seen, problem.fix


def test_what_fits_is_no_problem() -> None:
    assert capacity_problems(AGENTS, [NodeRequest("k", 3, cpus=2, mem=2048, disk=1000)]) == []


def test_more_nodes_than_agents() -> None:
    identifier, seen, _ = only(NodeRequest("k", 4))
    assert identifier == "nodes-exceed-agents"
    assert seen == "4 nodes for 3 agents"


def test_regions_limit_the_agents() -> None:
    _, seen, _ = only(NodeRequest("k", 2, regions=("dc-b",)))
    assert seen == "2 nodes for 1 agents in dc-b"


def test_the_binding_limit_is_named() -> None:
    identifier, seen, fix = only(NodeRequest("k", 3, cpus=2, mem=4096))
    assert identifier == "nodes-exceed-agents"
    assert "2 of 3 agents could hold one" in seen
    assert fix == "The limit that binds is mem: too little on a2."


def test_a_resource_that_no_agent_has() -> None:
    identifier, seen, _ = only(NodeRequest("k", 1, cpus=6))
    assert identifier == "resources-unoffered"
    assert "the largest agent has 4 (a1)" in seen or "the largest agent has 4 (a2)" in seen


def test_large_amounts_are_written_out() -> None:
    _, seen, _ = only(NodeRequest("k", 1, mem=12345678))
    assert seen.startswith("12345678 mem each")


def test_agents_that_count_themselves_are_not_judged() -> None:
    assert capacity_problems([Agent("a", "r")], [NodeRequest("k", 1, cpus=64)]) == []
