"""What a container wants, what its host allows, and what isolators prepare for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import CAPABILITIES, ContainerInfo, NetworkInfo, RLimit


class ContainerRefused(KubedcosError):
    """The text behind ``Failed to launch container: ``."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A container before its launch.

    Attributes:
        container: what was asked for; None for nothing.
        sandbox: its directory, which is there.
        parent_sandbox: that of the container it is nested in; None for a top-level container.
    """

    container: ContainerInfo | None
    sandbox: Path
    parent_sandbox: Path | None = None

    @property
    def nested(self) -> bool:
        """Whether the container is inside another one."""
        return self.parent_sandbox is not None


@dataclass(frozen=True, slots=True)
class Mount:
    """Arguments of mount(2); `kind` and `options` are empty for a bind."""

    source: str
    target: str
    flags: int
    kind: str = ""
    options: str = ""


@dataclass(slots=True)
class Preparation:
    """What isolators add up to.

    Attributes:
        namespaces: new ones, by the names in /proc/PID/ns.
        mounts: in the container's mount namespace, in this order.
        shared_mounts: mount points of the host that stay shared with it.
        networks: CNI networks by name, in the order of their interfaces.
        hostname: of a container with networks of its own, if it asked for one.
        rlimits: of its processes.
        effective: capabilities that processes start with; None leaves them as they are.
        bounding: capabilities that they can ever get; None as above.
        no_new_privileges: no program gains rights by being executed.
    """

    namespaces: set[str] = field(default_factory=set)
    mounts: list[Mount] = field(default_factory=list)
    shared_mounts: list[str] = field(default_factory=list)
    networks: dict[str, NetworkInfo] = field(default_factory=dict)
    hostname: str | None = None
    rlimits: tuple[RLimit, ...] = ()
    effective: tuple[str, ...] | None = None
    bounding: tuple[str, ...] | None = None
    no_new_privileges: bool = False

    def enclosure(self) -> dict[str, Any]:
        """What `executor.enclosure.enter` needs; networks add to it."""
        return {
            "namespaces": sorted(self.namespaces),
            "mounts": [
                {
                    "source": mount.source,
                    "target": mount.target,
                    "kind": mount.kind,
                    "flags": mount.flags,
                    "options": mount.options,
                }
                for mount in self.mounts
            ],
            "shared_mounts": list(self.shared_mounts),
        }

    def rights(self) -> dict[str, Any]:
        """What `executor.command.exec_command` needs: limits and capabilities."""
        found: dict[str, Any] = {}
        if self.rlimits:
            found["rlimits"] = [
                {
                    name: value
                    for name in ("type", "soft", "hard")
                    if (value := getattr(limit, name)) is not None
                }
                for limit in self.rlimits
            ]
        if self.effective is not None or self.bounding is not None:
            found["capabilities"] = {
                "effective": _numbers(self.effective),
                "bounding": _numbers(self.bounding),
            }
        if self.no_new_privileges:
            found["no_new_privileges"] = True
        return found


def _numbers(names: tuple[str, ...] | None) -> list[int] | None:
    return None if names is None else [CAPABILITIES.index(name) for name in names]
