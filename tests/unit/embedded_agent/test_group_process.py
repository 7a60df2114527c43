"""Task groups on an agent process: deaths of agent and executor at every stage, and limits."""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.processes import until_dead
from tests.waiting import until

from kubedcos.embedded.agent.cgroup_layout import parse_mounts, plan_cgroups
from kubedcos.errors import InvalidInput

from .container_lab import FRAMEWORK_ID

pytestmark = pytest.mark.long

Json = dict[str, Any]
Story = Callable[[Any], Awaitable[None]]


@pytest.fixture
def play(wire: SimpleNamespace) -> Callable[[Story], None]:
    """Run a story with a master."""

    def run(story: Story) -> None:
        async def with_master() -> None:
            async with wire.FakeMaster() as master:
                await story(master)

        asyncio.run(with_master())

    return run


Play = Callable[[Story], None]


def pod(wire: SimpleNamespace, name: str = "pod") -> Json:
    return {
        "type": "DEFAULT",
        "executor_id": {"value": name},
        "framework_id": FRAMEWORK_ID,
        "resources": [wire.scalar("cpus", 0.1), wire.scalar("mem", 32), wire.scalar("disk", 32)],
    }


async def launch(master: Any, wire: SimpleNamespace, *tasks: Json, new: bool = True) -> None:
    status = await master.send(
        "RUN_TASK_GROUP",
        framework=wire.framework(),
        executor=pod(wire),
        launch_executor=new,
        tasks=[task | {"executor": pod(wire)} for task in tasks],
    )
    assert status == 202


async def exited(master: Any) -> Json:
    def seen(m: Any) -> Json | None:
        return next((c["exited_executor"] for c in m.calls if c["type"] == "EXITED_EXECUTOR"), None)

    found: Json = await master.wait_for(seen)
    return found


def pid_of(master: Any, task_id: str) -> int:
    pid: int = master.statuses(task_id)[-1]["container_status"]["executor_pid"]
    return pid


def test_a_group_survives_kill_minus_9_of_the_agent(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        end = agent_process.directory / "end"
        tasks = [
            wire.task("stays", "sleep 600"),
            wire.task("ends", f"while [ ! -e {end} ]; do sleep 0.05; done"),
        ]
        await launch(master, wire, *tasks)
        for name in ("stays", "ends"):
            await master.until_state(name, "TASK_RUNNING")
        agent_process.kill()
        end.touch()
        await until_dead(pid_of(master, "ends"))
        agent_process.start(master, port=master.address[1])
        again = (await master.registered("REREGISTER"))["reregister"]
        assert {t["task_id"]["value"] for t in again["tasks"]} == {"stays", "ends"}
        assert {t["executor_id"]["value"] for t in again["tasks"]} == {"pod"}
        assert [e["executor"]["executor_id"]["value"] for e in again["executors"]] == ["pod"]
        await master.until_state("ends", "TASK_FINISHED")
        assert master.states("stays") == ["TASK_STARTING", "TASK_RUNNING"]
        # A second group goes to the same executor.
        await launch(master, wire, wire.task("later", "exit 3"), new=False)
        assert (await master.until_state("later", "TASK_FAILED"))["message"].endswith("status 3")
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "stays"})
        await master.until_state("stays", "TASK_KILLED")
        assert (await exited(master))["status"] == 0
        for pid in agent_process.journal_pids():
            await until_dead(pid, 60)

    play(story)


