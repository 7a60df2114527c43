#!/usr/bin/python3
"""Make the kernel hold the overlays that a host should have, and nothing of ours besides.

Reads the desired state (/etc/kubedcos/overlay.json), asks the kernel what is there, and changes
only the differences. Runs at boot as a systemd service and inside the Ansible module
``kubedcos_overlay``; it needs Python's standard library, iproute2, ethtool and nftables only.

What is ours carries a mark: devices the alias ``kubedcos overlay``, routes and rules the protocol
number 75, firewall rules a table of their own. Nothing without the mark is removed.

Exit codes: 0 done or nothing to do, 1 failed, 3 changes pending (``--check``).
"""

from __future__ import annotations

import argparse
import hashlib
import ipaddress
import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATE_FILE = "/etc/kubedcos/overlay.json"
# In a directory that a reboot empties: then the rules are gone too.
FIREWALL_RECORD = "/run/kubedcos/overlay-firewall.json"
FIREWALL_TABLE = ("inet", "kubedcos_overlay")
ALIAS = "kubedcos overlay"
PROTOCOL = "75"


class OverlayError(Exception):
    """What stands in the way, in words for the operator."""


@dataclass(frozen=True)
class Change:
    """One difference between kernel and desired state, and the command that removes it.

    Attributes:
        text: what an operator reads.
        tool: program to run; ``sysctl`` and ``nft`` are done without a batch.
        words: its arguments.
    """

    text: str
    tool: str
    words: tuple[str, ...]


@dataclass
class Kernel:
    """What the kernel holds, as far as overlays are concerned.

    Attributes:
        links: interface name → what ``ip -j -d link`` says.
        addresses: interface → set of ``address/prefix``.
        fdb: interface → MAC → underlay address.
        neighbours: interface → address → MAC, permanent ones only.
        routes: (table, destination) → (gateway, interface, source), ours only.
        rules: (source network, table, priority), ours only.
        sysctl: key → value.
        offloads: interface → names of the features that are on.
        firewall: whether the table is there, unchanged since it was loaded from the same text.
        firewall_present: whether the table is there at all.
    """

    links: dict[str, dict[str, Any]] = field(default_factory=dict)
    addresses: dict[str, set[str]] = field(default_factory=dict)
    fdb: dict[str, dict[str, str]] = field(default_factory=dict)
    neighbours: dict[str, dict[str, str]] = field(default_factory=dict)
    routes: dict[tuple[str, str], tuple[str, str, str]] = field(default_factory=dict)
    rules: set[tuple[str, str, int]] = field(default_factory=set)
    sysctl: dict[str, str] = field(default_factory=dict)
    offloads: dict[str, set[str]] = field(default_factory=dict)
    firewall: bool = False
    firewall_present: bool = False

    def forget(self, name: str) -> None:
        """Drop what goes when an interface goes."""
        self.links.pop(name, None)
        for entries in (self.addresses, self.fdb, self.neighbours):
            entries.pop(name, None)
        self.routes = {key: value for key, value in self.routes.items() if value[1] != name}


def differences(desired: dict[str, Any], kernel: Kernel) -> list[Change]:
    """Changes that turn the kernel's state into the desired one, in the order to make them."""
    changes = [
        Change(f"{key} is {kernel.sysctl.get(key)}, wanted {value}", "sysctl", (key, value))
        for key, value in sorted(desired["sysctl"].items())
        if kernel.sysctl.get(key) != value
    ]
    wanted_links = {
        item[part]["name"] for item in desired["overlays"] for part in ("device", "bridge")
    }
    for name, link in sorted(kernel.links.items()):
        if str(link.get("ifalias", "")).startswith(ALIAS) and name not in wanted_links:
            changes.append(_ip(f"device {name} belongs to no overlay", "link", "del", "dev", name))
            kernel.forget(name)
    routes: dict[tuple[str, str], tuple[str, str, str]] = {}
    rules: set[tuple[str, str, int]] = set()
    for item in desired["overlays"]:
        changes += _device(item, kernel)
        changes += _bridge(item, kernel)
        changes += _peers(item, kernel)
        routes.update(_wanted_routes(item))
        rule = item["rule"]
        rules.add((rule["from"], str(rule["table"]), int(rule["priority"])))
    changes += _route_changes(routes, kernel)
    changes += _rule_changes(rules, kernel)
    text = desired["firewall"]
    if text and not kernel.firewall:
        changes.append(Change("firewall table differs", "nft", (text,)))
    elif not text and kernel.firewall_present:
        changes.append(Change("firewall table is not wanted", "nft", ("",)))
    return changes


def _ip(text: str, *words: str) -> Change:
    return Change(text, "ip", words)


