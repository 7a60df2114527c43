"""What a host must be like, compared with what the probe module found there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from kubedcos.errors import Problem

# Wildcard addresses take a port from every address of the host.
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  compared, not bound


@dataclass(frozen=True, slots=True)
class Limits:
    """What hosts must offer.

    Attributes:
        memory_mb: function (or ``all``) → total memory in MB.
        disks: mappings with ``path``, ``free_mb``, ``size_mb`` and optionally ``functions``.
        ports: mappings with ``port``, ``protocol``, ``units`` (shell patterns of systemd units
            that may hold it) and optionally ``functions`` and ``addresses``.
        features: kernel features.
        clock_skew_s: largest certain difference to the control machine's clock in seconds.
        now: the control machine's clock after the last host answered, in seconds since 1970.
        underlay_mtu: MTU in bytes that the overlays count on.
        machine: processor architecture that the artefacts are built for.
    """

    memory_mb: Mapping[str, float]
    disks: Sequence[Mapping[str, Any]]
    ports: Sequence[Mapping[str, Any]]
    features: Sequence[str]
    clock_skew_s: float
    now: float
    underlay_mtu: int
    machine: str = "x86_64"


def host_problems(
    host: Mapping[str, Any], probe: Mapping[str, Any], limits: Limits
) -> list[Problem]:
    """What makes the host unfit.

    Args:
        host: name, address and functions.
        probe: result of the module ``kubedcos_probe``, or of a failed attempt to run it.
        limits: what is wanted.
    """
    where = f"host {host['name']}"
    if probe.get("unreachable"):
        return [
            Problem(
                where,
                f"no connection to {host.get('address')}: {_first_line(probe.get('msg'))}",
                "a connection by SSH",
                "host-unreachable",
                "Is it up, and are ansible_host, ansible_user and the key right?",
            )
        ]
    if "facts" not in probe:
        return [
            Problem(
                where,
                f"the probe failed: {_first_line(probe.get('msg') or probe.get('module_stderr'))}",
                "Python 3.9 or later and root rights",
                "host-probe-failed",
                "Install python3, or set ansible_python_interpreter and ansible_become.",
            )
        ]
    facts = probe["facts"]
    functions = {"all", *host.get("functions", [])}
    problems: list[Problem] = []
    problems += _system(where, facts, limits)
    problems += _memory(where, facts, functions, limits)
    problems += _disks(where, facts, functions, limits)
    problems += _features(where, facts, limits)
    problems += _ports(where, host, facts, functions, limits)
    problems += _network(where, host, facts, limits)
    return problems


def _first_line(text: object) -> str:
    lines = str(text or "no reason given").strip().splitlines()
    return lines[0][:200] if lines else "no reason given"


def _system(where: str, facts: Mapping[str, Any], limits: Limits) -> Iterable[Problem]:
    if facts["user"] != 0:
        yield Problem(
            where, f"user id {facts['user']}", "root (0)", "host-not-root", "Set ansible_become."
        )
    if facts["machine"] != limits.machine:
        yield Problem(where, facts["machine"], limits.machine, "host-architecture")
    if tuple(facts["python"][:2]) < (3, 9):
        version = ".".join(map(str, facts["python"]))
        yield Problem(where, f"Python {version}", "3.9 or later", "python-too-old")
    if not facts["systemd"]:
        yield Problem(where, "no systemd", "systemd as first process", "systemd-missing")
    # The host looked at its clock at some moment between these two of ours.
    asked, answered = facts["controller_time"], limits.now
    skew = min(facts["time"] - asked, 0) or max(facts["time"] - answered, 0)
    if abs(skew) > limits.clock_skew_s:
        yield Problem(
            where,
            f"a clock {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} ours",
            f"at most {limits.clock_skew_s:g} s",
            "clock-skew",
            "Set the time and let chrony keep it.",
        )


def _memory(
    where: str, facts: Mapping[str, Any], functions: set[str], limits: Limits
) -> Iterable[Problem]:
    needed = max((limits.memory_mb[f] for f in functions if f in limits.memory_mb), default=0)
    if facts["memory_mb"] < needed:
        yield Problem(
            where, f"{facts['memory_mb']} MB memory", f"{needed} MB or more", "memory-too-small"
        )


def _disks(
    where: str, facts: Mapping[str, Any], functions: set[str], limits: Limits
) -> Iterable[Problem]:
    for disk in limits.disks:
        found = facts["disks"].get(disk["path"])
        if found is None or not functions & set(disk.get("functions") or ["all"]):
            continue
        for key, name in (("free_mb", "free"), ("size_mb", "in all")):
            if key in disk and found[key] < disk[key]:
                yield Problem(
                    f"{where}: {disk['path']}",
                    f"{found[key]} MB {name}",
                    f"{disk[key]} MB or more",
                    "disk-full" if key == "free_mb" else "disk-too-small",
                )


def _features(where: str, facts: Mapping[str, Any], limits: Limits) -> Iterable[Problem]:
    for feature in limits.features:
        # True and None (not to be found out) are fine; the role that needs it will say more.
        if facts["features"].get(feature) is False:
            yield Problem(
                where,
                f"kernel {facts['kernel']} without {feature}",
                f"a kernel with {feature}",
                "kernel-feature-missing",
                "Install the distribution's kernel with its modules.",
            )


def _ports(
    where: str,
    host: Mapping[str, Any],
    facts: Mapping[str, Any],
    functions: set[str],
    limits: Limits,
) -> Iterable[Problem]:
    for wanted in limits.ports:
        if not functions & set(wanted.get("functions") or ["all"]):
            continue
        for socket in facts["sockets"]:
            if not _collides(wanted, socket, str(host.get("address"))):
                continue
            # Only a socket that no program has open is the kernel's own, such as a tunnel's.
            unit = socket["unit"] or ("no unit" if socket["program"] else "kernel")
            if any(fnmatch(unit, pattern) for pattern in wanted["units"]):
                continue
            holder = socket["program"] or unit
            yield Problem(
                f"{where}: port {wanted['port']}/{wanted['protocol']}",
                f"held by {holder} ({unit}) at {socket['address']}",
                f"a free port for {', '.join(wanted['units'])}",
                "port-taken",
                "Stop that program or give it another port.",
            )
            break


def _collides(wanted: Mapping[str, Any], socket: Mapping[str, Any], address: str) -> bool:
    if (wanted["port"], wanted["protocol"]) != (socket["port"], socket["protocol"]):
        return False
    mine = wanted.get("addresses")
    if not mine or socket["address"] in _ANY:
        return True
    return socket["address"] in {address if item == "host" else item for item in mine}


def _network(
    where: str, host: Mapping[str, Any], facts: Mapping[str, Any], limits: Limits
) -> Iterable[Problem]:
    interfaces = facts["addresses"]
    address = str(host.get("address"))
    if not interfaces:
        return
    if address not in interfaces:
        yield Problem(
            where,
            f"{address} is on none of its interfaces ({', '.join(sorted(interfaces))})",
            "an address of the host itself",
            "host-address-foreign",
            "Overlays need addresses that all hosts reach without NAT.",
        )
        return
    mtu = interfaces[address]
    if mtu < limits.underlay_mtu:
        yield Problem(
            where,
            f"MTU {mtu} at {address}",
            f"{limits.underlay_mtu} or more, as underlay_mtu says",
            "mtu-too-large",
            f"Set underlay_mtu to {mtu}.",
        )
