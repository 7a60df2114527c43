"""Programs that run on agents, outside this package: Python's standard library only, 3.9 or later.

`kubedcos_task` is what Mesos fetches and starts. The supervisors and the balancer travel to the
task over TLS with the rest of its files. The balancer also runs on the hosts of the framework
scheduler.
"""

from __future__ import annotations

import hashlib
from importlib import resources

LAUNCHER = "kubedcos_task.py"
FETCHED_NAME = "kubedcos-task"
"""Name of the launcher on the artefact server and in the sandbox."""


def source(name: str = LAUNCHER) -> bytes:
    """Bytes of one of the programs of this folder."""
    return resources.files(__name__).joinpath(name).read_bytes()


def sha256(name: str = LAUNCHER) -> str:
    """Hexadecimal SHA-256 of one of the programs of this folder."""
    return hashlib.sha256(source(name)).hexdigest()
