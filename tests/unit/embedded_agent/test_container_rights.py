"""Resource limits, capabilities, users and namespaces of containers."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import Play
from .container_lab import (
    ISOLATION,
    Lab,
    capability_set,
    container,
    kill,
    namespace_of,
    needs_root,
    outputs,
    run,
)

pytestmark = needs_root


RIGHTS = "grep -E '^(Cap(Eff|Bnd|Amb)|NoNewPrivs)' /proc/self/status | tr -s '\\t\\n' ' '"


@pytest.mark.contract(behaviour="container-rights")
def test_limits_capabilities_and_users(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    limits = [
        {"type": "RLMT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLMT_CORE", "soft": 0, "hard": 0},
    ]
    net_raw = 1 << 13
    tasks = {
        "rlimits": (
            "ulimit -Sn; ulimit -Hn; ulimit -c",
            container(rlimit_info={"rlimits": limits}),
        ),
        "bad-limit": (
            "true",
            container(rlimit_info={"rlimits": [{"type": "RLMT_CPU", "soft": 1}]}),
        ),
        "root": (
            RIGHTS,
            container(linux_info={"effective_capabilities": capability_set("NET_RAW")}),
        ),
        "nobody": (
            f"id -un; {RIGHTS}",
            container(
                linux_info={
                    "effective_capabilities": capability_set("NET_RAW"),
                    "bounding_capabilities": capability_set("NET_RAW", "KILL"),
                }
            )
            | {"command": {"user": "nobody"}},
        ),
        "plain": (f"id -un; {RIGHTS}", {"command": {"user": "nobody"}}),
    }

    async def story(master: Any) -> None:
        flags = lab.flags("--host_path_volume_force_creation=/none")
        flags[0] = f"--isolation={ISOLATION},linux/nnp"
        agent_process.start(master, *flags)
        await master.registered()
        await run(master, wire, tasks)
        names = [name for name in tasks if name != "bad-limit"]
        found = await outputs(master, agent_process, names)
        assert found["rlimits"] == "77\n99\n0\n"
        assert rights(found["root"]) == {"Eff": net_raw, "Bnd": net_raw, "Amb": net_raw, "Nnp": 1}
        assert rights(found["nobody"]) == {
            "Eff": net_raw,
            "Bnd": net_raw | 1 << 5,
            "Amb": net_raw,
            "Nnp": 1,
        }
        assert found["nobody"].startswith("nobody\n")
        assert rights(found["plain"])["Eff"] == 0
        failed = await master.until_state("bad-limit", "TASK_FAILED")
        assert failed["message"] == "Executor terminated"
        assert failed["reason"] == "REASON_EXECUTOR_TERMINATED"
        assert master.states("bad-limit") == ["TASK_FAILED"]
        stderr = agent_process.sandbox_file("bad-limit", "stderr")
        assert "Failed to set RLMT_CPU limit: Invalid rlimit values" in stderr
        await lab.until_nothing_is_left()

    play(story)


def rights(text: str) -> dict[str, int]:
    words = text.replace(":", "").split()
    named = dict(itertools.pairwise(words))
    found = {name: int(named[f"Cap{name}"], 16) for name in ("Eff", "Bnd", "Amb")}
    return found | {"Nnp": int(named["NoNewPrivs"])}


@pytest.mark.contract(behaviour="container-namespaces")
def test_namespaces(play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace) -> None:
    shared = {"share_pid_namespace": True, "ipc_mode": "SHARE_PARENT"}
    links = "readlink /proc/self/ns/pid /proc/self/ns/ipc /proc/self/ns/mnt"
    shm = "df -k --output=size /dev/shm | tail -1"
    tasks = {
        "own": (f"{links}; ls -d /proc/[0-9]* | wc -l", {}),
        "shared": (links, container(linux_info=shared)),
        "private": (
            f"{shm}; touch /dev/shm/{lab.name}",
            container(linux_info={"ipc_mode": "PRIVATE", "shm_size": 8}),
        ),
        "default": (shm, container(linux_info={"ipc_mode": "PRIVATE"})),
        "orphan": ("setsid sleep 600 & sleep 600", {}),
        "checked": (
            "sleep 600",
            {
                "check": {
                    "type": "COMMAND",
                    "delay_seconds": 0,
                    "command": {"command": {"value": "true"}},
                }
            },
        ),
    }

    async def story(master: Any) -> None:
        agent_process.start(master, *lab.flags("--default_container_shm_size=4MB"))
        await master.registered()
        await run(master, wire, tasks)
        found = await outputs(master, agent_process, ["own", "shared", "private", "default"])
        here = [namespace_of(name) for name in ("pid", "ipc", "mnt")]
        *own, seen = found["own"].split()
        assert not set(own) & set(here)
        assert int(seen) < 10, "only the container's own processes"
        assert found["shared"].split()[:2] == here[:2]
        assert [found["private"].strip(), found["default"].strip()] == ["8192", "4096"]
        assert not lab.in_host_shm()

        def passed(m: Any) -> Any:
            checks = [s.get("check_status", {}) for s in m.statuses("checked")]
            return any(c.get("command", {}).get("exit_code") == 0 for c in checks)

        await master.wait_for(passed)
        pid = (await master.until_state("orphan", "TASK_RUNNING"))["container_status"][
            "executor_pid"
        ]
        assert namespace_of("pid", pid) != here[0], "a process id of the host"
        await kill(master, "orphan")
        await kill(master, "checked")
        await lab.until_nothing_is_left()

    play(story)
