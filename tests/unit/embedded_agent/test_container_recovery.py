"""Nothing of a container is left, whenever the agent is killed."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest
from tests.waiting import until

from .conftest import Play
from .container_lab import (
    FRAMEWORK_ID,
    Lab,
    container,
    needs_root,
    persistent,
    run,
    start_again,
)

pytestmark = needs_root


@pytest.mark.contract(behaviour="container-recovery")
@pytest.mark.parametrize("moment", ["plugin", "started", "ending"])
def test_nothing_is_left_whenever_the_agent_is_killed(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace, moment: str
) -> None:
    """Killed while a plugin works, while the task runs, and while the container is destroyed."""
    hold = lab.directory / "cni/hold"
    parts = container(network_infos=[{"name": "apps"}]) | {"resources": [persistent("v", "data")]}

    async def story(master: Any) -> None:
        agent_process.start(master, *lab.flags())
        await master.registered()
        await master.send("CHECKPOINT_RESOURCES", resources=[persistent("v", "data")])
        if moment == "plugin":
            hold.touch()
        await run(master, wire, {"t": ("exec sleep 600", parts)})
        if moment == "plugin":
            await until(lambda: lab.calls("ADD"))
        else:
            await master.until_state("t", "TASK_RUNNING")
        if moment == "ending":
            hold.touch()
            await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "t"})
            await until(lambda: lab.calls("DEL"))
        agent_process.kill()
        if moment == "started":
            executor = master.statuses("t")[-1]["container_status"]["executor_pid"]
            os.kill(executor, 9)
        hold.unlink(missing_ok=True)
        await start_again(master, agent_process, *lab.flags())
        last = {"plugin": "TASK_FAILED", "started": "TASK_FAILED", "ending": "TASK_KILLED"}
        status = await master.until_state("t", last[moment])
        if moment != "ending":
            assert status["message"] == "Abnormal executor termination: unknown container"
        await lab.until_nothing_is_left()
        assert (lab.directory / "work/volumes/roles/lab/v").is_dir(), "the volume stays"

    play(story)
