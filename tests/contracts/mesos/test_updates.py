"""Updates that nobody acknowledges: unacknowledged-updates.jsonl and -after.jsonl."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from .client import Framework, Http, launch, subscribed, task
from .engine import wait_for
from .recordings import status_differences, status_of

Json = dict[str, Any]
STORY = "unacknowledged-updates.jsonl"


def update(framework: Framework, *, known: Json | None = None, answer: bool = False) -> Json:
    """The next status, which nobody acknowledges.

    Args:
        framework: whose.
        known: a status that may come again, and is not meant.
        answer: that of a reconciliation is wanted.
    """

    def wanted(event: Json) -> bool:
        status = event.get("update", {}).get("status")
        if status is None or (known is not None and status.get("uuid") == known["uuid"]):
            return False
        return answer == (status.get("reason") == "REASON_RECONCILIATION")

    return framework.wait(wanted)["update"]["status"]


def acknowledged(framework: Framework, status: Json, **changes: Any) -> None:
    body = {name: status[name] for name in ("agent_id", "task_id", "uuid")} | changes
    assert framework.call("ACKNOWLEDGE", acknowledge=body).status == 202


def task_of(master: Http, framework: Framework, kind: str = "tasks") -> Json | None:
    listed = master.operator("GET_TASKS").json["get_tasks"][kind]
    found = (t for t in listed if t["framework_id"]["value"] == framework.id)
    return next(found, None)


@pytest.mark.contract(
    behaviour="unacknowledged",
    calls="ACKNOWLEDGE RECONCILE",
    recordings="unacknowledged-updates.jsonl",
)
@pytest.mark.contract(
    behaviour="unacknowledged takeover", recordings="unacknowledged-updates-after.jsonl"
)
def test_an_update_is_sent_again_until_it_is_acknowledged(master: Http) -> None:
    with subscribed(master, "unacknowledged", failover_timeout=60.0) as framework:
        offer = framework.offers()[0]
        framework.accept([offer], [launch(task(offer, "un-1", "exit 2"))])
        first = update(framework)
        assert not status_differences(first, status_of(STORY, "un-1", "TASK_STARTING"))
        wait_for(
            lambda: (task_of(master, framework) or {}).get("state") == "TASK_FAILED",
            "the newest state is known",
        )
        # What is told is what was told last, not what is known.
        framework.call("RECONCILE", reconcile={"tasks": [{"task_id": {"value": "un-1"}}]})
        told = [status_of(STORY, "un-1", "TASK_STARTING", position) for position in range(4)]
        reconciled = [status for status in told if "message" in status]
        assert not status_differences(update(framework, answer=True), reconciled[0])
        again = update(framework)
        assert again == first
        assert again["timestamp"] == first["timestamp"]
        wrong = base64.b64encode(b"0123456789abcdef").decode()
        acknowledged(framework, first, uuid=wrong)
        acknowledged(framework, first, agent_id={"value": "no-such-agent"})
        listed = task_of(master, framework)
        assert listed is not None
        assert listed["status_update_state"] == "TASK_STARTING"
        acknowledged(framework, first)
        acknowledged(framework, first)
        running = update(framework, known=first)
        assert not status_differences(running, status_of(STORY, "un-1", "TASK_RUNNING"))
        again_id = {"value": framework.id}
        with subscribed(master, "u", failover_timeout=60.0, id=again_id) as second:
            assert update(second, known=first) == running
            acknowledged(second, running)
            failed = update(second, known=running)
            after = "unacknowledged-updates-after.jsonl"
            assert not status_differences(failed, status_of(after, "un-1", "TASK_FAILED"))
            acknowledged(second, failed)
            wait_for(lambda: task_of(master, framework, "completed_tasks"), "the task is completed")
            framework.id = ""
