"""How much CPU time and memory a container uses, from its cgroups or from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubedcos.embedded.agent.cgroup_layout import CgroupPlan, Limits
from kubedcos.embedded.agent.executor.proctree import processes, tree


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _fields(path: Path) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {p[0]: int(p[1]) for p in pairs if len(p) == 2 and p[1].lstrip("-").isdigit()}


def _number(path: Path) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdigit() else None


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
        used |= _cpu(plan.version, directory)
    values |= used
    values["cpus_soft_limit"] = round(limits.cpus, 3)
    if plan.hard_cpu:
        values["cpus_limit"] = round(limits.cpus, 3)
    values["mem_soft_limit_bytes"] = limits.soft_memory
    if limits.hard_memory is not None:
        values["mem_limit_bytes"] = limits.hard_memory
    if plan.limits_memory:
        values |= _memory(plan.version, directory["memory"])
    return values


def _cpu(version: int, directory: dict[str, Path]) -> dict[str, Any]:
    ticks = os.sysconf("SC_CLK_TCK")
    if version == 1:
        stat = _fields(directory["cpuacct"] / "cpuacct.stat")
        values: dict[str, Any] = {
            "cpus_user_time_secs": stat.get("user", 0) / ticks,
            "cpus_system_time_secs": stat.get("system", 0) / ticks,
        }
    else:
        stat = _fields(directory["cpu"] / "cpu.stat")
        values = {
            "cpus_user_time_secs": stat.get("user_usec", 0) / 1e6,
            "cpus_system_time_secs": stat.get("system_usec", 0) / 1e6,
        }
    throttled = _fields(directory["cpu"] / "cpu.stat")
    if throttled.get("nr_periods"):
        values["cpus_nr_periods"] = throttled["nr_periods"]
        values["cpus_nr_throttled"] = throttled.get("nr_throttled", 0)
    return values


def _memory(version: int, directory: Path) -> dict[str, Any]:
    stat = _fields(directory / "memory.stat")
    if version == 1:
        total = _number(directory / "memory.usage_in_bytes")
        return {
            "mem_total_bytes": total or 0,
            "mem_rss_bytes": stat.get("total_rss", 0),
            "mem_cache_bytes": stat.get("total_cache", 0),
        }
    return {
        "mem_total_bytes": _number(directory / "memory.current") or 0,
        "mem_rss_bytes": stat.get("anon", 0),
        "mem_cache_bytes": stat.get("file", 0),
    }


def _from_processes(pid: int) -> dict[str, Any]:
    """Sum over the process tree, as Mesos' posix isolators do."""
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    user = system = resident = 0
    for member in tree(pid, processes(), os.getpid()):
        fields = _text(Path(f"/proc/{member}/stat")).rpartition(")")[2].split()
        if len(fields) > 21:
            user, system = user + int(fields[11]), system + int(fields[12])
            resident += int(fields[21]) * page
    return {
        "cpus_user_time_secs": user / ticks,
        "cpus_system_time_secs": system / ticks,
        "mem_rss_bytes": resident,
    }
