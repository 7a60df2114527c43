"""The programs that run on agents, started as they are there: with the standard library alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from kubedcos.kubernetes import launcher

FOLDER = Path(launcher.__file__).parent
MOUNTINFO = """\
20 1 0:1 / / rw - ext4 /dev/vda rw
30 20 0:2 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
31 20 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:4 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd
33 20 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 20 0:6 / /var/lib/kubedcos rw - xfs /dev/vdb rw
"""
"""/proc/self/mountinfo of a host with cgroup v1, and a disk at /var/lib/kubedcos."""


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(FOLDER / name), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
