"""How much CPU time and memory a container uses, from its cgroups or from /proc."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, Final

from kubedcos.embedded.agent.cgroup_layout import LEAF, CgroupPlan, Limits
from kubedcos.embedded.agent.executor import kernel_files
from kubedcos.embedded.agent.executor.proctree import processes, tree
from kubedcos.embedded.host_statistics import memory_info

PROC: Final = Path("/proc")


def container_statistics(
    now: float, plan: CgroupPlan, root: str, container_id: str, pid: int | None, limits: Limits
) -> dict[str, Any]:
    """Mesos' ResourceStatistics, as far as the isolators in use know them.

    Args:
        now: the time.
        plan: how containers use cgroups.
        root: name of the root cgroup.
        container_id: of the container.
        pid: of its executor, for what has no cgroup.
        limits: of the container.
    """
    values: dict[str, Any] = {"timestamp": now}
    used = _from_processes(pid) if pid is not None else {}
    directory = {name: hierarchy.mount / root / container_id for name, hierarchy in plan.controlled}
    if plan.limits_cpu:
        used |= _cpu(plan, directory)
    values |= used
    values |= _limits(plan, limits)
    if plan.limits_memory:
        values |= _memory(plan, directory["memory"])
    if plan.counts_tasks:
        top = directory["cpuacct" if plan.version == 1 else "cpu"]
        leaf = top if plan.version == 1 else top / LEAF
        values["processes"] = len(kernel_files.text(leaf / "cgroup.procs").split())
        values["threads"] = len(kernel_files.text(leaf / TASKS[plan.version]).split())
    return values


TASKS = {1: "tasks", 2: "cgroup.threads"}


def _limits(plan: CgroupPlan, limits: Limits) -> dict[str, Any]:
    """What the container asked for; an infinite limit is all that the machine has."""
    values: dict[str, Any] = {
        "cpus_soft_limit": round(limits.cpus, 3),
        "mem_soft_limit_bytes": limits.soft_memory,
    }
    if limits.cpus_limit is not None:
        most = os.cpu_count() if math.isinf(limits.cpus_limit) else round(limits.cpus_limit, 3)
        values["cpus_limit"] = most
    elif plan.hard_cpu:
        values["cpus_limit"] = round(limits.cpus, 3)
    hard = limits.hard_memory
    values["mem_limit_bytes"] = memory_info().get("MemTotal", 0) * 1024 if hard is None else hard
    return values


def _cpu(plan: CgroupPlan, directory: dict[str, Path]) -> dict[str, Any]:
    ticks = os.sysconf("SC_CLK_TCK")
    stat = kernel_files.fields(directory["cpu"] / "cpu.stat")
    if plan.version == 1:
        used = kernel_files.fields(directory["cpuacct"] / "cpuacct.stat")
        values: dict[str, Any] = {
            "cpus_user_time_secs": used.get("user", 0) / ticks,
            "cpus_system_time_secs": used.get("system", 0) / ticks,
        }
        throttled = stat.get("throttled_time", 0) / 1e9
    else:
        values = {
            "cpus_user_time_secs": stat.get("user_usec", 0) / 1e6,
            "cpus_system_time_secs": stat.get("system_usec", 0) / 1e6,
        }
        throttled = stat.get("throttled_usec", 0) / 1e6
    if "nr_periods" in stat and (plan.hard_cpu or plan.version == 2):
        values["cpus_nr_periods"] = stat["nr_periods"]
        values["cpus_nr_throttled"] = stat.get("nr_throttled", 0)
        values["cpus_throttled_time_secs"] = throttled
    return values


_MEMORY_FILES = {
    "mem_total_bytes": "memory.usage_in_bytes",
    "mem_kmem_usage_bytes": "memory.kmem.usage_in_bytes",
    "mem_kmem_tcp_usage_bytes": "memory.kmem.tcp.usage_in_bytes",
}
_MEMORY_FIELDS = {
    1: {
        "mem_file_bytes": "total_cache",
        "mem_cache_bytes": "total_cache",
        "mem_anon_bytes": "total_rss",
        "mem_rss_bytes": "total_rss",
        "mem_mapped_file_bytes": "total_mapped_file",
        "mem_swap_bytes": "total_swap",
        "mem_unevictable_bytes": "total_unevictable",
    },
    2: {
        "mem_kmem_usage_bytes": "kernel",
        "mem_kmem_tcp_usage_bytes": "sock",
        "mem_file_bytes": "file",
        "mem_cache_bytes": "file",
        "mem_anon_bytes": "anon",
        "mem_rss_bytes": "anon",
        "mem_mapped_file_bytes": "file_mapped",
        "mem_unevictable_bytes": "unevictable",
    },
}


def _memory(plan: CgroupPlan, directory: Path) -> dict[str, Any]:
    files = _MEMORY_FILES if plan.version == 1 else {"mem_total_bytes": "memory.current"}
    if plan.limits_swap:
        files = files | {"mem_total_memsw_bytes": "memory.memsw.usage_in_bytes"}
    values = {name: kernel_files.number(directory / file) for name, file in files.items()}
    stat = kernel_files.fields(directory / "memory.stat")
    values |= {name: stat.get(field) for name, field in _MEMORY_FIELDS[plan.version].items()}
    return {name: value for name, value in values.items() if value is not None}


_NETWORK = ("bytes", "packets", "errors", "dropped")


def network_statistics(pid: int | None, networks: int, proc: Path = PROC) -> dict[str, Any]:
    """The net_* part of ResourceStatistics: sums over a container's CNI networks.

    Args:
        pid: of a process in the container.
        networks: how many it has: eth0 and so on.
        proc: where to look.
    """
    wanted = {f"eth{index}" for index in range(networks)}
    sums = dict.fromkeys((f"net_{way}_{what}" for way in ("rx", "tx") for what in _NETWORK), 0)
    seen = False
    for line in kernel_files.text(proc / str(pid) / "net/dev").splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() not in wanted:
            continue
        seen, fields = True, numbers.split()
        # bytes packets errs drop fifo frame compressed multicast, and the same for sending
        for start, way in ((0, "rx"), (8, "tx")):
            for offset, what in enumerate(_NETWORK):
                sums[f"net_{way}_{what}"] += int(fields[start + offset])
    return sums if seen else {}


def _from_processes(pid: int) -> dict[str, Any]:
    """Sum over the process tree, as Mesos' posix isolators do."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    user = system = resident = 0
    for member in tree(pid, processes(), os.getpid()):
        fields = kernel_files.text(Path(f"/proc/{member}/stat")).rpartition(")")[2].split()
        if len(fields) > 21:
            user, system = user + int(fields[11]), system + int(fields[12])
            resident += int(fields[21]) * page
    return {
        "cpus_user_time_secs": user / ticks,
        "cpus_system_time_secs": system / ticks,
        "mem_rss_bytes": resident,
    }
