"""What a task sends to the scheduler and what it gets back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from kubedcos.errors import InvalidInput, Problem

PRIVATE = "/run/kubedcos-task"
"""The launcher's tmpfs, which only the task sees; relative file names are below it."""
SANDBOX_PROOF = "kubedcos-proof"
"""File in the sandbox into which the launcher writes the hash of its request."""


class Facts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the launcher found on the task's host.

    Attributes:
        hostname: lower case; the node's name.
        sandbox: the task's folder.
        cpus: CPUs that are online.
        mem_kb: the machine's memory in KiB.
        disk_bytes: size of the filesystem that images and logs of nodes are on.
        may_raise_priority: whether the task has CAP_SYS_RESOURCE.
        volumes: by volume, the folders in it down to the third level, relative to it.
    """

    hostname: str
    sandbox: str
    cpus: int
    mem_kb: int
    disk_bytes: int
    may_raise_priority: bool
    volumes: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)


class MaterialRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request for material; see the launcher."""

    task_id: str
    nonce: str
    requests: dict[str, str]
    facts: Facts


def decode_request(body: bytes) -> MaterialRequest:
    """The request in `body`.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return msgspec.json.decode(body, type=MaterialRequest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        problem = Problem("body", str(error), "a request for material", id="bad-request")
        raise InvalidInput([problem]) from None


@dataclass(frozen=True, slots=True)
class File:
    """A file that the launcher writes; relative paths lie in its private place."""

    path: str
    text: str
    mode: int = 0o600

    def __repr__(self) -> str:
        """Without the text, which may be a key."""
        return f"File({self.path!r}, …, {self.mode:#o})"


@dataclass(frozen=True, slots=True)
class Payload:
    """All that a task needs to become its component.

    Attributes:
        argv: the component's program, absolute, and its arguments.
        files: what to write first.
        environment: the component's environment besides PATH.
        wait_for: hosts and ports to wait for before it starts.
        wait_for_one: likewise, of which one is enough.
        directories: absolute paths that have to exist, for root alone.
        remove: absolute paths of folders that must not be there any more.
    """

    argv: tuple[str, ...]
    files: tuple[File, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    wait_for: tuple[tuple[str, int], ...] = ()
    wait_for_one: tuple[tuple[str, int], ...] = ()
    directories: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the launcher reads it."""
        return {
            "argv": list(self.argv),
            "files": [
                {"path": file.path, "text": file.text, "mode": file.mode} for file in self.files
            ],
            "environment": dict(self.environment),
            "wait_for": [list(place) for place in self.wait_for],
            "directories": list(self.directories),
            **({"wait_for_one": [list(p) for p in self.wait_for_one]} if self.wait_for_one else {}),
            **({"remove": list(self.remove)} if self.remove else {}),
        }


def private(name: str) -> str:
    """Absolute path of a file in the launcher's private place."""
    return f"{PRIVATE}/{name}"
