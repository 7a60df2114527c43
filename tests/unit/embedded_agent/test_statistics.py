"""Limits of swap, and how much a container uses, from made-up files of the kernel."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from kubedcos.embedded.agent.cgroup_layout import (
    CgroupPlan,
    Hierarchy,
    Limits,
    limit_files,
    parse_mounts,
    plan_cgroups,
)
from kubedcos.embedded.agent.cgroups import CgroupError, Cgroups
from kubedcos.embedded.agent.statistics import container_statistics, network_statistics
from kubedcos.embedded.agent.taskrun import MB
from kubedcos.errors import InvalidInput

V1 = "".join(
    f"cgroup /cg/{name} cgroup rw,{name} 0 0\n"
    for name in ("cpu", "cpuacct", "memory", "freezer", "pids")
)
ALL = frozenset({"cgroups/all"})


def test_swap_is_limited_with_memory() -> None:
    plan = plan_cgroups(
        parse_mounts(V1), Path("/cg"), ALL, "linux", hard_cpu=False, limit_swap=True
    )
    names = [name for _, name, _ in limit_files(plan, Limits.of_task(1, 32, {}))]
    assert names[-2:] == ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
    unified = "cgroup2 /cg cgroup2 rw 0 0\n"
    with pytest.raises(InvalidInput, match="does not support limiting swap memory"):
        plan_cgroups(
            parse_mounts(unified), Path("/cg"), ALL, "linux", hard_cpu=False, limit_swap=True
        )


def test_a_kernel_that_does_not_count_swap_is_told(tmp_path: Path) -> None:
    hierarchy = Hierarchy(tmp_path, frozenset({"memory"}))
    plan = CgroupPlan(1, (("memory", hierarchy),), limits_memory=True, limits_swap=True)
    with pytest.raises(CgroupError, match=r"'memory\.memsw\.limit_in_bytes' is not available"):
        Cgroups(plan, "mesos").prepare()


def made_up(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_statistics_of_version_2(tmp_path: Path) -> None:
    made_up(
        tmp_path / "mesos/c",
        {
            "cpu.stat": (
                "usage_usec 5\nuser_usec 3000000\nsystem_usec 2000000\nnr_periods 9\n"
                "nr_throttled 4\nthrottled_usec 1500000\n"
            ),
            "memory.current": "4096\n",
            "memory.stat": "anon 100\nfile 200\nkernel 30\nsock 4\nfile_mapped 50\nunevictable 6\n",
            "leaf/cgroup.procs": "1\n2\n",
            "leaf/cgroup.threads": "1\n2\n3\n",
        },
    )
    unified = Hierarchy(tmp_path, unified=True)
    controlled = tuple((name, unified) for name in ("cpu", "memory"))
    plan = CgroupPlan(2, controlled, (), True, True, counts_tasks=True)
    limits = Limits.of_task(1, 32, {"cpus": math.inf, "mem": 64})
    found = container_statistics(1.0, plan, "mesos", "c", None, limits)
    assert found.pop("cpus_limit") > 0
    assert found == {
        "timestamp": 1.0,
        "cpus_user_time_secs": 3.0,
        "cpus_system_time_secs": 2.0,
        "cpus_nr_periods": 9,
        "cpus_nr_throttled": 4,
        "cpus_throttled_time_secs": 1.5,
        "cpus_soft_limit": 1.1,
        "mem_soft_limit_bytes": 64 * MB,
        "mem_limit_bytes": 96 * MB,
        "mem_total_bytes": 4096,
        "mem_kmem_usage_bytes": 30,
        "mem_kmem_tcp_usage_bytes": 4,
        "mem_file_bytes": 200,
        "mem_cache_bytes": 200,
        "mem_anon_bytes": 100,
        "mem_rss_bytes": 100,
        "mem_mapped_file_bytes": 50,
        "mem_unevictable_bytes": 6,
        "processes": 2,
        "threads": 3,
    }


def test_statistics_of_networks(tmp_path: Path) -> None:
    lines = [
        "Inter-|   Receive  |  Transmit",
        "    lo: 9 9 9 9 0 0 0 0 9 9 9 9 0 0 0 0",
        "  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0",
        "  eth1: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0",
    ]
    made_up(tmp_path, {"7/net/dev": "\n".join(lines)})
    assert network_statistics(7, 2, tmp_path) == {
        "net_rx_bytes": 1001,
        "net_rx_packets": 11,
        "net_rx_errors": 1,
        "net_rx_dropped": 2,
        "net_tx_bytes": 2001,
        "net_tx_packets": 21,
        "net_tx_errors": 3,
        "net_tx_dropped": 4,
    }
    assert network_statistics(8, 1, tmp_path) == {}
