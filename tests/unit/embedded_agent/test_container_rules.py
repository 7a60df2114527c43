import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubedcos.embedded.agent.container_rules import (
    Place,
    executor_grace,
    executor_name,
    launch_description,
    limits_of,
    refusal,
    task_environment,
)
from kubedcos.mesos.messages import FrameworkInfo, TaskInfo

POSIX = frozenset({"posix/cpu", "posix/mem"})


def task(**more: Any) -> TaskInfo:
    resources = [
        {"name": "cpus", "type": "SCALAR", "scalar": {"value": 1.5}},
        {"name": "mem", "type": "SCALAR", "scalar": {"value": 96}},
    ]
    for resource in resources:
        resource["allocation_info"] = {"role": "lab"}
    base = {
        "name": "t",
        "task_id": {"value": "t-1"},
        "agent_id": {"value": "S0"},
        "resources": resources,
        "command": {"value": "echo hello; sleep 100"},
    }
    return msgspec.convert(base | more, TaskInfo)


def framework(*capabilities: str, checkpoint: bool = True) -> FrameworkInfo:
    return msgspec.convert(
        {
            "user": "root",
            "name": "f",
            "id": {"value": "F0"},
            "checkpoint": checkpoint,
            "capabilities": [{"type": name} for name in capabilities],
        },
        FrameworkInfo,
    )


@pytest.mark.parametrize(
    ("wish", "word"),
    [
        ({"command": None}, "without a command"),
        ({"executor": {"executor_id": {"value": "e"}}}, "custom executors"),
        (
            {
                "command": {
                    "value": "x",
                    "environment": {"variables": [{"name": "A", "type": "SECRET", "secret": {}}]},
                }
            },
            "SECRET",
        ),
    ],
)
def test_what_cannot_be_given_is_refused_with_a_sentence(wish: dict[str, Any], word: str) -> None:
    refused = refusal(task(**wish), POSIX)
    assert refused is not None
    state, reason, message = refused
    assert (state, reason) == ("TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED")
    assert message.startswith("Failed to launch container: ")
    assert word in message


def test_limits_need_the_cgroups_isolator() -> None:
    limited = task(limits={"cpus": {"value": 2}})
    assert refusal(limited, POSIX) == (
        "TASK_DROPPED",
        "REASON_GC_ERROR",
        (
            "CPU limits can only be set on tasks launched in Mesos containers when the agent has "
            "loaded the 'cgroups/cpu' isolator"
        ),
    )
    assert refusal(limited, frozenset({"cgroups/all"})) is None


def test_the_executor_gets_its_share() -> None:
    limits = limits_of(task())
    assert (round(limits.cpus, 3), limits.memory_mb) == (1.6, 128)


def test_an_executor_has_time_for_its_tasks_grace() -> None:
    """`Slave::getExecutorInfo`: the kill policy and two seconds."""
    policy = {"kill_policy": {"grace_period": {"nanoseconds": 30_000_000_000}}}
    assert executor_grace(task(), 5.0) == 5.0
    assert executor_grace(task(**policy), 5.0) == 32.0
    assert environment()["MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"] == "5secs"


def environment(**more: Any) -> dict[str, str]:
    place = Place("S0", "10.0.0.1", 5051, "c-1", "/sandbox")
    return task_environment(
        task(**more),
        framework(),
        place,
        {"PATH": "/bin", "HOME": "/root"},
        recovery_timeout="15mins",
        shutdown_grace=5.0,
        http_command_executor=False,
    )


def test_environment() -> None:
    seen = environment()
    assert seen == {
        **seen,
        "PATH": "/bin",
        "HOME": "/root",
        "MESOS_SANDBOX": "/sandbox",
        "MESOS_DIRECTORY": "/sandbox",
        "MESOS_TASK_ID": "t-1",
        "MESOS_EXECUTOR_ID": "t-1",
        "MESOS_FRAMEWORK_ID": "F0",
        "MESOS_SLAVE_ID": "S0",
        "MESOS_AGENT_ENDPOINT": "10.0.0.1:5051",
        "MESOS_ALLOCATION_ROLE": "lab",
        "MESOS_CONTAINER_IP": "10.0.0.1",
        "LIBPROCESS_IP": "10.0.0.1",
    }


def test_a_container_with_networks_of_its_own_has_its_own_address() -> None:
    place = Place("S0", "10.0.0.1", 5051, "c-1", "/sandbox", container_ip="9.0.0.2")
    seen = task_environment(
        task(),
        framework(),
        place,
        {},
        recovery_timeout="15mins",
        shutdown_grace=5.0,
        http_command_executor=False,
    )
    assert seen["MESOS_CONTAINER_IP"] == "9.0.0.2"
    assert seen["LIBPROCESS_IP"] == "0.0.0.0"
    assert seen["MESOS_AGENT_ENDPOINT"] == "10.0.0.1:5051"


def test_the_task_has_the_last_word_on_its_environment() -> None:
    variables = [{"name": "PATH", "value": "/mine"}, {"name": "EMPTY"}]
    seen = environment(command={"value": "x", "environment": {"variables": variables}})
    assert (seen["PATH"], seen["EMPTY"]) == ("/mine", "")


def described(launched: TaskInfo, info: FrameworkInfo) -> dict[str, Any]:
    return launch_description(
        launched,
        info,
        Place("S0", "10.0.0.1", 5051, "c-1", "/sandbox"),
        {},
        "/journal",
        recovery_timeout=900,
        shutdown_grace=5,
        kill_policy_of_call_counts=False,
    )


def test_launch_description() -> None:
    plain = described(task(), framework(checkpoint=False))
    assert (plain["kill_grace"], plain["max_completion_time"]) == (3.0, None)
    assert (plain["checkpoint"], plain["reports_killing"]) == (False, False)
    full = described(
        task(
            kill_policy={"grace_period": {"nanoseconds": 2_500_000_000}},
            max_completion_time={"nanoseconds": 4_000_000_000},
            health_check={"type": "TCP", "tcp": {"port": 80}},
        ),
        framework("TASK_KILLING_STATE"),
    )
    assert (full["kill_grace"], full["max_completion_time"]) == (2.5, 4.0)
    assert full["reports_killing"]
    assert full["health_check"]["tcp"] == {"port": 80}
    json.dumps(full)


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ({"value": "echo hello; sleep 100"}, "sh -c 'echo hello; ...'"),
        ({"value": "sleep 300"}, "sh -c 'sleep 300'"),
        ({"value": "/bin/x", "shell": False, "arguments": ["x", "y"]}, "[/bin/x, x, y]"),
    ],
)
def test_the_executors_name_shows_a_bit_of_the_command(command: dict[str, Any], shown: str) -> None:
    name = executor_name(task(command=command))
    assert name == f"Command Executor (Task: t-1) (Command: {shown})"


def test_paths_in_descriptions_are_text() -> None:
    assert not any(isinstance(value, Path) for value in described(task(), framework()).values())
