"""A lab for containers: directories, a network namespace, plugins, and a look at what is left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.waiting import until

from kubedcos.embedded.agent.cgroup_layout import parse_mounts
from kubedcos.embedded.agent.executor.mount_table import mount_table

Json = dict[str, Any]

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="containers need root"
)

ISOLATION = ",".join(
    [
        *("cgroups/cpu", "cgroups/mem", "filesystem/linux", "posix/rlimits", "linux/capabilities"),
        *("namespaces/pid", "namespaces/ipc", "network/cni"),
    ]
)


PLUGIN = """\
    #!{python} -IS
    import json, os, pathlib, subprocess, sys
    config = json.load(sys.stdin)
    here = pathlib.Path(config["home"])
    about = {{k[4:].lower(): v for k, v in os.environ.items() if k.startswith("CNI_")}}
    with (here / "log").open("a") as log:
        log.write(json.dumps(about | {{"args": config.get("args")}}) + "\\n")
    def ip(*words, inside=False):
        enter = ["nsenter", "--net=" + about["netns"]] if inside else []
        where = [] if inside else ["-n", config["namespace"]]
        return subprocess.run([*enter, "ip", *where, *words], check=True, capture_output=True)
    lease = here / ("lease-" + about["containerid"] + about["ifname"])
    if about["command"] == "DEL":
        if "netns" in about:
            subprocess.run(["nsenter", "--net=" + about["netns"], "ip", "link", "del",
                            about["ifname"]], capture_output=True)
        lease.unlink(missing_ok=True)
        sys.exit()
    while (here / "hold").exists():
        pass
    if (here / "fail").exists():
        print("no addresses left")
        sys.exit(3)
    number = 2 + len(list(here.glob("lease-*")))
    lease.write_text(str(number))
    address = config["prefix"] + str(number)
    end = "v" + about["ifname"] + str(number)
    ip("link", "add", end, "type", "veth", "peer", "name", about["ifname"],
       "netns", about["netns"])
    ip("addr", "add", config["prefix"] + "1", "peer", address, "dev", end)
    ip("link", "set", end, "up")
    ip("addr", "add", address + "/24", "dev", about["ifname"], inside=True)
    ip("link", "set", about["ifname"], "up", inside=True)
    print(json.dumps({{"ip4": {{"ip": address + "/24"}}, "dns": config.get("dns", {{}})}}))
"""


class Lab:
    """Directories, a network namespace and plugins for the agents of one test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.name = f"kdc{directory.name}".lower()
        self.root = f"kubedcos-test-{directory.name}"
        for name in ("plugins", "networks", "cni"):
            (directory / name).mkdir()
        plugin = directory / "plugins/pair"
        plugin.write_text(textwrap.dedent(PLUGIN.format(python=sys.executable)))
        plugin.chmod(0o755)
        self.network("apps", "10.98.7.")
        self.network("other", "10.98.8.", dns={"nameservers": ["10.98.8.1"], "search": ["lab"]})
        subprocess.run(["ip", "netns", "add", self.name], check=True)
        subprocess.run(["ip", "-n", self.name, "link", "set", "lo", "up"], check=True)

    def network(self, name: str, prefix: str, **more: Any) -> None:
        config = {"name": name, "type": "pair", "prefix": prefix, "namespace": self.name}
        config |= {"home": f"{self.directory}/cni"} | more
        (self.directory / f"networks/{name}.conf").write_text(json.dumps(config))

    def flags(self, *more: str) -> list[str]:
        return [
            f"--isolation={ISOLATION}",
            "--launcher=linux",
            f"--cgroups_root={self.root}",
            f"--network_cni_config_dir={self.directory}/networks",
            f"--network_cni_plugins_dir={self.directory}/plugins",
            *more,
        ]

    def calls(self, command: str) -> list[Json]:
        path = self.directory / "cni/log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [call for call in map(json.loads, lines) if call["command"] == command]

    def left(self) -> list[str]:
        """Traces of containers on this machine: mounts, cgroups, networks, leases, processes."""
        found = [
            entry.target
            for entry in mount_table()
            if entry.target.startswith(f"{self.directory}/")
            and entry.target.removeprefix(f"{self.directory}/")
            not in ("work", "run/isolators/network/cni")
        ]
        for hierarchy in parse_mounts(Path("/proc/mounts").read_text()):
            found += [str(path) for path in (hierarchy.mount / self.root).glob("*/")]
        found += map(str, (self.directory / "run/isolators/network/cni").glob("*"))
        found += map(str, (self.directory / "cni").glob("lease-*"))
        links = subprocess.run(
            ["ip", "-n", self.name, "-o", "link"], capture_output=True, text=True, check=True
        )
        return found + [line for line in links.stdout.splitlines() if "@" in line]

    async def until_nothing_is_left(self) -> None:
        with contextlib.suppress(TimeoutError):
            await until(lambda: not self.left(), 60)
        assert self.left() == []

    def reaches(self, address: str) -> bool:
        """Whether a host outside of the container gets an answer: nobody listens there."""
        attempt = f"import socket; socket.create_connection(({address!r}, 9), 5)"
        words = ["ip", "netns", "exec", self.name, sys.executable, "-ISc", attempt]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return "ConnectionRefusedError" in done.stderr

    def in_host_shm(self) -> bool:
        """Whether the host's /dev/shm holds a file with the lab's name."""
        return Path("/dev/shm", self.name).exists()

    def close(self) -> None:
        subprocess.run(["ip", "netns", "del", self.name], check=False)