def _device(item: dict[str, Any], kernel: Kernel) -> list[Change]:
    want = item["device"]
    name = want["name"]
    link = kernel.links.get(name)
    changes: list[Change] = []
    if link is not None:
        info = link.get("linkinfo", {})
        if info.get("info_kind") != "vxlan":
            raise OverlayError(
                f"{name} exists and is no VXLAN device; wanted one for overlay {item['name']}. "
                "Remove it or rename the overlay."
            )
        data = info.get("info_data", {})
        seen = (data.get("id"), data.get("port"), data.get("local"), data.get("learning", True))
        if seen != (want["vni"], want["port"], want["local"], False):
            changes.append(_ip(f"device {name} has other tunnel settings", "link", "del", name))
            kernel.forget(name)
            link = None
    if link is None:
        changes.append(
            _ip(
                f"device {name} is missing",
                *("link", "add", name, "address", want["mac"], "mtu", str(want["mtu"])),
                *("type", "vxlan", "id", str(want["vni"]), "dstport", str(want["port"])),
                *("local", want["local"], "nolearning", "noudpcsum"),
            )
        )
    changes += _link_settings(item, want, kernel, made_with=("address", "mtu"))
    on = kernel.offloads.get(name, set()) if link is not None else set(want["offloads_off"])
    changes += [
        Change(f"{feature} is on at {name}", "ethtool", ("-K", name, feature, "off"))
        for feature in want["offloads_off"]
        if feature in on
    ]
    return changes


def _bridge(item: dict[str, Any], kernel: Kernel) -> list[Change]:
    want = item["bridge"]
    name = want["name"]
    link = kernel.links.get(name)
    changes: list[Change] = []
    if link is None:
        # Its MTU is set afterwards: one that it is made with goes when its last port does
        # (net/bridge/br_if.c, br_mtu_auto_adjust).
        words = ("link", "add", name, "address", want["mac"], "type", "bridge")
        changes.append(_ip(f"bridge {name} is missing", *words))
    elif link.get("linkinfo", {}).get("info_kind") != "bridge":
        raise OverlayError(
            f"{name} exists and is no bridge; wanted one for overlay {item['name']}. "
            "Remove it or rename the overlay."
        )
    return changes + _link_settings(item, want, kernel, made_with=("address",))


def _link_settings(
    item: dict[str, Any], want: dict[str, Any], kernel: Kernel, made_with: tuple[str, ...]
) -> list[Change]:
    name = want["name"]
    link = kernel.links.get(name)
    new = {"address": want["mac"], "mtu": want["mtu"]}
    seen = link or {key: value for key, value in new.items() if key in made_with}
    changes: list[Change] = []

    def setting(text: str, *words: str) -> None:
        changes.append(_ip(f"{name} {text}", "link", "set", "dev", name, *words))

    alias = f"{ALIAS} {item['name']}"
    if seen.get("ifalias") != alias:
        setting("lacks our mark", "alias", f'"{alias}"')
    if seen.get("address") != want["mac"]:
        setting(f"has MAC {seen.get('address')}, wanted {want['mac']}", "address", want["mac"])
    if seen.get("mtu") != want["mtu"]:
        has = seen.get("mtu", "of its own")
        setting(f"has MTU {has}, wanted {want['mtu']}", "mtu", str(want["mtu"]))
    if seen.get("inet6_addr_gen_mode", "none" if link else "") != "none":
        setting("makes IPv6 addresses of its own", "addrgenmode", "none")
    if "UP" not in seen.get("flags", []):
        setting("is down", "up")
    present = kernel.addresses.get(name, set())
    changes += [
        _ip(f"{name} has {address}", "addr", "del", address, "dev", name)
        for address in sorted(present - {want["address"]})
    ]
    if want["address"] not in present:
        text = f"{name} lacks {want['address']}"
        changes.append(_ip(text, "addr", "replace", want["address"], "dev", name))
    return changes


def _peers(item: dict[str, Any], kernel: Kernel) -> list[Change]:
    name = item["device"]["name"]
    changes: list[Change] = []
    fdb = {peer["mac"]: peer["underlay"] for peer in item["peers"]}
    present = kernel.fdb.get(name, {})
    for mac in sorted(set(present) - set(fdb)):
        words = ("fdb", "del", mac, "dev", name, "dst", present[mac], "self")
        changes.append(Change(f"{name} sends {mac} to {present[mac]}", "bridge", words))
    neighbours = {peer["vtep"]: peer["mac"] for peer in item["peers"]}
    known = kernel.neighbours.get(name, {})
    changes += [
        _ip(f"{name} knows the neighbour {address}", "neigh", "del", address, "dev", name)
        for address in sorted(set(known) - set(neighbours))
    ]
    for peer in item["peers"]:
        if present.get(peer["mac"]) != peer["underlay"]:
            changes.append(
                Change(
                    f"{name} does not send {peer['mac']} to {peer['host']}",
                    "bridge",
                    (
                        *("fdb", "replace", peer["mac"], "dev", name, "dst", peer["underlay"]),
                        *("self", "permanent"),
                    ),
                )
            )
        if known.get(peer["vtep"]) != peer["mac"]:
            changes.append(
                _ip(
                    f"{name} does not know the tunnel address of {peer['host']}",
                    *("neigh", "replace", peer["vtep"], "lladdr", peer["mac"], "dev", name),
                    *("nud", "permanent"),
                )
            )
    return changes


