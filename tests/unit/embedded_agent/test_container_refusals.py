"""What containers may not have, in Mesos' words; and what they have by default."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import Play
from .container_lab import (
    Json,
    Lab,
    container,
    default_network,
    host_path,
    namespace_of,
    needs_root,
    outputs,
    run,
    sandbox_path,
    start_again,
    volume,
)

pytestmark = needs_root


REFUSED: dict[str, tuple[Json, str]] = {
    "no-path": (
        {"volumes": [volume("data", host_path="/no/such")]},
        "Path '/no/such' in HOST_PATH volume does not exist",
    ),
    "no-point": (
        {"volumes": [volume("/no/such", host_path="/etc")]},
        (
            "Mount point '/no/such' is an absolute path. It must exist if the container shares "
            "the host filesystem"
        ),
    ),
    "not-absolute": (
        {"volumes": [volume("data", **host_path("etc"))]},
        "Path 'etc' in HOST_PATH volume is not absolute",
    ),
    "self-relative": (
        {"volumes": [volume("data", host_path="mine")]},
        "'container_path' is relative for SANDBOX_PATH volume SELF type",
    ),
    "self-absolute": (
        {"volumes": [volume("/tmp", **sandbox_path("/etc"))]},
        "Path '/etc' in SANDBOX_PATH volume is absolute",
    ),
    "parent": (
        {"volumes": [volume("data", **sandbox_path("x", "PARENT"))]},
        "SANDBOX_PATH volume PARENT type only works for nested container",
    ),
    "two-sources": (
        {"volumes": [volume("data", host_path="/etc", **sandbox_path("x"))]},
        "Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'",
    ),
    "docker-volume": (
        {"volumes": [volume("data", source={"type": "DOCKER_VOLUME", "docker_volume": {}})]},
        (
            "the embedded agent does not support DOCKER_VOLUME volumes, only HOST_PATH, "
            "SANDBOX_PATH and persistent ones"
        ),
    ),
    "leaves-sandbox": (
        {"volumes": [volume("../data", host_path="/etc")]},
        "Volume path '../data' must be within the sandbox",
    ),
    "not-shared": (
        {
            "volumes": [
                volume("data", **host_path("/proc", mount_propagation={"mode": "BIDIRECTIONAL"}))
            ]
        },
        (
            "Cannot setup bidirectional mount propagation for host path '/proc' because it is not "
            "under a shared mount"
        ),
    ),
    "no-network": ({"network_infos": [{"name": "nowhere"}]}, "Unknown CNI network 'nowhere'"),
    "twice": (
        {"network_infos": [{"name": "apps"}, {"name": "apps"}]},
        "Attempted to join CNI network 'apps' multiple times",
    ),
    "reserved": (
        {"network_infos": [{"name": "args"}]},
        (
            "'org.apache.mesos' in 'args' should not be set in CNI network configuration file. It "
            "is reserved by Mesos"
        ),
    ),
    "too-much": (
        {"linux_info": {"effective_capabilities": {"capabilities": ["SYS_ADMIN", "KILL"]}}},
        (
            "Requested capabilities '{ KILL, SYS_ADMIN }', but only '{ CHOWN, KILL, SETPCAP }' "
            "are allowed"
        ),
    ),
    "no-sharing": (
        {"linux_info": {"share_pid_namespace": True}},
        "Sharing agent pid namespace with top-level container is not allowed",
    ),
    "shm": (
        {"linux_info": {"shm_size": 8}},
        "Only support specifying the size of /dev/shm when the IPC mode is `PRIVATE`",
    ),
}


@pytest.mark.contract(behaviour="container-refusals")
def test_wishes_that_mesos_refuses(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    """Texts of Mesos' isolators; only what leaves the sandbox is refused here alone."""
    lab.network("args", "10.98.9.", args={"org.apache.mesos": {}})

    async def story(master: Any) -> None:
        bounding = json.dumps({"capabilities": ["KILL", "CHOWN", "SETPCAP"]})
        agent_process.start(
            master,
            *lab.flags(
                f"--bounding_capabilities={bounding}",
                "--disallow_sharing_agent_pid_namespace=true",
            ),
        )
        await master.registered()
        tasks = {name: ("true", container(**parts)) for name, (parts, _) in REFUSED.items()}
        await run(master, wire, tasks)
        for name, (_, text) in REFUSED.items():
            failed = await master.until_state(name, "TASK_FAILED")
            assert failed["message"] == f"Failed to launch container: {text}"
            assert failed["reason"] == "REASON_CONTAINER_LAUNCH_FAILED"
            assert failed["source"] == "SOURCE_AGENT"
        await lab.until_nothing_is_left()

    play(story)


@pytest.mark.contract(behaviour="container-defaults")
def test_defaults_of_the_agent(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    dns = {
        "mesos": [
            {"network_mode": "CNI", "network_name": "apps", "dns": {"nameservers": ["10.0.0.53"]}}
        ]
    }
    default = {"type": "MESOS", "network_infos": [{"name": "apps"}]}
    refused = {"type": "MESOS", "volumes": [volume("a", host_path="/etc")]}

    async def story(master: Any) -> None:
        agent_process.start(
            master,
            *lab.flags(
                f"--default_container_info={json.dumps(default)}",
                f"--default_container_dns={json.dumps(dns)}",
                "--network_cni_root_dir_persist=true",
            ),
        )
        await master.registered()
        tasks = {
            "default": ("cat /etc/resolv.conf; hostname -I || true", {}),
            "own": ("readlink /proc/self/ns/net", container()),
        }
        await run(master, wire, tasks)
        found = await outputs(master, agent_process, tasks)
        assert found["default"].startswith("nameserver 10.0.0.53\n")
        assert found["own"].strip() == namespace_of("net")
        infos = master.statuses("default")[-1]["container_status"]["network_infos"]
        assert infos[0]["name"] == "apps"
        assert (lab.directory / "work/isolators/network/cni").is_dir()
        assert await asyncio.to_thread(agent_process.stop) == 0
        await start_again(
            master,
            agent_process,
            "--isolation=posix/cpu,posix/mem",
            f"--default_container_info={json.dumps(refused)}",
        )
        await run(master, wire, {"posix": ("true", {}), "cni": ("true", default_network())})
        failed = await master.until_state("posix", "TASK_FAILED")
        text = "Failed to launch container: Volumes in ContainerInfo is not supported"
        assert failed["message"] == text
        failed = await master.until_state("cni", "TASK_FAILED")
        assert failed["message"] == "Failed to launch container: Unknown CNI network 'apps'"

    play(story)
