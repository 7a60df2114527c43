"""Unfit hosts are named; converged hosts are fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubedcos.topology.hostchecks import Limits, host_problems

HOST = {"name": "a1", "address": "10.0.0.11", "functions": ["agent"]}
LIMITS = Limits(
    memory_mb={"all": 900, "agent": 1900, "master": 64000},
    disks=[
        {"path": "/", "size_mb": 4000, "free_mb": 500},
        {"path": "/var/lib/mesos", "size_mb": 8000, "functions": ["agent"]},
        {"path": "/srv", "size_mb": 99999, "functions": ["bootstrap"]},
    ],
    ports=[
        {"port": 5051, "protocol": "tcp", "units": ["mesos-agent.service"], "functions": ["agent"]},
        {"port": 5050, "protocol": "tcp", "units": ["x.service"], "functions": ["master"]},
        {
            "port": 53,
            "protocol": "udp",
            "units": ["kubedcos-*.service"],
            "addresses": ["127.0.0.1", "host"],
        },
        {"port": 4789, "protocol": "udp", "units": ["kernel"]},
    ],
    features=["vxlan", "xfs"],
    clock_skew_s=2,
    now=1005.0,
    underlay_mtu=1500,
)


def facts(**changed: Any) -> dict[str, Any]:
    return {
        "time": 1001.0,
        "controller_time": 1000.0,
        "user": 0,
        "machine": "x86_64",
        "kernel": "6.1.0",
        "python": [3, 11, 2],
        "systemd": True,
        "memory_mb": 2000,
        "disks": {
            "/": {"size_mb": 5000, "free_mb": 800},
            "/var/lib/mesos": {"size_mb": 9000, "free_mb": 800},
            "/srv": {"size_mb": 10, "free_mb": 10},
        },
        "addresses": {"127.0.0.1": 65536, "10.0.0.11": 1500},
        "sockets": [],
        "features": {"vxlan": True, "xfs": None},
        **changed,
    }


def socket(port: int, protocol: str, address: str, unit: str, program: str = "p") -> dict[str, Any]:
    return {
        "port": port,
        "protocol": protocol,
        "address": address,
        "unit": unit,
        "program": program,
    }


def ids(found: dict[str, Any], limits: Limits = LIMITS) -> list[str]:
    return [problem.id for problem in host_problems(HOST, {"facts": found}, limits)]


def test_a_fit_host_has_no_problem() -> None:
    assert ids(facts()) == []


def test_what_is_just_enough_is_enough() -> None:
    just = {"/": {"size_mb": 4000, "free_mb": 500}, "/var/lib/mesos": {"size_mb": 8000}}
    for moment in (998.0, 1007.0):
        assert ids(facts(python=[3, 9, 0], memory_mb=1900, time=moment, disks=just)) == []


def test_ports_of_our_own_services_are_fine() -> None:
    ours = [
        socket(5051, "tcp", "0.0.0.0", "mesos-agent.service"),
        socket(53, "udp", "10.0.0.11", "kubedcos-dns.service"),
        socket(4789, "udp", "0.0.0.0", "", ""),
    ]
    assert ids(facts(sockets=ours)) == []


@pytest.mark.parametrize(
    "taken",
    [
        socket(5051, "tcp", "0.0.0.0", "apache2.service"),
        socket(5051, "tcp", "127.0.0.1", "session-1.scope"),
        socket(53, "udp", "::", "dnsmasq.service"),
        socket(53, "udp", "10.0.0.11", "dnsmasq.service"),
        socket(53, "udp", "127.0.0.1", "dnsmasq.service"),
        socket(4789, "udp", "0.0.0.0", "vpn.service"),
    ],
)
def test_ports_of_strangers_are_found(taken: dict[str, Any]) -> None:
    (problem,) = host_problems(HOST, {"facts": facts(sockets=[taken])}, LIMITS)
    assert problem.id == "port-taken"
    assert taken["unit"] in problem.seen


def test_a_program_without_a_unit_is_not_taken_for_the_kernel() -> None:
    tunnel = {"port": 4789, "protocol": "udp", "units": ["kernel"]}
    limits = replace(LIMITS, ports=[tunnel])
    kernels = {**socket(4789, "udp", "0.0.0.0", ""), "program": ""}
    strangers = {**kernels, "program": "python3"}
    assert ids(facts(sockets=[kernels]), limits) == []
    (problem,) = host_problems(HOST, {"facts": facts(sockets=[strangers])}, limits)
    assert problem.seen == "held by python3 (no unit) at 0.0.0.0"


def test_large_disks_are_written_out() -> None:
    limits = replace(LIMITS, disks=[{"path": "/", "free_mb": 99999999}])
    (problem,) = host_problems(HOST, {"facts": facts()}, limits)
    assert problem.wanted == "99999999 MB or more"


@pytest.mark.parametrize(
    "harmless",
    [
        socket(5050, "tcp", "0.0.0.0", "stranger.service"),
        socket(5051, "udp", "0.0.0.0", "stranger.service"),
        socket(53, "udp", "127.0.0.53", "systemd-resolved.service"),
    ],
)
def test_ports_that_this_host_does_not_need_are_fine(harmless: dict[str, Any]) -> None:
    assert ids(facts(sockets=[harmless])) == []


@pytest.mark.parametrize(
    ("changed", "identifier"),
    [
        ({"user": 1000}, "host-not-root"),
        ({"machine": "aarch64"}, "host-architecture"),
        ({"python": [3, 8, 10]}, "python-too-old"),
        ({"systemd": False}, "systemd-missing"),
        ({"memory_mb": 1899}, "memory-too-small"),
        ({"features": {"vxlan": False, "xfs": True}}, "kernel-feature-missing"),
        ({"addresses": {"192.168.0.1": 1500}}, "host-address-foreign"),
        ({"addresses": {"10.0.0.11": 1450}}, "mtu-too-large"),
        ({"time": 997.9}, "clock-skew"),
        ({"time": 1007.1}, "clock-skew"),
    ],
)
def test_unfit_hosts_are_named(changed: dict[str, Any], identifier: str) -> None:
    assert ids(facts(**changed)) == [identifier]


@pytest.mark.parametrize("time", [998.1, 1004.0, 1006.9])
def test_a_slow_answer_is_no_skew(time: float) -> None:
    assert ids(facts(time=time)) == []


@pytest.mark.parametrize(
    ("root", "identifier"),
    [
        ({"size_mb": 5000, "free_mb": 499}, "disk-full"),
        ({"size_mb": 3999, "free_mb": 800}, "disk-too-small"),
    ],
)
def test_disks_are_measured(root: dict[str, int], identifier: str) -> None:
    found = facts()
    found["disks"]["/"] = root
    assert ids(found) == [identifier]


def test_an_unreachable_host_is_a_finding() -> None:
    (problem,) = host_problems(HOST, {"unreachable": True, "msg": "No route\nmore"}, LIMITS)
    assert problem.id == "host-unreachable"
    assert "No route" in problem.seen
    assert "more" not in problem.seen


def test_a_host_without_python_is_a_finding() -> None:
    (problem,) = host_problems(HOST, {"msg": "/usr/bin/python3: not found"}, LIMITS)
    assert problem.id == "host-probe-failed"


def test_limits_of_other_functions_do_not_count() -> None:
    assert ids(facts(), replace(LIMITS, memory_mb={"master": 64000})) == []