def _wanted_routes(item: dict[str, Any]) -> dict[tuple[str, str], tuple[str, str, str]]:
    name = item["device"]["name"]
    gateway = item["bridge"]["address"].partition("/")[0]
    routes: dict[tuple[str, str], tuple[str, str, str]] = {}
    for peer in item["peers"]:
        routes["main", peer["slice"]] = (peer["vtep"], name, gateway)
        # Packets of containers to cluster hosts keep their source: the underlay's routers know
        # nothing of overlay addresses, so they take the tunnel too.
        routes[str(item["rule"]["table"]), peer["underlay"]] = (peer["vtep"], name, "")
    return routes


def _route_changes(
    routes: dict[tuple[str, str], tuple[str, str, str]], kernel: Kernel
) -> list[Change]:
    changes: list[Change] = []
    for table, destination in sorted(set(kernel.routes) - set(routes)):
        text = f"route to {destination} in table {table} is not wanted"
        words = ("route", "del", destination, "table", table, "proto", PROTOCOL)
        changes.append(_ip(text, *words))
    for (table, destination), wanted in routes.items():
        if kernel.routes.get((table, destination)) != wanted:
            gateway, device, source = wanted
            changes.append(
                _ip(
                    f"route to {destination} in table {table} is missing or differs",
                    *("route", "replace", destination, "via", gateway, "dev", device, "onlink"),
                    *(("src", source) if source else ()),
                    *("table", table, "proto", PROTOCOL),
                )
            )
    return changes


def _rule_changes(rules: set[tuple[str, str, int]], kernel: Kernel) -> list[Change]:
    def change(text: str, action: str, rule: tuple[str, str, int]) -> Change:
        source, table, priority = rule
        return _ip(
            f"rule for {source} to table {table} {text}",
            *("rule", action, "from", source, "lookup", table, "priority", str(priority)),
            *("protocol", PROTOCOL),
        )

    gone = [change("is not wanted", "del", rule) for rule in sorted(kernel.rules - rules)]
    return gone + [change("is missing", "add", rule) for rule in sorted(rules - kernel.rules)]


# --- the edge: programs and files -------------------------------------------------------------


def run(words: list[str], stdin: str | None = None) -> str:
    """Run a program and return its output; OverlayError with its words when it fails."""
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, check=False, timeout=300
        )
    except FileNotFoundError as error:
        raise OverlayError(f"{words[0]} is not installed") from error
    if done.returncode != 0:
        text = (done.stderr or done.stdout).strip()
        raise OverlayError(f"{' '.join(words)}: {text}" + (f"\ninput:\n{stdin}" if stdin else ""))
    return done.stdout


def read_kernel(desired: dict[str, Any]) -> Kernel:
    """Ask the kernel for everything that `differences` compares."""
    kernel = Kernel()
    for link in _json(["ip", "-j", "-d", "link", "show"]):
        kernel.links[link["ifname"]] = link
    for link in _json(["ip", "-j", "-4", "addr", "show"]):
        kernel.addresses[link["ifname"]] = {
            f"{a['local']}/{a['prefixlen']}" for a in link.get("addr_info", [])
        }
    for entry in _json(["bridge", "-j", "fdb", "show"]):
        if "dst" in entry:
            kernel.fdb.setdefault(entry["ifname"], {})[entry["mac"]] = entry["dst"]
    for entry in _json(["ip", "-j", "-4", "neigh", "show", "nud", "permanent"]):
        if "lladdr" in entry:
            kernel.neighbours.setdefault(entry["dev"], {})[entry["dst"]] = entry["lladdr"]
    _read_routing(kernel)
    kernel.sysctl = {key: _sysctl(key) for key in desired["sysctl"]}
    for item in desired["overlays"]:
        name = item["device"]["name"]
        if name in kernel.links and item["device"]["offloads_off"]:
            kernel.offloads[name] = _offloads(name)
    kernel.firewall_present, kernel.firewall = _firewall_state(desired["firewall"])
    return kernel


