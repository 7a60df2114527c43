from typing import Any

from kubedcos.cli.plan import tree


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
