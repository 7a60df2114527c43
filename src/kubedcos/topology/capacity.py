"""What the agents of an inventory will offer, for whoever judges whether clusters fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubedcos.errors import Problem

ALL_PORTS = ((1025, 65535),)


@dataclass(frozen=True, slots=True)
class Agent:
    """What one agent can offer.

    Attributes:
        name: inventory name.
        region: data centre.
        cpus: number of CPUs; None when the agent finds out itself.
        mem: memory in MB; None as above.
        disk: disk in MB; None as above.
        ports: first and last numbers.
        disks: kind as Mesos has it, root and MB (or None) of disks beside the root disk.
        role: Mesos role that everything is reserved for; ``*`` is everybody.
    """

    name: str
    region: str
    cpus: float | None = None
    mem: float | None = None
    disk: float | None = None
    zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    ports: tuple[tuple[int, int], ...] = ALL_PORTS
    disks: tuple[tuple[str, str, float | None], ...] = ()
    role: str = "*"


Judge = Callable[[Sequence[Agent], Sequence[Any], str], list[Problem]]
"""Says of agents, the options of clusters and the masters' region what does not fit."""
