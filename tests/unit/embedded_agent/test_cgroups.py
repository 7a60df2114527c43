"""Cgroups: the plan is pure; the work on a made-up tree, and on the kernel's where permitted."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.waiting import wait_until

from kubedcos.embedded.agent.cgroup_layout import (
    CgroupPlan,
    Hierarchy,
    Limits,
    limit_files,
    parse_mounts,
    plan_cgroups,
)
from kubedcos.embedded.agent.cgroups import CgroupError, Cgroups
from kubedcos.errors import InvalidInput

BASE = Path("/sys/fs/cgroup")
HYBRID = """\
tmpfs /sys/fs/cgroup tmpfs rw,relatime,mode=755 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,relatime,freezer 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
ISOLATION = frozenset({"cgroups/cpu", "cgroups/mem"})


def plan(mounts: str, isolation: frozenset[str] = ISOLATION, launcher: str = "linux") -> CgroupPlan:
    return plan_cgroups(parse_mounts(mounts), BASE, isolation, launcher, hard_cpu=True)


def test_hybrid_is_version_1() -> None:
    found = plan(HYBRID)
    assert found.version == 1
    assert dict(found.controlled)["cpuacct"].mount == BASE / "cpu,cpuacct"
    assert "pids" not in dict(found.controlled)
    assert {h.mount.name for h in found.swept} == {
        *("cpu,cpuacct", "memory", "freezer", "systemd", "unified"),
    }


def test_unified_is_version_2() -> None:
    found = plan(UNIFIED)
    assert (found.version, found.limits_cpu, found.limits_memory) == (2, True, True)


def test_posix_uses_no_cgroup() -> None:
    assert plan(HYBRID, frozenset({"posix/cpu"}), "posix").version == 0


def test_a_missing_controller_is_told() -> None:
    without = "\n".join(line for line in HYBRID.splitlines() if "memory" not in line)
    with pytest.raises(InvalidInput, match="memory"):
        plan(without)


@pytest.mark.parametrize("launcher", ["linux", "posix"])
def test_without_any_cgroup_posix_isolators_still_work(launcher: str) -> None:
    assert plan("", frozenset({"posix/mem"}), launcher).version == 0


def test_limits_are_the_tasks_and_the_executors() -> None:
    files = {
        name: text for _, name, text in limit_files(plan(HYBRID), Limits.of_task(1.0, 480, {}))
    }
    assert files == {
        "cpu.shares": str(int(1.1 * 1024)),
        "cpu.cfs_period_us": "100000",
        "cpu.cfs_quota_us": "110000",
        "memory.soft_limit_in_bytes": str(512 << 20),
        "memory.limit_in_bytes": str(512 << 20),
    }


def test_requests_and_limits_differ() -> None:
    limits = Limits.of_task(1.0, 480, {"cpus": 2.0, "mem": float("inf")})
    files = {name: text for _, name, text in limit_files(plan(HYBRID), limits)}
    assert files["cpu.cfs_quota_us"] == "210000"
    assert files["memory.limit_in_bytes"] == "-1"
    assert files["memory.soft_limit_in_bytes"] == str(512 << 20)


def test_version_2_files() -> None:
    files = {name: text for _, name, text in limit_files(plan(UNIFIED), Limits.of_task(1, 480, {}))}
    assert files == {
        "cpu.weight": "110",
        "cpu.max": "110000 100000",
        "memory.low": str(512 << 20),
        "memory.max": str(512 << 20),
    }


@pytest.fixture
def unified_tree(tmp_path: Path) -> Cgroups:
    """A directory that looks like a v2 hierarchy; the kernel's files appear when written."""
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    (tmp_path / "cgroup.subtree_control").write_text("")
    hierarchy = Hierarchy(tmp_path, unified=True)
    controlled = tuple((name, hierarchy) for name in ("cpu", "memory", "pids"))
    return Cgroups(CgroupPlan(2, controlled, (hierarchy,), limits_memory=True), "mesos")


def test_version_2_passes_controllers_on_and_keeps_processes_in_a_leaf(
    unified_tree: Cgroups, tmp_path: Path
) -> None:
    unified_tree.prepare()
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    unified_tree.create("c1", Limits.of_task(1, 96, {}))
    assert unified_tree.join_files("c1") == [str(tmp_path / "mesos/c1/leaf/cgroup.procs")]
    assert (tmp_path / "mesos/c1/memory.max").read_text() == str(128 << 20)
    assert unified_tree.memory("c1") == {"version": 2, "directory": str(tmp_path / "mesos/c1")}
    assert unified_tree.containers() == {"c1"}


def test_what_is_not_there_is_destroyed_at_once_and_what_is_there_stays(
    unified_tree: Cgroups,
) -> None:
    unified_tree.prepare()
    unified_tree.create("c1", Limits.of_task(1, 96, {}))
    unified_tree.destroy("never", timeout=-1)  # a second look would be too late
    assert unified_tree.containers() == {"c1"}


def test_what_cannot_go_is_told(unified_tree: Cgroups, tmp_path: Path) -> None:
    unified_tree.prepare()
    (tmp_path / "mesos/c1").mkdir()
    (tmp_path / "mesos/c1/file").touch()
    with pytest.raises(CgroupError, match="c1: still there"):
        unified_tree.destroy("c1", timeout=0.1)


