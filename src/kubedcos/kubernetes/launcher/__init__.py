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


def runnable(folder: str, main: str, *modules: str) -> dict[str, str]:
    """Texts of a folder that ``python3 -I FOLDER`` runs, by path.

    Args:
        folder: its path.
        main: the program of this folder that runs.
        modules: others of this folder that it imports, under the names they have here.
    """
    package = __name__.split(".")
    return {
        f"{folder}/__main__.py": source(main).decode(),
        **{
            "/".join((folder, *package[:end], "__init__.py")): ""
            for end in range(1, len(package) + 1)
        },
        **{"/".join((folder, *package, name)): source(name).decode() for name in modules},
    }