def _read_routing(kernel: Kernel) -> None:
    for entry in _json(["ip", "-j", "-4", "route", "show", "table", "all", "proto", PROTOCOL]):
        key = (str(entry.get("table", "main")), entry["dst"])
        value = (entry.get("gateway", ""), entry.get("dev", ""), entry.get("prefsrc", ""))
        kernel.routes[key] = value
    for entry in _json(["ip", "-j", "-4", "rule", "show"]):
        if str(entry.get("protocol")) == PROTOCOL:
            source = f"{entry['src']}/{entry.get('srclen', 32)}"
            kernel.rules.add((source, str(entry["table"]), int(entry["priority"])))


def _json(words: list[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(words) or "[]")
    return found


def _sysctl_path(key: str) -> Path:
    return Path("/proc/sys", *key.split("."))


def _sysctl(key: str) -> str:
    path = _sysctl_path(key)
    return path.read_text().strip() if path.exists() else "absent"


def _offloads(name: str) -> set[str]:
    lines = run(["ethtool", "-k", name]).splitlines()
    return {line.split(":")[0].strip() for line in lines if line.strip().endswith(": on")}


def _firewall_listing() -> str | None:
    family, table = FIREWALL_TABLE
    if f"table {family} {table}" not in run(["nft", "list", "tables"]).splitlines():
        return None
    return run(["nft", "--stateless", "list", "table", family, table])


def _firewall_sums(text: str, listing: str) -> dict[str, str]:
    return {
        "text": hashlib.sha256(text.encode()).hexdigest(),
        "listing": hashlib.sha256(listing.encode()).hexdigest(),
    }


def _firewall_state(text: str) -> tuple[bool, bool]:
    listing = _firewall_listing()
    if listing is None:
        return False, False
    try:
        record = json.loads(Path(FIREWALL_RECORD).read_text())
    except (OSError, ValueError):
        record = None
    return True, record == _firewall_sums(text, listing)


def apply(changes: list[Change]) -> None:
    """Make the changes; commands for one program that follow each other are one process."""
    batch: list[str] = []
    tool = ""
    for change in [*changes, Change("", "", ())]:
        if batch and change.tool != tool:
            run([tool, "-batch", "-"], "\n".join(batch) + "\n")
            batch = []
        tool = change.tool
        if tool in ("ip", "bridge"):
            batch.append(" ".join(change.words))
        elif tool == "sysctl":
            _set_sysctl(*change.words)
        elif tool == "nft":
            _load_firewall(change.words[0])
        elif tool:
            run([tool, *change.words])


def _set_sysctl(key: str, value: str) -> None:
    try:
        _sysctl_path(key).write_text(value)
    except OSError as error:
        raise OverlayError(f"can not set {key} to {value}: {error.strerror}") from error


def _load_firewall(text: str) -> None:
    # Declared first so that the deletion works when there is none; all in one transaction.
    name = " ".join(FIREWALL_TABLE)
    run(["nft", "-f", "-"], f"table {name}\ndelete table {name}\n{text}")
    record = Path(FIREWALL_RECORD)
    record.parent.mkdir(parents=True, exist_ok=True)
    record.write_text(json.dumps(_firewall_sums(text, _firewall_listing() or "")))


def check_state(desired: object) -> dict[str, Any]:
    """Refuse a state file that this program does not understand."""
    if not isinstance(desired, dict) or desired.get("version") != 1:
        raise OverlayError("the desired state has another version; wanted version 1")
    for item in desired["overlays"]:
        ipaddress.IPv4Interface(item["device"]["address"])
        ipaddress.IPv4Interface(item["bridge"]["address"])
    return desired


def reconcile(desired: object, *, check: bool) -> list[str]:
    """Bring the kernel to the desired state; returns what was (with `check`, would be) changed.

    Raises:
        OverlayError: a program is missing or fails, or something foreign is in the way.
    """
    state = check_state(desired)
    changes = differences(state, read_kernel(state))
    if changes and not check:
        apply(changes)
        left = differences(state, read_kernel(state))
        if left:
            raise OverlayError("still different afterwards: " + "; ".join(c.text for c in left))
    return [change.text for change in changes]


def main() -> int:
    """Entry point of the installed program."""
    parser = argparse.ArgumentParser(description="Reconcile the kernel with the overlays.")
    parser.add_argument("--state", default=STATE_FILE, help=f"desired state ({STATE_FILE})")
    parser.add_argument("--check", action="store_true", help="say what differs, change nothing")
    options = parser.parse_args()
    try:
        desired = json.loads(Path(options.state).read_text())
        changes = reconcile(desired, check=options.check)
    except (OverlayError, OSError, ValueError) as error:
        _answer({"failed": True, "msg": str(error)})
        return 1
    _answer({"changed": bool(changes), "changes": changes})
    return 3 if options.check and changes else 0


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
