"""The cgroup that a node's pods are in: made, bounded and taken away below the task's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.kubernetes.launcher import node_cgroups

from .agent_programs import MOUNTINFO

OWN_V1 = "4:memory:/mesos/c1\n3:cpu,cpuacct:/mesos/c1\n1:name=systemd:/\n0::/\n"


def on_host(
    monkeypatch: pytest.MonkeyPatch, root: Path, mountinfo: str, own: str
) -> node_cgroups.Cgroups:
    texts = {
        "/proc/self/mountinfo": mountinfo.replace("/sys/fs/cgroup", str(root)),
        "/proc/self/cgroup": own,
    }
    real = node_cgroups.read
    monkeypatch.setattr(node_cgroups, "read", lambda path: texts.get(path) or real(path))
    return node_cgroups.Cgroups()


def test_the_nodes_cgroup_is_made_in_every_hierarchy_and_taken_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory/mesos/c1").mkdir(parents=True)
    (tmp_path / "cpu,cpuacct/mesos/c1").mkdir(parents=True)
    (tmp_path / "systemd/mesos/killed/kubepods").mkdir(parents=True)
    (tmp_path / "unified").mkdir()
    (tmp_path / "cpu,cpuacct/mesos/being-made").mkdir()
    cgroups = on_host(monkeypatch, tmp_path, MOUNTINFO, OWN_V1)
    assert cgroups.root == "/mesos/c1"
    cgroups.prepare()
    (tmp_path / "cpu,cpuacct/mesos/being-made").rmdir()
    assert not (tmp_path / "systemd/mesos/killed").exists(), "what was killed hard left this"
    for hierarchy in ("memory", "cpu,cpuacct", "systemd", "unified"):
        (tmp_path / hierarchy / "mesos/c1/kubepods/burstable").mkdir(parents=True)
    cgroups.remove()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {
        *("memory", "memory/mesos", "memory/mesos/c1"),
        *("cpu,cpuacct", "cpu,cpuacct/mesos", "cpu,cpuacct/mesos/c1"),
        *("systemd", "systemd/mesos", "unified"),
    }


def mebibytes(path: Path) -> int:
    return int(path.read_text()) // node_cgroups.MEBIBYTE


def test_pods_get_what_the_nodes_own_programs_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    top = tmp_path / "memory/mesos/c1"
    (top / "kubepods").mkdir(parents=True)
    (top / "memory.limit_in_bytes").write_text(f"{1056 << 20}\n")
    (top / "memory.stat").write_text(f"cache 1\nrss {200 << 20}\ntotal_rss {900 << 20}\n")
    limit = top / "kubepods/memory.limit_in_bytes"
    cgroups = on_host(monkeypatch, tmp_path, MOUNTINFO, OWN_V1)
    cgroups.bound_pods()
    assert not limit.exists(), "the kubelet has not made it yet"
    limit.write_text(f"{1024 << 20}\n")
    cgroups.bound_pods()
    assert mebibytes(limit) == 1056 - 200 - 64
    (top / "memory.stat").write_text(f"rss {197 << 20}\n")
    cgroups.bound_pods()
    assert mebibytes(limit) == 792, "a little less is not worth a change"
    (top / "memory.stat").write_text(f"rss {90 << 20}\n")
    cgroups.bound_pods()
    assert mebibytes(limit) == 896


def test_pods_get_what_is_left_with_cgroup_v2_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    top = tmp_path / "mesos/c1"
    for name, used in (("kubepods", 700), ("kubedcos", 150), ("leaf", 42)):
        (top / name).mkdir(parents=True)
        (top / name / "memory.stat").write_text(f"anon {used << 20}\n")
    (top / "memory.max").write_text(f"{1056 << 20}\n")
    limit = top / "kubepods/memory.max"
    limit.write_text("max\n")
    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    on_host(monkeypatch, tmp_path, mountinfo, "0::/mesos/c1/leaf\n").bound_pods()
    assert mebibytes(limit) == 1056 - 150 - 42 - 64


def test_a_new_cpuset_gets_its_parents_cpus(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / name).write_text("0-1\n")
        (tmp_path / "c" / name).write_text("\n")
    node_cgroups.Cgroups._fill_cpuset(str(tmp_path), str(tmp_path / "c"))
    assert (tmp_path / "c/cpuset.cpus").read_text() == "0-1\n"


def test_without_a_memory_cgroup_there_is_no_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(node_cgroups.Failure, match="--isolation=cgroups/cpu,cgroups/mem"):
        on_host(monkeypatch, tmp_path, MOUNTINFO, "4:memory:/\n0::/\n")


@pytest.mark.parametrize("own", ["0::/mesos/c1/leaf\n", "0::/mesos/c1\n"])
def test_cgroup_v2_with_and_without_a_leaf(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str
) -> None:
    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert on_host(monkeypatch, tmp_path, mountinfo, own).root == "/mesos/c1"


def test_cgroup_v2_processes_move_into_a_leaf(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = tmp_path / "mesos/c1"
    base.mkdir(parents=True)
    (base / "cgroup.procs").write_text("41\n42\n")
    (base / "cgroup.controllers").write_text("cpu memory\n")
    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    on_host(monkeypatch, tmp_path, mountinfo, "0::/mesos/c1\n").prepare()
    assert (base / "kubedcos/cgroup.procs").read_text() == "42"
    assert (base / "cgroup.subtree_control").read_text() == "+memory"


def test_cgroup_v2_controllers_come_from_the_top(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Mesos with cgroups/cpu and cgroups/mem shares out cpu and memory alone."""
    base = tmp_path / "mesos/c1"
    base.mkdir(parents=True)
    have = "cpuset cpu io memory hugetlb pids rdma"
    for path, controllers, shared in (
        (tmp_path, have, "cpu io memory pids"),
        (tmp_path / "mesos", "cpu io memory pids", "cpu memory"),
        (base, "cpu memory", "cpu memory"),
    ):
        (path / "cgroup.controllers").write_text(controllers + "\n")
        (path / "cgroup.subtree_control").write_text(shared + "\n")
    (base / "cgroup.procs").write_text("")

    def write(path: str, text: str) -> None:
        """As the kernel does: what a cgroup shares out is what those below it have."""
        file, controller = Path(path), text.removeprefix("+")
        assert file.name == "cgroup.subtree_control"
        assert controller in (file.parent / "cgroup.controllers").read_text().split()
        file.write_text(file.read_text() + f" {controller}")
        for child in file.parent.glob("*/cgroup.controllers"):
            child.write_text(child.read_text() + f" {controller}")

    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    cgroups = on_host(monkeypatch, tmp_path, mountinfo, "0::/mesos/c1/leaf\n")
    monkeypatch.setattr(node_cgroups, "write", write)
    cgroups.prepare()
    for_pods = set((base / "cgroup.subtree_control").read_text().split())
    assert for_pods == {"cpuset", "cpu", "memory", "hugetlb", "pids"}
    assert "rdma" not in (tmp_path / "cgroup.subtree_control").read_text()