@pytest.mark.parametrize("agent_lives", [True, False])
def test_an_executor_that_dies_takes_its_tasks_along(
    play: Play, agent_process: Any, wire: SimpleNamespace, *, agent_lives: bool
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        await launch(master, wire, wire.task("a", "sleep 600"), wire.task("b", "sleep 600"))
        for name in ("a", "b"):
            await master.until_state(name, "TASK_RUNNING")
        tasks = [pid_of(master, name) for name in ("a", "b")]
        executor = next(pid for pid in agent_process.journal_pids() if pid not in tasks)
        if not agent_lives:
            agent_process.kill()
        os.kill(executor, signal.SIGKILL)
        if not agent_lives:
            agent_process.start(master, port=master.address[1])
        texts = {True: "Executor terminated"}
        text = texts.get(agent_lives, "Abnormal executor termination: unknown container")
        for name in ("a", "b"):
            status = await master.until_state(name, "TASK_FAILED")
            assert status["message"] == text
            assert status["reason"] == "REASON_EXECUTOR_TERMINATED"
            assert status["source"] == "SOURCE_AGENT"
        assert (await exited(master))["status"] == 9
        for pid in tasks:
            await until_dead(pid, 60)

    play(story)


def test_a_group_that_the_agent_died_over_is_dropped(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    """The executor runs, the files are still on their way: the group was not delivered."""

    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        with socket.create_server(("127.0.0.1", 0)) as slow:
            uri = {"value": f"http://127.0.0.1:{slow.getsockname()[1]}/never"}
            tasks = [
                wire.task("waits", "sleep 600", command={"uris": [uri]}),
                wire.task("ready", "sleep 600"),
            ]
            await launch(master, wire, *tasks)
            connection, _ = await asyncio.to_thread(slow.accept)
            agent_process.kill()
            connection.close()
        agent_process.start(master, port=master.address[1])
        for name in ("waits", "ready"):
            status = await master.until_state(name, "TASK_DROPPED")
            assert status["message"] == "Task launched during agent restart"
            assert status["reason"] == "REASON_AGENT_RESTARTED"
        # It was never given a task, so it ends.
        await exited(master)
        for pid in agent_process.journal_pids():
            await until_dead(pid, 60)

    play(story)


def test_a_member_that_cannot_be_started_takes_its_group_along(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    """``default_executor.cpp``: the error is the status' message, the others are killed."""

    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        bad = wire.task("bad", "true", command={"uris": [{"value": "/no/such/file"}]})
        await launch(master, wire, bad, wire.task("good", "sleep 600"))
        failed = await master.until_state("bad", "TASK_FAILED")
        assert failed["message"].startswith("Failed to fetch all URIs for container '")
        assert failed["source"] == "SOURCE_EXECUTOR"
        assert master.states("bad") == ["TASK_STARTING", "TASK_FAILED"]
        await master.until_state("good", "TASK_KILLED")
        states = ["TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED"]
        assert master.states("good") == states
        assert (await exited(master))["status"] == 0

    play(story)


def test_master_and_agent_disagree_about_the_executor(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        await launch(master, wire, wire.task("none", "true"), new=False)
        status = await master.until_state("none", "TASK_DROPPED")
        assert status["message"] == "No executor is expected to launch and there is none running"
        assert status["reason"] == "REASON_EXECUTOR_TERMINATED"
        await launch(master, wire, wire.task("first", "sleep 600"))
        await master.until_state("first", "TASK_RUNNING")
        await launch(master, wire, wire.task("second", "true"))
        status = await master.until_state("second", "TASK_DROPPED")
        assert status["message"] == "Master wants to launch executor, but one already exists"
        await master.until_state("first", "TASK_KILLED")

    play(story)


def test_a_framework_that_is_shut_down_leaves_nothing(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        deaf = "trap '' TERM; while :; do sleep 0.1; done"
        await launch(master, wire, wire.task("a", deaf), wire.task("b", "sleep 600"))
        for name in ("a", "b"):
            await master.until_state(name, "TASK_RUNNING")
        seen = len(master.calls)
        await master.send("SHUTDOWN_FRAMEWORK", framework_id=FRAMEWORK_ID)
        for pid in agent_process.journal_pids():
            await until_dead(pid, 60)

        async def nobody_is_left() -> bool:
            return not (await agent_process.get(master, "/state"))["frameworks"]

        await until(nobody_is_left, pause=0.05)
        told = {c["type"] for c in master.calls[seen:]}
        assert not told & {"STATUS_UPDATE", "EXITED_EXECUTOR"}

    play(story)


def test_a_member_has_its_own_sandbox_and_not_the_executors_environment(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        await launch(master, wire, wire.task("a", "pwd; env; echo oops >&2"))
        await master.until_state("a", "TASK_FINISHED")
        out = agent_process.sandbox_file("pod", "tasks/a/stdout")
        assert agent_process.sandbox_file("pod", "tasks/a/stderr") == "oops\n"
        where, *variables = out.splitlines()
        assert "/executors/pod/runs/" in where
        assert "/containers/" in where
        named = dict(line.split("=", 1) for line in variables)
        assert named["MESOS_SANDBOX"] == where
        assert named["MESOS_ALLOCATION_ROLE"] == "lab"
        assert named["MESOS_CONTAINER_IP"] == "127.0.0.1"
        assert "MESOS_EXECUTOR_ID" not in named

    play(story)


def memory_cgroups() -> bool:
    try:
        plan = plan_cgroups(
            parse_mounts(Path("/proc/mounts").read_text()),
            Path("/sys/fs/cgroup"),
            frozenset({"cgroups/cpu", "cgroups/mem"}),
            "linux",
            hard_cpu=False,
        )
    except (InvalidInput, OSError):
        return False
    return all(os.access(hierarchy.mount, os.W_OK) for hierarchy in plan.hierarchies())


@pytest.mark.skipif(not memory_cgroups(), reason="no writable cgroups with cpu and memory here")
def test_too_much_memory_fails_the_whole_group(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    """limits.jsonl: the same text for all; the limit is that of executor and tasks together."""

    async def story(master: Any) -> None:
        flags = ("--launcher=linux", "--isolation=cgroups/cpu,cgroups/mem")
        agent_process.start(master, *flags, f"--cgroups_root={root}")
        await master.registered()
        fat = "exec python3 -c 'x = bytearray(200 << 20)'"
        await launch(master, wire, wire.task("fat", fat), wire.task("thin", "sleep 600"))
        statuses = [await master.until_state(name, "TASK_FAILED") for name in ("fat", "thin")]
        for status in statuses:
            assert status["message"].startswith("Memory limit exceeded: Requested: 96MB Maximum")
            assert status["reason"] == "REASON_CONTAINER_LIMITATION_MEMORY"
            assert status["limitation"]["resources"][0]["scalar"]["value"] == 96
        assert statuses[0]["message"] == statuses[1]["message"]
        assert (await exited(master))["status"] == 9
        types = [c["type"] for c in master.calls]
        # FAILURE reaches the framework before the statuses do, as recorded.
        last = max(i for i, c in enumerate(master.calls) if c["type"] == "STATUS_UPDATE")
        assert types.index("EXITED_EXECUTOR") < last
        agent_process.stop()

    root = f"kubedcos-test-{os.getpid()}"
    try:
        play(story)
    finally:
        for mount in Path("/sys/fs/cgroup").iterdir():
            if (mount / root).is_dir():
                (mount / root).rmdir()
