"""Ansible module: look at a host once, for all checks that need it."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import shutil
import sys
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kubedcos_probe
short_description: Find out what preflight compares
description:
  - Reads kernel features, disks, memory, addresses, and listening sockets with the systemd units
    that hold them. Changes nothing; network features are tried in a network namespace that ends
    with the try.
options:
  paths:
    description: Paths whose file systems are measured; the nearest existing parent counts.
    type: list
    elements: path
    default: [/]
  controller_time:
    description: Time of the control machine in seconds since 1970, to compare clocks.
    type: float
    required: true
attributes:
  check_mode:
    support: full
    description: The same as without.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Look at the host
  kubedcos_probe:
    controller_time: "{{ now(utc=true).timestamp() }}"
"""

RETURN = r"""
facts:
  description: What was found.
  type: dict
  returned: always
"""

CLONE_NEWNET = 0x40000000
LISTEN, UDP_UNCONNECTED = "0A", "07"


def disks(paths):
    """Size and free space in MB of each path's file system."""
    found = {}
    for path in paths:
        place = Path(path)
        while not place.exists():
            place = place.parent
        stat = os.statvfs(place)
        found[path] = {
            "free_mb": stat.f_bavail * stat.f_frsize >> 20,
            "size_mb": stat.f_blocks * stat.f_frsize >> 20,
        }
    return found


def memory_mb():
    """Memory that the host has, in MB."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) >> 10
    return 0


def address_text(hexadecimal):
    """Address as /proc writes it, in words of the machine's byte order."""
    words = [hexadecimal[i : i + 8] for i in range(0, len(hexadecimal), 8)]
    data = b"".join(int(word, 16).to_bytes(4, sys.byteorder) for word in words)
    if len(data) == 4:
        return str(IPv4Address(data))
    address = IPv6Address(data)
    return str(address.ipv4_mapped or address)


def sockets():
    """Listening TCP and unconnected UDP sockets."""
    found = {}
    for name, state in (
        ("tcp", LISTEN),
        ("tcp6", LISTEN),
        ("udp", UDP_UNCONNECTED),
        ("udp6", UDP_UNCONNECTED),
    ):
        path = Path("/proc/net", name)
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for line in lines:
            words = line.split()
            if words[3] != state:
                continue
            address, _, port = words[1].partition(":")
            found.setdefault(words[9], []).append(
                {
                    "protocol": name[:3],
                    "address": address_text(address),
                    "port": int(port, 16),
                    "unit": "",
                    "program": "",
                }
            )
    name_holders(found)
    return [socket for group in found.values() for socket in group]


def name_holders(by_inode):
    """Fill in program and systemd unit of the sockets' holders."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        mine = open_sockets(process) & set(by_inode)
        for inode in mine:
            for socket in by_inode[inode]:
                # The first holder of a passed socket is as good as the others, a unit is better.
                unit = unit_of(process)
                if not socket["unit"] or not socket["program"]:
                    socket["unit"] = unit
                    socket["program"] = (process / "comm").read_text().strip()


def open_sockets(process):
    """Inodes of the sockets that a process has open; none when it has ended."""
    found = set()
    try:
        entries = list((process / "fd").iterdir())
    except OSError:
        return found
    for entry in entries:
        # A busy server closes descriptors while they are listed; the others still count.
        with contextlib.suppress(OSError):
            target = str(entry.readlink())
            if target.startswith("socket:["):
                found.add(target[8:-1])
    return found


def unit_of(process):
    """Systemd unit of a process; empty when it belongs to none."""
    try:
        lines = (process / "cgroup").read_text().splitlines()
    except OSError:
        return ""
    # Which of the hierarchies systemd uses differs from host to host.
    names = {part for line in lines for part in line.split(":", 2)[2].split("/")}
    for kind in (".service", ".socket", ".scope"):
        units = sorted(name for name in names if name.endswith(kind))
        if units:
            return units[0]
    return ""


def features(module):
    """Kernel features: true, false, or null when it can not be found out."""
    filesystems = {line.split()[-1] for line in Path("/proc/filesystems").read_text().splitlines()}
    controllers = cgroup_controllers()
    found = {
        "overlay": "overlay" in filesystems or has_module("overlay"),
        "xfs": "xfs" in filesystems or has_module("xfs"),
        "cgroup-cpu": "cpu" in controllers,
        "cgroup-memory": "memory" in controllers,
    }
    found.update(network_features(module))
    return found


def cgroup_controllers():
    """Controllers of either cgroup version."""
    found = set()
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists():
        found |= set(unified.read_text().split())
    listing = Path("/proc/cgroups")
    if listing.exists():
        for line in listing.read_text().splitlines()[1:]:
            words = line.split()
            if len(words) == 4 and words[3] == "1":
                found.add(words[0])
    return found


def has_module(name):
    """Whether the kernel could load it."""
    folder = Path("/lib/modules", platform.release())
    for listing in ("modules.builtin", "modules.dep"):
        path = folder / listing
        if path.exists() and any(
            Path(line.split(":")[0]).name.split(".")[0].replace("-", "_") == name
            for line in path.read_text().splitlines()
        ):
            return True
    return Path("/sys/module", name).exists()


def network_features(module):
    """Try devices and filter rules in a namespace of this process' own, which ends with it."""
    tries = {
        "vxlan": ["ip", "link", "add", "kdp0", "type", "vxlan", "id", "1", "dstport", "4789"],
        "bridge": ["ip", "link", "add", "kdp1", "type", "bridge"],
        "veth": ["ip", "link", "add", "kdp2", "type", "veth", "peer", "name", "kdp3"],
        "nftables": ["nft", "add", "table", "inet", "kubedcos_probe"],
    }
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        return dict.fromkeys(tries)
    found = {}
    for name, words in tries.items():
        if shutil.which(words[0]) is None:
            found[name] = None
        else:
            found[name] = module.run_command(words)[0] == 0
    return found


def addresses(module):
    """IPv4 address → MTU of its interface."""
    if shutil.which("ip") is None:
        return {}
    code, out, _err = module.run_command(["ip", "-j", "-4", "addr", "show"])
    if code != 0:
        return {}
    return {
        entry["local"]: link["mtu"]
        for link in json.loads(out or "[]")
        for entry in link.get("addr_info", [])
    }


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "paths": {"type": "list", "elements": "path", "default": ["/"]},
            "controller_time": {"type": "float", "required": True},
        },
        supports_check_mode=True,
    )
    now = time.time()
    facts = {
        "time": now,
        "controller_time": module.params["controller_time"],
        "user": os.geteuid(),
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": list(sys.version_info[:3]),
        "systemd": Path("/run/systemd/system").is_dir(),
        "memory_mb": memory_mb(),
        "cpus": len(os.sched_getaffinity(0)),
        "disks": disks(module.params["paths"]),
        "addresses": addresses(module),
        "sockets": sockets(),
    }
    # Last: it moves this process into a network of its own.
    facts["features"] = features(module)
    module.exit_json(changed=False, facts=facts)


if __name__ == "__main__":
    main()
