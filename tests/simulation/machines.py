"""Agents as stories describe them, and the values of Mesos that this takes."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.mesos import messages as wire


def domain(region: str, zone: str) -> wire.DomainInfo:
    return wire.DomainInfo(wire.FaultDomain(wire.RegionInfo(region), wire.ZoneInfo(zone)))


def scalar(name: str, value: float) -> wire.Resource:
    return wire.Resource(name=name, type="SCALAR", scalar=wire.Scalar(value))


def ports(low: int, high: int) -> wire.Resource:
    ranges = wire.Ranges((wire.Range(low, high),))
    return wire.Resource(name="ports", type="RANGES", ranges=ranges)


@dataclass(eq=False)
class SimulatedAgent:
    hostname: str
    region: str
    zone: str
    cpus: float = 4.0
    mem: float = 8192.0
    disk: float = 20480.0

    def info(self) -> wire.AgentInfo:
        sizes = (("cpus", self.cpus), ("mem", self.mem), ("disk", self.disk))
        resources = (*(scalar(name, value) for name, value in sizes), ports(1025, 29999))
        return wire.AgentInfo(
            hostname=self.hostname,
            resources=resources,
            domain=domain(self.region, self.zone),
            checkpoint=True,
        )
