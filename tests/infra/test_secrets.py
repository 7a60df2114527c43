"""Nothing secret where Mesos, a sandbox, an environment or a command line shows it."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from testinfra.host import Host

from .inventory import Inventory
from .mesos import AGENT_PORT, MASTER_PORT, Mesos

READABLE = 1 << 20
"""Larger files of a sandbox are programs."""

# What tasks' processes were started with; those of pods are none of Mesos' business.
PROCESSES = """
import glob, sys
for folder in glob.glob("/proc/[0-9]*"):
    try:
        cgroup = open(folder + "/cgroup").read()
        if "/mesos/" in cgroup and "kubepods" not in cgroup:
            for name in ("cmdline", "environ"):
                text = open(f"{folder}/{name}", "rb").read()
                sys.stdout.buffer.write(text.replace(b"\\0", b"\\n") + b"\\n")
    except OSError:
        pass
"""


def forms(secret: bytes) -> list[bytes]:
    """How `secret` looks, as it is and in base64, whatever stands before it."""
    shifted = [
        base64.b64encode(b" " * before + secret)[(4 if before else 0) : -4] for before in range(3)
    ]
    return [secret, *shifted]


@pytest.fixture(scope="module")
def secret(inventory: Inventory) -> re.Pattern[bytes]:
    """Private keys, tokens of Kubernetes, and the very secrets that this machine knows of."""
    passwords = inventory.get("secrets_dir") or f"~/.cache/kubedcos/secrets/{inventory.name}"
    contexts = inventory.get("kubernetes_framework_context_dir") or "~/.config/kubedcos"
    context = Path(contexts).expanduser() / "contexts" / f"{inventory.name}.json"
    known = [
        b"PRIVATE KEY-----",
        *(path.read_bytes().split()[0] for path in Path(passwords).expanduser().glob("*")),
        *([json.loads(context.read_text())["token"].encode()] if context.exists() else []),
    ]
    words = [re.escape(form) for item in known for form in forms(item)]
    return re.compile(b"|".join([*words, rb"eyJ[\w-]{10,}\.eyJ[\w-]{10,}"]))


def assert_none(secret: re.Pattern[bytes], text: bytes, where: str) -> None:
    found = secret.search(text)
    # Not the secret itself: it would stand in a log then.
    assert found is None, f"{where} has a secret at byte {found.start()}"


def test_masters_show_none(mesos: Mesos, inventory: Inventory, secret: re.Pattern[bytes]) -> None:
    for master in inventory.of("masters"):
        for path in ("/state", "/tasks", "/frameworks", "/flags"):
            shown = mesos.text(master, MASTER_PORT, path)
            assert_none(secret, shown.encode(), f"{path} of {master}")


@pytest.mark.on("agents", "public_agents")
def test_agents_show_none(mesos: Mesos, name: str, secret: re.Pattern[bytes]) -> None:
    for path in ("/state", "/flags", "/containers"):
        assert_none(secret, mesos.text(name, AGENT_PORT, path).encode(), f"{path} of {name}")


@pytest.mark.on("agents", "public_agents")
def test_sandboxes_hold_none(
    host: Host, mesos: Mesos, name: str, inventory: Inventory, secret: re.Pattern[bytes]
) -> None:
    state = mesos.get(name, AGENT_PORT, "/state")
    sandboxes = [
        executor["directory"]
        for framework in state["frameworks"] + state["completed_frameworks"]
        for executor in framework["executors"] + framework["completed_executors"]
    ]
    files = f"http://{inventory.address(name)}:{AGENT_PORT}/files"
    for sandbox in sandboxes:
        listed = host.run(f"curl -sf --max-time 10 '{files}/browse?path={sandbox}'")
        if listed.rc == 22:
            continue  # an old one that Mesos has removed
        items = [item for item in json.loads(listed.stdout) if item["mode"].startswith("-")]
        paths = [item["path"] for item in items if item["size"] < READABLE]
        assert paths, f"{sandbox} has its output at least"
        urls = " ".join(f"'{files}/download?path={path}'" for path in paths)
        read = host.run(f"curl -sf --fail-early --max-time 20 {urls}")
        assert read.rc == 0, f"{sandbox}: not all of {paths} can be read"
        assert_none(secret, read.stdout_bytes, sandbox)


@pytest.mark.on("agents", "public_agents")
def test_processes_of_tasks_were_started_with_none(
    host: Host, name: str, secret: re.Pattern[bytes]
) -> None:
    shown = host.run("python3 -c %s", PROCESSES).stdout_bytes
    assert_none(secret, shown, f"environment or command line of a task on {name}")
