"""Which cgroup hierarchies a machine has, and what limits a container gets. Pure.

The numbers are those of Mesos' isolators: 1024 CPU shares a CPU, quota in a period of 100 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubedcos.errors import InvalidInput, Problem

EXECUTOR_CPUS: Final = 0.1
EXECUTOR_MEMORY_MB: Final = 32
"""What the agent adds to a command task's container for the executor beside it."""

PERIOD_US: Final = 100_000
MIN_SHARES: Final = 2
MIN_QUOTA_US: Final = 1000
MB: Final = 1 << 20
V2_CONTROLLERS: Final = ("cpu", "memory", "pids")
LEAF: Final = "leaf"
"""Child cgroup that holds a container's processes under cgroup v2, as in Mesos 1.12."""


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy: its controllers, or its name (``systemd``), or neither (v2)."""

    mount: Path
    controllers: frozenset[str] = frozenset()
    unified: bool = False


def parse_mounts(text: str) -> tuple[Hierarchy, ...]:
    """The cgroup mounts in /proc/mounts."""
    found = {}
    for line in text.splitlines():
        _, mount, kind, options, *_ = line.split(" ")
        path = Path(mount.replace("\\040", " "))
        if kind == "cgroup2":
            found[path] = Hierarchy(path, unified=True)
        elif kind == "cgroup":
            names = options.split(",")
            named = {name for name in names if name.startswith("name=")}
            found[path] = Hierarchy(path, frozenset(set(names) - GENERIC_OPTIONS) | named)
    return tuple(found.values())


GENERIC_OPTIONS: Final = frozenset(
    {"rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr", "clone_children"}
)


@dataclass(frozen=True, slots=True)
class CgroupPlan:
    """How containers of this agent use cgroups.

    Attributes:
        version: 1 or 2; 0 when no cgroup is used.
        controlled: hierarchies in which a container gets a cgroup, by controller (v1); the one
            hierarchy under every controller's name (v2).
        swept: every mounted hierarchy: a container may have made cgroups in any of them.
        limits_cpu: cpu shares or weight are set.
        limits_memory: the memory limit is set.
        hard_cpu: CPU time is cut at the limit (`--cgroups_enable_cfs`).
        limits_swap: memory and swap together are cut there, too (`--cgroups_limit_swap`, v1).
        counts_tasks: statistics count processes and threads.
    """

    version: int = 0
    controlled: tuple[tuple[str, Hierarchy], ...] = ()
    swept: tuple[Hierarchy, ...] = ()
    limits_cpu: bool = False
    limits_memory: bool = False
    hard_cpu: bool = False
    limits_swap: bool = False
    counts_tasks: bool = False

    def hierarchy(self, controller: str) -> Hierarchy | None:
        """Where `controller` is mounted, if containers use it."""
        return dict(self.controlled).get(controller)

    def hierarchies(self) -> tuple[Hierarchy, ...]:
        """The hierarchies with a cgroup of each container, each once."""
        return tuple(dict.fromkeys(hierarchy for _, hierarchy in self.controlled))


def wanted_controllers(isolation: Iterable[str], launcher: str) -> tuple[str, ...]:
    """Controllers of cgroup v1 that containers need."""
    names = frozenset(isolation)
    wanted = []
    if launcher == "linux":
        wanted.append("freezer")
    if names & {"cgroups/cpu", "cgroups/all"}:
        wanted += ["cpu", "cpuacct"]
    if names & {"cgroups/mem", "cgroups/all"}:
        wanted.append("memory")
    if any(name.startswith("cgroups/") for name in names):
        wanted.append("pids")
    return tuple(wanted)


def plan_cgroups(
    hierarchies: tuple[Hierarchy, ...],
    base: Path,
    isolation: frozenset[str],
    launcher: str,
    *,
    hard_cpu: bool,
    limit_swap: bool = False,
    count_tasks: bool = False,
) -> CgroupPlan:
    """Choose cgroup v1 or v2 as the machine has it.

    Args:
        hierarchies: what is mounted.
        base: `--cgroups_hierarchy`.
        isolation: isolators.
        launcher: ``linux`` needs the freezer (v1) or nothing (v2).
        hard_cpu: `--cgroups_enable_cfs`.
        limit_swap: `--cgroups_limit_swap`.
        count_tasks: `--cgroups_cpu_enable_pids_and_tids_count`.

    Raises:
        InvalidInput: a needed controller is not mounted, or swap cannot be limited.
    """
    limits = any(name.startswith("cgroups/") for name in isolation)
    wanted = wanted_controllers(isolation, launcher)
    if not wanted:
        return CgroupPlan()
    below = tuple(h for h in hierarchies if h.mount == base or base in h.mount.parents)
    unified = next((h for h in below if h.unified and h.mount == base), None)
    cpu = bool(isolation & {"cgroups/cpu", "cgroups/all"})
    memory = bool(isolation & {"cgroups/mem", "cgroups/all"})
    if unified is not None:
        controlled = tuple((name, unified) for name in V2_CONTROLLERS)
        if limit_swap:
            raise InvalidInput(
                [
                    Problem(
                        "flag --cgroups_limit_swap",
                        "cgroup v2",
                        "false: The cgroups v2 isolator does not support limiting swap memory but "
                        "`--cgroups_limit_swap` was provided",
                        "flag-value",
                    )
                ]
            )
        return CgroupPlan(
            *(2, controlled, below, cpu, memory),
            hard_cpu=hard_cpu and cpu,
            counts_tasks=count_tasks and limits,
        )
    by_name = {name: h for h in below if not h.unified for name in h.controllers}
    missing = sorted(set(wanted) - by_name.keys() - {"pids"})
    if missing and not limits:
        # The freezer alone is wanted for a clean end; without it processes are found otherwise.
        return CgroupPlan()
    if missing:
        wanted_text = f"the controllers {', '.join(missing)} mounted below {base}"
        seen = ", ".join(sorted(by_name)) or "no cgroup hierarchy"
        raise InvalidInput([Problem("cgroups", seen, wanted_text, "agent-cgroups")])
    used = tuple((name, by_name[name]) for name in wanted if name in by_name)
    return CgroupPlan(
        *(1, used, below, cpu, memory),
        hard_cpu=hard_cpu and cpu,
        limits_swap=limit_swap and memory,
        counts_tasks=count_tasks and cpu,
    )


@dataclass(frozen=True, slots=True)
class Limits:
    """What a container may use, in CPUs and MiB.

    Requests are guarantees, limits are hard; infinity is no limit.
    """

    cpus: float
    memory_mb: float
    cpus_limit: float | None = None
    memory_limit_mb: float | None = None

    @classmethod
    def of_task(cls, cpus: float, memory_mb: float, limits: dict[str, float]) -> Limits:
        """A command task's container: its resources and the executor's.

        Args:
            cpus: of the task.
            memory_mb: of the task.
            limits: TaskInfo.limits, ``cpus`` and ``mem``.
        """
        return cls(
            cpus + EXECUTOR_CPUS,
            memory_mb + EXECUTOR_MEMORY_MB,
            limits["cpus"] + EXECUTOR_CPUS if "cpus" in limits else None,
            limits["mem"] + EXECUTOR_MEMORY_MB if "mem" in limits else None,
        )

    @property
    def hard_memory(self) -> int | None:
        """Bytes at which the kernel kills; None for no limit."""
        wanted = self.memory_mb if self.memory_limit_mb is None else self.memory_limit_mb
        return None if math.isinf(wanted) else round(wanted * MB)

    @property
    def soft_memory(self) -> int:
        """Bytes that the container is to keep under pressure."""
        return round(self.memory_mb * MB)


def limit_files(plan: CgroupPlan, limits: Limits) -> list[tuple[str, str, str]]:
    """What to write where: (controller, file name, text), in order."""
    files: list[tuple[str, str, str]] = []
    if plan.limits_cpu:
        quota = _quota(plan, limits)
        if plan.version == 1:
            shares = max(MIN_SHARES, int(limits.cpus * 1024))
            files.append(("cpu", "cpu.shares", str(shares)))
            if quota is not None:
                files.append(("cpu", "cpu.cfs_period_us", str(PERIOD_US)))
                files.append(("cpu", "cpu.cfs_quota_us", str(quota)))
        else:
            files.append(("cpu", "cpu.weight", str(min(10000, max(1, int(limits.cpus * 100))))))
            if quota is not None:
                text = "max" if quota < 0 else str(quota)
                files.append(("cpu", "cpu.max", f"{text} {PERIOD_US}"))
    if plan.limits_memory:
        hard = limits.hard_memory
        if plan.version == 1:
            files.append(("memory", "memory.soft_limit_in_bytes", str(limits.soft_memory)))
            text = "-1" if hard is None else str(hard)
            files.append(("memory", "memory.limit_in_bytes", text))
            if plan.limits_swap:
                files.append(("memory", "memory.memsw.limit_in_bytes", text))
        else:
            files.append(("memory", "memory.low", str(limits.soft_memory)))
            files.append(("memory", "memory.max", "max" if hard is None else str(hard)))
    return files


def _quota(plan: CgroupPlan, limits: Limits) -> int | None:
    """Microseconds of CPU time in a period; -1 for no limit, None to leave it alone."""
    if limits.cpus_limit is not None:
        if math.isinf(limits.cpus_limit):
            return -1
        return max(MIN_QUOTA_US, int(limits.cpus_limit * PERIOD_US))
    return max(MIN_QUOTA_US, int(limits.cpus * PERIOD_US)) if plan.hard_cpu else None
