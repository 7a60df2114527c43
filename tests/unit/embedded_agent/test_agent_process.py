"""The agent as a process beside a master that the test plays."""

import asyncio
import base64
import os
import signal
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.processes import alive, until_dead
from tests.waiting import until

from kubedcos.embedded.post import post
from kubedcos.embedded.protocol import AGENT_PATH, SESSION_HEADER

from .conftest import Play, one_task_runs
from .container_lab import FRAMEWORK_ID


def test_a_task_from_start_to_end(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        call = await master.registered()
        info = call["register"]["agent_info"]
        assert info["hostname"] == "127.0.0.1"
        assert info["checkpoint"] is True
        assert info["attributes"][0]["text"] == {"value": "r1"}
        tasks = [wire.task("ok", "echo out; echo $MESOS_TASK_ID"), wire.task("bad", "exit 3")]
        assert await master.send("RUN_TASKS", framework=wire.framework(), tasks=tasks) == 202
        last = await master.until_state("ok", "TASK_FINISHED")
        assert master.states("ok") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]
        assert last["executor_id"] == {"value": "ok"}
        addresses = last["container_status"]["network_infos"][0]["ip_addresses"]
        assert addresses == [{"protocol": "IPv4", "ip_address": "127.0.0.1"}]
        assert last["container_status"]["executor_pid"] in agent_process.journal_pids()
        assert agent_process.sandbox_file("ok", "stdout") == "out\nok\n"
        await master.until_state("bad", "TASK_FAILED")

    play(story)


def test_launches_that_fail(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        tasks = [
            wire.task("uri", "true", command={"uris": [{"value": "http://127.0.0.1:1/x"}]}),
            wire.task("image", "true", container={"type": "DOCKER", "docker": {"image": "x"}}),
            wire.task("user", "true", command={"user": "no-such-user"}),
            wire.task("limits", "true", limits={"cpus": {"value": 1}}),
        ]
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=tasks)
        failed = await master.until_state("uri", "TASK_FAILED")
        assert (failed["source"], failed["reason"]) == (
            "SOURCE_AGENT",
            "REASON_CONTAINER_LAUNCH_FAILED",
        )
        assert failed["message"].startswith("Failed to launch container: Failed to fetch all URIs")
        assert "container_status" not in failed
        failed = await master.until_state("image", "TASK_FAILED")
        assert "does not support containers of type DOCKER" in failed["message"]
        if os.geteuid() == 0:
            failed = await master.until_state("user", "TASK_FAILED")
            assert "no-such-user" in failed["message"]
        dropped = await master.until_state("limits", "TASK_DROPPED")
        assert "executor_id" not in dropped

    play(story)


def test_kill_before_and_after_the_start(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        slow = {"uris": [{"value": "http://127.0.0.1:1/x", "cache": True}]}
        tasks = [wire.task("early", "sleep 600", command=slow), wire.task("late", "sleep 600")]
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=tasks)
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "early"})
        killed = await master.until_state("early", "TASK_KILLED")
        assert killed["reason"] == "REASON_TASK_KILLED_DURING_LAUNCH"
        assert killed["message"] == "Killed before delivery to the executor"
        assert master.states("early") == ["TASK_KILLED"]
        await master.until_state("late", "TASK_RUNNING")
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "late"})
        killed = await master.until_state("late", "TASK_KILLED")
        assert killed["message"] == "Command terminated with signal Terminated"
        assert master.states("late")[-2:] == ["TASK_KILLING", "TASK_KILLED"]
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "unknown"})

    play(story)


def test_a_framework_that_is_shut_down_hears_nothing(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        deaf = wire.task("t", "trap '' TERM; while :; do sleep 1; done")
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=[deaf])
        await master.until_state("t", "TASK_RUNNING")
        await master.send("SHUTDOWN_FRAMEWORK", framework_id=FRAMEWORK_ID)
        for pid in agent_process.journal_pids():
            await until_dead(pid)
        assert master.states("t") == ["TASK_STARTING", "TASK_RUNNING"]
        async with asyncio.timeout(60):
            while (await agent_process.get(master, "/state"))["frameworks"]:
                pass

    play(story)