def namespace_of(kind: str, pid: int | str = "self") -> str:
    """The namespace that a process is in."""
    return str(Path(f"/proc/{pid}/ns/{kind}").readlink())


async def until_written(agent: Any, name: str, lines: int) -> str:
    """A task's output, once it has so many lines."""
    await until(lambda: agent.sandbox_file(name, "stdout").count("\n") >= lines)
    return str(agent.sandbox_file(name, "stdout"))


def sandbox_path(path: str, kind: str = "SELF") -> Json:
    part = {"type": kind, "path": path}
    return {"source": {"type": "SANDBOX_PATH", "sandbox_path": part}}


DISK = {
    "name": "disk",
    "type": "SCALAR",
    "scalar": {"value": 8},
    "reservations": [{"type": "DYNAMIC", "role": "lab"}],
    "allocation_info": {"role": "lab"},
}


def persistent(name: str, path: str, mode: str = "RW", **more: Any) -> Json:
    disk = {"persistence": {"id": name}, "volume": {"mode": mode, "container_path": path}}
    return DISK | {"disk": disk | more}


FRAMEWORK_ID = {"value": "f-1"}


def container(**parts: Any) -> Json:
    return {"container": {"type": "MESOS", **parts}}


def volume(path: str, mode: str = "RW", **parts: Any) -> Json:
    return {"container_path": path, "mode": mode, **parts}


def host_path(path: str, **more: Any) -> Json:
    return {"source": {"type": "HOST_PATH", "host_path": {"path": path, **more}}}


async def start_again(master: Any, agent: Any, *flags: str) -> None:
    """Start an agent that was killed, up to its registration."""
    # On a busy machine the link breaks now and then, and an agent registers more than once.
    before = sum(call["type"] == "REREGISTER" for call in master.calls)
    agent.start(master, *flags, port=master.address[1])
    await master.registered("REREGISTER", before + 1)


async def run(master: Any, wire: SimpleNamespace, tasks: dict[str, tuple[str, Json]]) -> None:
    made = [wire.task(name, shell, **parts) for name, (shell, parts) in tasks.items()]
    await master.send("RUN_TASKS", framework=wire.framework(), tasks=made)


async def kill(master: Any, name: str) -> None:
    await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": name})
    await master.until_state(name, "TASK_KILLED")


async def outputs(master: Any, agent: Any, names: Any, state: str = "TASK_FINISHED") -> Json:
    """What the tasks wrote, once all have reached `state`."""
    for name in names:
        status = await master.until_state(name, state)
        assert status["state"] == state
    return {name: agent.sandbox_file(name, "stdout") for name in names}


def capability_set(*names: str) -> Json:
    return {"capabilities": list(names)}


def default_network() -> Json:
    return container(network_infos=[{"name": "apps"}])