def _real() -> CgroupPlan | None:
    try:
        found = plan_cgroups(
            parse_mounts(Path("/proc/mounts").read_text()), BASE, ISOLATION, "linux", hard_cpu=True
        )
        writable = all(os.access(h.mount, os.W_OK) for h in found.hierarchies())
    except (OSError, InvalidInput):
        return None
    return found if writable and os.geteuid() == 0 else None


REAL = _real()
real = pytest.mark.skipif(REAL is None, reason="no writable cgroups with cpu and memory here")


@pytest.fixture
def cgroups() -> Iterator[Cgroups]:
    assert REAL is not None
    made = Cgroups(REAL, f"kubedcos-test-{os.getpid()}")
    try:
        made.prepare()
    except CgroupError as error:
        pytest.skip(str(error))
    yield made
    for name in made.containers():
        made.destroy(name, 10)
    for hierarchy in REAL.hierarchies():
        (hierarchy.mount / made.root).rmdir()


def join(cgroups: Cgroups, name: str, command: str) -> subprocess.Popen[bytes]:
    lines = [f"echo $$ > {path}" for path in cgroups.join_files(name)]
    return subprocess.Popen(["sh", "-c", "; ".join([*lines, command])])


def test_what_is_killed_for_a_limit_below_the_containers_own_does_not_count(
    unified_tree: Cgroups,
) -> None:
    unified_tree.prepare()
    unified_tree.create("c1", Limits.of_task(1, 480, {}))
    own = unified_tree.plan.hierarchies()[0].mount / unified_tree.root / "c1"
    (own / "memory.events").write_text("oom 3\noom_kill 2\n")
    (own / "memory.events.local").write_text("oom 0\noom_kill 0\n")
    assert unified_tree.oom_kills("c1") == 0
    (own / "memory.events.local").write_text("oom 1\noom_kill 0\n")
    assert unified_tree.oom_kills("c1") == 1


@real
def test_everything_in_a_container_goes_with_it(cgroups: Cgroups) -> None:
    cgroups.create("c1", Limits.of_task(0.5, 64, {}))
    process = join(cgroups, "c1", "setsid sleep 600 & trap '' TERM; while :; do sleep 1; done")
    wait_until(lambda: len(cgroups.processes("c1")) >= 3)
    # As a kubelet does: cgroups below the container's in every hierarchy there is.
    for hierarchy in cgroups.plan.swept:
        below = hierarchy.mount / cgroups.root / "c1/kubepods/pod1"
        if os.access(hierarchy.mount, os.W_OK):
            below.mkdir(parents=True, exist_ok=True)
    cgroups.destroy("c1", 20)
    assert process.wait(60) == -9
    assert cgroups.containers() == set()
    for hierarchy in cgroups.plan.swept:
        assert not (hierarchy.mount / cgroups.root / "c1").exists()
        if hierarchy not in cgroups.plan.hierarchies():
            assert not (hierarchy.mount / cgroups.root).exists()


@real
def test_the_memory_limit_holds(cgroups: Cgroups) -> None:
    cgroups.create("c1", Limits.of_task(1, 0, {}))
    process = join(cgroups, "c1", "exec python3 -c 'x = bytearray(200 << 20)'")
    assert process.wait(60) == -9
    assert cgroups.oom_kills("c1") == 1
    cgroups.destroy("c1", 10)


@real
def test_a_limit_that_the_kernel_refuses_is_told(cgroups: Cgroups) -> None:
    if cgroups.plan.version != 1:
        pytest.skip("v2 takes any weight")
    with pytest.raises(CgroupError, match=r"cpu\.cfs_quota_us"):
        cgroups.create("c1", Limits(1e15, 64))


UNIFIED_MOUNT = next(
    (h.mount for h in parse_mounts(Path("/proc/mounts").read_text()) if h.unified), None
)


@pytest.mark.skipif(
    UNIFIED_MOUNT is None or not os.access(UNIFIED_MOUNT, os.W_OK) or os.geteuid() != 0,
    reason="no writable cgroup v2 here",
)
def test_version_2_ends_everything_by_the_kernel() -> None:
    assert UNIFIED_MOUNT is not None
    mounts = parse_mounts(Path("/proc/mounts").read_text())
    found = plan_cgroups(mounts, UNIFIED_MOUNT, frozenset({"posix/mem"}), "linux", hard_cpu=False)
    assert found.version == 2
    cgroups = Cgroups(found, f"kubedcos-test2-{os.getpid()}")
    try:
        (UNIFIED_MOUNT / cgroups.root).mkdir()
        cgroups.create("c1", Limits.of_task(0.5, 64, {}))
    except (OSError, CgroupError) as error:
        pytest.skip(str(error))
    process = join(cgroups, "c1", "setsid sleep 600 & trap '' TERM; while :; do sleep 1; done")
    wait_until(lambda: len(cgroups.processes("c1")) >= 3)
    (UNIFIED_MOUNT / cgroups.root / "c1/kubepods").mkdir()
    cgroups.destroy("c1", 20)
    assert process.wait(60) == -9
    assert cgroups.containers() == set()
    (UNIFIED_MOUNT / cgroups.root).rmdir()