def test_a_task_that_is_shut_down_has_the_time_of_its_kill_policy(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    """`Slave::getExecutorInfo`: not that of `executor_shutdown_grace_period`, here a second."""
    command = "trap 'sleep 2; echo bye; exit 0' TERM; echo ready; while :; do sleep 0.1; done"

    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        policy = {"grace_period": {"nanoseconds": 10**10}}
        slow = wire.task("t", command, kill_policy=policy)
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=[slow])
        await master.until_state("t", "TASK_RUNNING")
        await until(lambda: agent_process.sandbox_file("t", "stdout") == "ready\n")
        await master.send("SHUTDOWN_FRAMEWORK", framework_id=FRAMEWORK_ID)
        for pid in agent_process.journal_pids():
            await until_dead(pid)
        assert agent_process.sandbox_file("t", "stdout") == "ready\nbye\n"

    play(story)


def test_sessions(play: Play, agent_process: Any) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        body = b'{"type": "PING", "ping": {"connected": true}}'
        headers = {SESSION_HEADER: "another"}
        reply = await post(*master.address, AGENT_PATH, body, headers=headers)
        assert reply.status == 409
        reply = await post(*master.address, AGENT_PATH, b"nonsense", headers=headers)
        assert reply.status == 400
        assert await master.send("PING", connected=True) == 202
        master.drop_links()
        await master.registered("REREGISTER")
        assert await master.send("PING", connected=False) == 202
        await master.registered("REREGISTER", 2)

    play(story)


def test_tasks_that_only_the_master_knows(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        unknown = {"framework": wire.framework(), "task_ids": [{"value": "ghost"}]}
        master.reply_extra = {"unknown_tasks": [unknown]}
        agent_process.start(master)
        dropped = await master.until_state("ghost", "TASK_DROPPED")
        assert dropped["reason"] == "REASON_RECONCILIATION"
        assert dropped["message"] == "Reconciliation: task unknown to the agent"

    play(story)


@pytest.mark.contract(behaviour="volumes")
def test_volumes_come_and_go(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    disk = {
        "name": "disk",
        "type": "SCALAR",
        "scalar": {"value": 16},
        "reservations": [{"type": "DYNAMIC", "role": "lab"}],
        "disk": {
            "persistence": {"id": "vol"},
            "volume": {"mode": "RW", "container_path": "data"},
        },
    }

    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        volume = agent_process.directory / "work/volumes/roles/lab/vol"
        assert await master.send("CHECKPOINT_RESOURCES", resources=[disk]) == 202
        assert volume.is_dir()
        task = wire.task("w", "echo kept > data/file", resources=[disk])
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=[task])
        await master.until_state("w", "TASK_FINISHED")
        assert (volume / "file").read_text() == "kept\n"
        agent_process.kill()
        agent_process.start(master, port=master.address[1])
        call = await master.registered("REREGISTER")
        assert call["reregister"]["checkpointed_resources"][0]["disk"]["persistence"] == {
            "id": "vol"
        }
        assert await master.send("CHECKPOINT_RESOURCES", resources=[]) == 202
        assert not volume.exists()

    play(story)


@pytest.mark.parametrize(
    ("status", "word", "ends"), [(401, "refused authentication", 1), (410, "no", 0)]
)
def test_refusals_that_end_the_agent(
    play: Play, agent_process: Any, status: int, word: str, ends: int
) -> None:
    async def story(master: Any) -> None:
        master.status = status
        done = await asyncio.to_thread(
            subprocess.run,
            agent_process.command(master.port),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == ends
        assert word in done.stderr
        assert "Traceback" not in done.stderr

    play(story)


def test_the_credential_goes_with_every_call(play: Play, agent_process: Any) -> None:
    async def story(master: Any) -> None:
        credential = '--credential={"principal": "agent", "secret": "geheim"}'
        agent_process.start(master, credential)
        await master.registered()
        expected = "Basic " + base64.b64encode(b"agent:geheim").decode()
        assert master.headers[0]["authorization"] == expected

    play(story)


def test_going_for_good(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        await one_task_runs(master, agent_process, wire)
        agent_process.process.send_signal(signal.SIGUSR1)
        await master.wait_for(lambda m: m.calls[-1]["type"] == "UNREGISTER")
        assert await asyncio.to_thread(agent_process.process.wait, 20) == 0
        assert not any(map(alive, agent_process.journal_pids()))

    play(story)


def test_marked_gone(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        await one_task_runs(master, agent_process, wire)
        await master.send("SHUTDOWN", message="gone")
        assert await asyncio.to_thread(agent_process.process.wait, 20) == 0
        assert not any(map(alive, agent_process.journal_pids()))

    play(story)
