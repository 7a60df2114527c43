"""An agent that starts again: what it finds of its tasks, and when it refuses to."""

import asyncio
import os
import signal
import subprocess
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.processes import alive, until_dead

from .conftest import Play, one_task_runs
from .container_lab import FRAMEWORK_ID

pytestmark = pytest.mark.long


@pytest.mark.contract(behaviour="agent-restart")
def test_tasks_survive_kill_minus_9(play: Play, agent_process: Any, wire: SimpleNamespace) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        end = agent_process.directory / "end"
        tasks = [
            wire.task("stays", "echo before; sleep 600"),
            wire.task("ends", f"while [ ! -e {end} ]; do sleep 0.05; done; exit 4"),
            wire.task("dies", "sleep 600"),
        ]
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=tasks)
        for name in ("stays", "ends", "dies"):
            await master.until_state(name, "TASK_RUNNING")
        agent_process.kill()
        executor = master.statuses("dies")[-1]["container_status"]["executor_pid"]
        os.kill(executor, signal.SIGKILL)
        end.touch()
        await until_dead(master.statuses("ends")[-1]["container_status"]["executor_pid"])
        agent_process.start(master, port=master.address[1])
        call = await master.registered("REREGISTER")
        again = call["reregister"]
        assert call["agent_id"] == {"value": "m-S0"}
        assert {t["task_id"]["value"] for t in again["tasks"]} == {"stays", "ends", "dies"}
        assert again["frameworks"][0]["id"] == FRAMEWORK_ID
        assert (await master.until_state("ends", "TASK_FAILED"))["message"].endswith("status 4")
        dead = await master.until_state("dies", "TASK_FAILED")
        assert dead["message"] == "Abnormal executor termination: unknown container"
        assert dead["reason"] == "REASON_EXECUTOR_TERMINATED"
        assert master.states("stays") == ["TASK_STARTING", "TASK_RUNNING"]
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "stays"})
        await master.until_state("stays", "TASK_KILLED")

    play(story)


def test_what_was_not_acknowledged_is_sent_again(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        master.acknowledge = False
        agent_process.start(master)
        await master.registered()
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=[wire.task("t", "exit 0")])
        first = await master.until_state("t", "TASK_STARTING")
        agent_process.kill()
        seen = len(master.calls)
        agent_process.start(master, port=master.address[1])

        def repeated(m: Any) -> Any:
            updates = [c["status_update"] for c in m.calls[seen:] if c["type"] == "STATUS_UPDATE"]
            return updates[0] if updates else None

        again = await master.wait_for(repeated)
        assert again["status"]["uuid"] == first["uuid"]
        assert master.states("t") == ["TASK_STARTING"], "the next one waits"
        master.acknowledge = True
        await master.ack({"status_update": again})
        await master.until_state("t", "TASK_FINISHED")
        assert master.states("t") == ["TASK_STARTING", "TASK_RUNNING", "TASK_FINISHED"]

    play(story)


def test_without_checkpoint_tasks_end_with_the_agent(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        framework = wire.framework(checkpoint=False)
        await master.send("RUN_TASKS", framework=framework, tasks=[wire.task("t", "sleep 600")])
        await master.until_state("t", "TASK_RUNNING")
        pids = agent_process.journal_pids()
        agent_process.kill()
        for pid in pids:
            await until_dead(pid)
        agent_process.start(master, port=master.address[1])
        call = await master.registered("REREGISTER")
        assert call["reregister"].get("tasks", []) == []

    play(story)


def test_tasks_outlive_an_agent_whose_credential_is_refused(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    """`Slave::_authenticate`: it exits "to keep possibly active executors running"."""

    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        tasks = [wire.task("stays", "sleep 600")]
        await master.send("RUN_TASKS", framework=wire.framework(), tasks=tasks)
        await master.until_state("stays", "TASK_RUNNING")
        agent_process.kill()
        master.status = 401
        agent_process.start(master, port=master.address[1])
        assert await asyncio.to_thread(agent_process.process.wait, 20) == 1
        master.status = 200
        agent_process.start(master, port=master.address[1])
        await master.registered("REREGISTER", 2)
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "stays"})
        await master.until_state("stays", "TASK_KILLED")
        assert master.states("stays") == [
            *("TASK_STARTING", "TASK_RUNNING", "TASK_KILLING", "TASK_KILLED")
        ]

    play(story)


def test_a_changed_configuration_is_refused(play: Play, agent_process: Any) -> None:
    async def story(master: Any) -> None:
        agent_process.start(master)
        await master.registered()
        port = master.address[1]
        assert await asyncio.to_thread(agent_process.stop) == 0

        def again(*flags: str) -> subprocess.CompletedProcess[str]:
            command = agent_process.command(master.port, *flags, port=port)
            return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)

        done = await asyncio.to_thread(again, "--attributes=rack:r2")
        assert done.returncode == 1
        expected = (
            "EXIT with status 1: Failed to perform recovery: Incompatible agent info detected."
        )
        assert expected in done.stderr
        assert f"rm -f {agent_process.directory}/work/meta/slaves/latest" in done.stderr
        done = await asyncio.to_thread(again, "--reconfiguration_policy=any")
        assert "Unknown option for 'reconfiguration_policy' flag any." in done.stderr
        more = ("--attributes=rack:r1;extra:yes", "--reconfiguration_policy=additive")
        agent_process.start(master, *more, port=port)
        call = await master.registered("REREGISTER")
        assert len(call["reregister"]["agent_info"]["attributes"]) == 2

    play(story)


def test_cleanup_ends_everything_and_forgets_the_id(
    play: Play, agent_process: Any, wire: SimpleNamespace
) -> None:
    async def story(master: Any) -> None:
        await one_task_runs(master, agent_process, wire)
        pids = agent_process.journal_pids()
        agent_process.kill()
        agent_process.start(master, "--recover=cleanup", port=master.address[1])
        assert await asyncio.to_thread(agent_process.process.wait, 20) == 0
        assert not any(map(alive, pids))
        agent_process.start(master, port=master.address[1])
        await master.registered("REGISTER", 2)

    play(story)
