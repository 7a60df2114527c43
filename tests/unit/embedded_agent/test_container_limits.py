"""Containers that use too much memory or disk; what is counted."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubedcos.embedded.agent.cgroup_layout import parse_mounts

from .conftest import Play
from .container_lab import (
    Json,
    Lab,
    kill,
    needs_root,
    persistent,
    run,
)

pytestmark = needs_root


def _limits_are_possible() -> bool:
    mounts = parse_mounts(Path("/proc/mounts").read_text())
    return any("memory" in h.controllers and os.access(h.mount, os.W_OK) for h in mounts)


async def counts(master: Any, agent: Any) -> None:
    """Statistics of a container with a volume, and of one with limits above its requests."""

    async def measured() -> Json:
        listed = await agent.get(master, "/monitor/statistics")
        return {entry["source"]: entry["statistics"] for entry in listed}

    async with asyncio.timeout(60):
        while not all(
            d.get("used_bytes") for d in (await measured())["thin-disk"]["disk_statistics"]
        ):
            pass
    thin = (await measured())["thin-disk"]
    volume_part, sandbox_part = thin["disk_statistics"]
    assert volume_part["persistence"] == {"id": "v"}
    assert volume_part["used_bytes"] >= 4 << 20
    assert sandbox_part == {
        "limit_bytes": 2 << 20,
        "used_bytes": thin["disk_used_bytes"],
    }
    assert thin["disk_used_bytes"] < 1 << 20, "the volume is not counted twice"
    bursts = (await measured())["bursts"]
    assert (bursts["cpus_limit"], bursts["cpus_soft_limit"]) == (2.1, 0.2)
    assert bursts["mem_limit_bytes"] == 160 << 20
    assert bursts["processes"] >= 2
    assert bursts["threads"] >= bursts["processes"]
    assert bursts["mem_anon_bytes"] == bursts["mem_rss_bytes"]


@pytest.mark.skipif(not _limits_are_possible(), reason="no writable memory cgroup (v1) here")
@pytest.mark.contract(behaviour="container-limits", recordings="limits.jsonl")
def test_too_much_memory_or_disk(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    disk = {"name": "disk", "type": "SCALAR", "scalar": {"value": 2}}
    disk["allocation_info"] = {"role": "lab"}
    fill = "dd if=/dev/zero of={} bs=1M count={} 2>/dev/null; exec sleep 600"
    tasks = {
        "fat-mem": (f'exec {sys.executable} -ISc "x = bytearray(200 << 20)"', {}),
        "fat-disk": (fill.format("big", 4), {"resources": [disk]}),
        "thin-disk": (fill.format("vol/big", 4), {"resources": [disk, persistent("v", "vol")]}),
        "bursts": ("sleep 600", {"limits": {"cpus": {"value": 2}, "mem": {"value": 128}}}),
    }

    async def story(master: Any) -> None:
        more = ("--container_disk_watch_interval=20ms", "--enforce_container_disk_quota=true")
        flags = lab.flags(*more, "--cgroups_cpu_enable_pids_and_tids_count=true")
        flags[0] += ",disk/du"
        agent_process.start(master, *flags)
        await master.registered()
        await master.send("CHECKPOINT_RESOURCES", resources=[persistent("v", "vol")])
        await run(master, wire, tasks)
        failed = await master.until_state("fat-mem", "TASK_FAILED")
        recorded = recorded_status("fat-mem")
        assert failed["message"].startswith("Memory limit exceeded: Requested: 64MB Maximum Used: ")
        assert "\n\nMEMORY STATISTICS: \ncache " in failed["message"]
        assert set(failed) == set(recorded)
        for name in ("source", "reason", "state"):
            assert failed[name] == recorded[name]
        (limited,) = failed["limitation"]["resources"]
        assert limited["name"] == "mem"
        assert 60 < limited["scalar"]["value"] <= 64
        failed = await master.until_state("fat-disk", "TASK_FAILED")
        recorded = recorded_status("fat-disk")
        assert set(failed) == set(recorded)
        for name in ("source", "reason", "state"):
            assert failed[name] == recorded[name]
        words = failed["message"].split("(")
        assert words[0] == "Disk usage "
        assert words[1].endswith("KB) exceeds quota ")
        assert words[2] == "2MB)"
        assert failed["limitation"] == {"resources": [disk]}
        await counts(master, agent_process)
        for name in ("thin-disk", "bursts"):
            await kill(master, name)
        await lab.until_nothing_is_left()

    play(story)


def recorded_status(name: str) -> Json:
    """The last status of a task in limits.jsonl."""
    found = {}
    for line in (
        (Path(__file__).parents[2] / "fixtures/mesos/limits.jsonl").read_text().splitlines()
    ):
        status = json.loads(line).get("body", {})
        status = status.get("update", {}).get("status", {}) if isinstance(status, dict) else {}
        if status.get("task_id", {}).get("value") == name:
            found = status
    return found
