from typing import Any

from kubedcos.cli.plan import reasons, tree


def step(name: str, status: str, **more: Any) -> dict[str, Any]:
    task = {
        "name": "server",
        "id": f"{name}-id",
        "hostname": "a1",
        "region": "dc-a",
        "zone": "a-1",
        "state": "TASK_RUNNING",
    }
    return {
        "name": name,
        "status": status,
        "pod": name,
        "tasks": [task],
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": None,
        "reason": "",
        **more,
    }


def waiting(name: str) -> dict[str, Any]:
    none = dict.fromkeys(("id", "hostname", "region", "zone", "state"))
    return step(
        name,
        "PENDING",
        started_at=None,
        tasks=[{"name": "server", **none}],
        reason="needs 3 cpus in region dc-b; best offer there: 2.1 (b1)",
    )


PLAN = {
    "name": "deploy",
    "status": "IN_PROGRESS",
    "phases": [
        {
            "name": "etcd",
            "strategy": "serial",
            "status": "COMPLETE",
            "steps": [step("etcd-0", "COMPLETE", finished_at="2026-01-02T03:04:09Z")],
        },
        {
            "name": "node",
            "strategy": "parallel",
            "status": "PENDING",
            "steps": [waiting("kube-node-0")],
        },
    ],
}


def test_the_tree_has_status_host_times_and_what_a_step_waits_for() -> None:
    assert tree(PLAN).splitlines() == [
        "deploy (IN_PROGRESS)",
        "├─ etcd (serial, COMPLETE)",
        "│  └─ etcd-0       COMPLETE     a1 (dc-a/a-1)           03:04:05 → 03:04:09",
        "└─ node (parallel, PENDING)",
        "   └─ kube-node-0  PENDING",
        "        needs 3 cpus in region dc-b; best offer there: 2.1 (b1)",
    ]


def test_wide_shows_the_tasks() -> None:
    assert "etcd-0-id" in tree(PLAN, wide=True)
    assert "etcd-0-id" not in tree(PLAN)


def test_reasons_name_the_shortfall_and_each_agent_that_was_ruled_out() -> None:
    stages = [
        {"stage": "placement", "passed": True, "reason": ""},
        {"stage": "cpus", "passed": False, "reason": "has 1 of 2 cpus"},
    ]
    waiting = {
        "steps": ["kube-node-0:[kubelet]", "kube-node-1:[kubelet]"],
        "reason": "needs 2 cpus; best offer: 1 (b1)",
        "shortfall": [
            {"resource": "cpus", "unit": "cpus", "needed": 2.0, "best": 1.0, "hostname": "b1"}
        ],
        "agents": 7,
        "rejected": {"cpus": 7},
        "verdicts": [{"hostname": "b1", "region": "dc-b", "zone": "b-1", "stages": stages}],
        "verdicts_left_out": 6,
    }
    found = {"name": "deploy", "status": "PENDING", "waiting": [waiting]}
    assert [line.split() for line in reasons(found).splitlines()] == [
        [
            "kube-node-0:[kubelet]",
            "and",
            "1",
            "more:",
            "needs",
            "2",
            "cpus;",
            "best",
            "offer:",
            "1",
            "(b1)",
        ],
        ["short", "of", "cpus:", "needs", "2,", "at", "most", "1", "(b1)"],
        ["7", "agents", "offered;", "ruled", "out", "by:", "cpus", "7"],
        ["b1", "dc-b/b-1", "cpus", "no:", "has", "1", "of", "2", "cpus"],
        ["and", "6", "more", "agents"],
    ]
    assert "placement ok; cpus no: has 1 of 2 cpus" in reasons(found, wide=True)
    done = {"name": "deploy", "status": "COMPLETE", "waiting": []}
    assert reasons(done) == "no step of deploy (COMPLETE) waits for an agent"
