"""Containers of tasks: what master and agent refuse. Texts are those of Mesos' own validation."""

from __future__ import annotations

from typing import Any

import pytest

from .client import Framework, launch, task

Json = dict[str, Any]
HOST_PATH = {"type": "HOST_PATH", "host_path": {"path": "/etc"}}
VOLUME = {"container_path": "data", "mode": "RW"}

FAULTS: dict[str, tuple[Json, str]] = {
    "no source": (
        {"volumes": [VOLUME]},
        (
            "Task's `ContainerInfo` is invalid: Invalid volume: Only one of them should be set: "
            "'host_path', 'image' and 'source'"
        ),
    ),
    "two sources": (
        {"volumes": [VOLUME | {"host_path": "/etc", "source": HOST_PATH}]},
        (
            "Task's `ContainerInfo` is invalid: Invalid volume: Only one of them should be set: "
            "'host_path', 'image' and 'source'"
        ),
    ),
    "an empty source": (
        {"volumes": [VOLUME | {"source": {"type": "SANDBOX_PATH"}}]},
        (
            "Task's `ContainerInfo` is invalid: Invalid volume: 'source.sandbox_path' is not set "
            "for SANDBOX_PATH volume"
        ),
    ),
    "a source without a type": (
        {"volumes": [VOLUME | {"source": {}}]},
        "Task's `ContainerInfo` is invalid: Invalid volume: 'source.type' is unknown",
    ),
    "cgroups of its own": (
        {"linux_info": {"share_cgroups": False}},
        "Only tasks in a task group may have 'share_cgroups' set to 'false'",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.contract(behaviour="container-refusals")
def test_a_bad_container_is_a_bad_task(framework: Framework, fault: str) -> None:
    """`validateVolume` and `validateShareCgroups` of the master."""
    parts, text = FAULTS[fault]
    offer = framework.offers()[0]
    bad = task(offer, "bad", "true") | {"container": {"type": "MESOS", **parts}}
    framework.accept([offer], [launch(bad)])
    status = framework.status("bad")
    assert (status["state"], status["source"]) == ("TASK_ERROR", "SOURCE_MASTER")
    assert status["reason"] == "REASON_TASK_INVALID"
    assert status["message"] == text


@pytest.mark.contract(behaviour="container-networks")
def test_a_network_that_nobody_knows(framework: Framework) -> None:
    """Every agent has the isolator network/cni, with or without networks."""
    offer = framework.offers()[0]
    container = {"type": "MESOS", "network_infos": [{"name": "no-such-network"}]}
    framework.accept([offer], [launch(task(offer, "lost", "true", container=container))])
    status = framework.status("lost")
    assert (status["state"], status["source"]) == ("TASK_FAILED", "SOURCE_AGENT")
    assert status["reason"] == "REASON_CONTAINER_LAUNCH_FAILED"
    text = "Failed to launch container: Unknown CNI network 'no-such-network'"
    assert status["message"] == text


@pytest.mark.contract(behaviour="container-networks")
def test_what_is_no_network_is_ignored(framework: Framework) -> None:
    """A NetworkInfo without a name is the host's, and so is a host name without a network."""
    offer = framework.offers()[0]
    container = {"type": "MESOS", "network_infos": [{}], "hostname": "web-1"}
    framework.accept([offer], [launch(task(offer, "plain", "exit 0", container=container))])
    status = framework.status("plain", "TASK_FINISHED")
    (network,) = status["container_status"]["network_infos"]
    assert [a["protocol"] for a in network["ip_addresses"]] == ["IPv4"]
    assert "name" not in network
