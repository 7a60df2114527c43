"""Load and memory of the host, as Mesos' processes tell them."""

from __future__ import annotations

import os
from pathlib import Path


def memory_info() -> dict[str, int]:
    """/proc/meminfo, in kB."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    return {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines)}


def system_statistics() -> dict[str, float]:
    """`/system/stats.json`, sorted by name."""
    one, five, fifteen = os.getloadavg()
    memory = memory_info()
    return {
        "avg_load_15min": fifteen,
        "avg_load_1min": one,
        "avg_load_5min": five,
        "cpus_total": os.cpu_count() or 1,
        "mem_free_bytes": memory.get("MemFree", 0) * 1024,
        "mem_total_bytes": memory.get("MemTotal", 0) * 1024,
    }


def system_metrics() -> dict[str, float]:
    """The same as metrics."""
    return {
        "system/" + name.removeprefix("avg_"): float(value)
        for name, value in system_statistics().items()
    }
