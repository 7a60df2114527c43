"""What must stay the same when nothing is to be done: files, services and Mesos' tasks of a host.

Prints one JSON object. Runs on the hosts, with their own Python and nothing else.
"""

import hashlib
import json
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

# Roles write only below these; what services keep for themselves is not theirs.
TREES = ("/etc", "/opt", "/srv", "/usr/local")
# Compiled when Python first reads a module.
PASSED_OVER = "__pycache__"


def files(folder: Path) -> Iterator[tuple[str, list[object]]]:
    """Each file below `folder` with its mode, owner, time and content."""
    for path in sorted(folder.iterdir()):
        seen = path.lstat()
        facts: list[object] = [oct(seen.st_mode), seen.st_uid, seen.st_gid]
        if stat.S_ISDIR(seen.st_mode):
            # A mount is a disk that tasks keep their data on.
            if path.name != PASSED_OVER and not path.is_mount():
                yield from files(path)
        elif stat.S_ISLNK(seen.st_mode):
            yield str(path), [*facts, str(path.readlink())]
        elif stat.S_ISREG(seen.st_mode):
            # The time too: a file written again with the same content was written.
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            yield str(path), [*facts, seen.st_mtime_ns, digest]


def services() -> Iterator[tuple[str, dict[str, str]]]:
    """Start of every running service, by unit."""
    properties = "Id,MainPID,ExecMainStartTimestampMonotonic,NRestarts"
    shown = subprocess.run(
        ["systemctl", "show", "--state=running", f"--property={properties}", "*.service"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for block in shown.strip().split("\n\n"):
        facts = dict(line.split("=", 1) for line in block.splitlines())
        # Sessions such as the one that this runs in come and go.
        if not facts["Id"].startswith(("user@", "user-runtime-dir@", "systemd-hostnamed")):
            yield facts.pop("Id"), facts


def tasks(master: str) -> Iterator[tuple[str, str]]:
    """Identifier and state of every task that Mesos knows, those that ended included."""
    with urllib.request.urlopen(master + "/state", timeout=15) as answer:
        state = json.load(answer)
    for framework in state["frameworks"] + state["completed_frameworks"]:
        for task in framework["tasks"] + framework["completed_tasks"]:
            yield task["id"], task["state"]


if __name__ == "__main__":
    json.dump(
        {
            "files": {key: value for tree in TREES for key, value in files(Path(tree))},
            "services": dict(services()),
            "tasks": dict(tasks(sys.argv[1])) if len(sys.argv) > 1 else {},
        },
        sys.stdout,
    )
