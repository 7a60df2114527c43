"""What the machine has: resources that Mesos' agent finds by itself, load and memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from kubedcos.embedded.host_statistics import memory_info
from kubedcos.mesos.resource_text import parse_resources
from kubedcos.mesos.resources import Resources

GB_IN_MB: Final = 1024
DEFAULT_PORTS: Final = "[31000-32000]"


def offered_memory(total: int) -> int:
    """MB of memory to offer of `total`: all but 1 GB, or half when that is less than 2 GB."""
    return total - GB_IN_MB if total >= 2 * GB_IN_MB else total // 2


def offered_disk(total: int) -> int:
    """MB of disk to offer of `total`: all but 5 GB, or half when that is less than 10 GB."""
    return total - 5 * GB_IN_MB if total >= 10 * GB_IN_MB else total // 2


def detected_resources(given: Resources, work_dir: Path, default_role: str) -> Resources:
    """The resources that were not given, as Mesos detects them.

    Args:
        given: what `--resources` says; any disk in it switches the detection of disks off.
        work_dir: the disk whose size counts; need not exist yet.
        default_role: see `--default_role`.
    """
    names = given.names()
    found = []
    if "cpus" not in names:
        found.append(f"cpus:{os.cpu_count() or 1}")
    if "mem" not in names:
        found.append(f"mem:{offered_memory(memory_total() >> 20)}")
    if "disk" not in names:
        found.append(f"disk:{offered_disk(disk_total(work_dir) >> 20)}")
    if "ports" not in names:
        found.append(f"ports:{DEFAULT_PORTS}")
    return parse_resources(";".join(found), default_role=default_role)


def memory_total() -> int:
    """Bytes of memory."""
    return memory_info().get("MemTotal", 0) * 1024


def disk_total(path: Path) -> int:
    """Bytes of the file system that holds `path`, or that its first existing parent is on."""
    while not path.exists():
        path = path.parent
    size = os.statvfs(path)
    return size.f_blocks * size.f_frsize


def boot_id() -> str:
    """Changes with every boot of the kernel."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
