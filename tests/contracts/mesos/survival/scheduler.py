"""A framework that can die, come back with its id, and leave statuses unacknowledged."""

from __future__ import annotations

import contextlib
import http.client
import threading
from typing import Any

from tests.contracts.mesos.client import (
    Framework,
    framework_info,
    launch,
    open_subscription,
    scalar,
    task,
)
from tests.contracts.mesos.engine import wait_for

from .lab import PATIENCE, Lab

Json = dict[str, Any]
TERMINAL = frozenset(
    f"TASK_{name}" for name in ("FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "DROPPED", "GONE")
)
KILL_GRACE = 2.0


class Scheduler:
    """One task and its scheduler.

    Attributes:
        told: statuses as they came, over all subscriptions.
    """

    def __init__(self, lab: Lab, task_id: str) -> None:
        self.lab, self.task_id = lab, task_id
        self.id = ""
        self.offer: Json = {}
        self.told: list[Json] = []
        self.stubborn = False
        self.connect()

    def connect(self) -> None:
        """Subscribe, as often as it takes."""

        def subscribed() -> Framework | None:
            try:
                return self._subscribe()
            except (AssertionError, http.client.HTTPException):
                return None

        self.framework: Framework = wait_for(subscribed, "the framework is subscribed", PATIENCE)

    def _subscribe(self) -> Framework | None:
        info = framework_info(self.task_id, failover_timeout=600.0)
        call: Json = {"type": "SUBSCRIBE", "subscribe": {"framework_info": info}}
        if self.id:
            info["id"] = call["framework_id"] = {"value": self.id}
        made = open_subscription(self.lab.through_relay, call)
        if made.answer.status != 200:
            made.close()
            return None
        event = made.wait(lambda event: event["type"] in {"SUBSCRIBED", "ERROR"}, PATIENCE)
        self.id = made.id = event["subscribed"]["framework_id"]["value"]
        return made

    def die(self) -> None:
        """As `kill -9`: the kernel closes the connections."""
        self.framework.close()
        wait_for(lambda: not self.lab.connected(self.id), "the master misses the framework")

    def take_offer(self) -> None:
        self.offer = self.framework.offers(PATIENCE)[0]

    def launch(self, uri: str = "", *, reserve: bool = False) -> None:
        """Accept the offer with the task, which writes down that it started."""
        ignore = "trap '' TERM; " if self.stubborn else ""
        script = f"{ignore}echo $$ >> {self.lab.starts}/{self.task_id}; sleep 1000"
        command: Json = {
            "value": script if self.stubborn else script.replace("sleep", "exec sleep")
        }
        if uri:
            command["uris"] = [{"value": uri, "cache": False}]
        policy = {"grace_period": {"nanoseconds": int(KILL_GRACE * 1e9)}}
        wanted = task(self.offer, self.task_id, "", kill_policy=policy)
        wanted["command"] = command | {"shell": True}
        operations = self._volume() if reserve else []
        if reserve:
            wanted["resources"].append(self._disk(persistent=True))
        self.framework.accept([self.offer], [*operations, launch(wanted)])

    def _disk(self, *, persistent: bool) -> Json:
        reserved = scalar("disk", 64, reservations=[{"type": "DYNAMIC", "role": "lab"}])
        if persistent:
            persistence = {"id": f"volume-{self.task_id}"}
            reserved["disk"] = {
                "persistence": persistence,
                "volume": {"mode": "RW", "container_path": "volume"},
            }
        return reserved

    def _volume(self) -> list[Json]:
        return [
            {"type": "RESERVE", "reserve": {"resources": [self._disk(persistent=False)]}},
            {"type": "CREATE", "create": {"volumes": [self._disk(persistent=True)]}},
        ]

    def give_volume_back(self) -> None:
        """Once an offer holds it."""
        while True:
            self.take_offer()
            mine = [
                one for one in self.offer["resources"] if one.get("disk", {}).get("persistence")
            ]
            if mine:
                break
            self.framework.call("DECLINE", decline={"offer_ids": [self.offer["id"]]})
        operations = [
            {"type": "DESTROY", "destroy": {"volumes": [self._disk(persistent=True)]}},
            {"type": "UNRESERVE", "unreserve": {"resources": [self._disk(persistent=False)]}},
        ]
        self.framework.accept([self.offer], operations)

    def kill(self) -> None:
        self.framework.call("KILL", kill={"task_id": {"value": self.task_id}})

    def beside(self, call: Any) -> None:
        """Make a call whose answer may never come."""

        def run() -> None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                call()

        threading.Thread(target=run, daemon=True).start()

    def until(self, *states: str, acknowledge: bool = True) -> Json:
        """The next status of such a state; those before it are acknowledged, it only if wanted."""
        while True:
            status = self.framework.wait_type("UPDATE", PATIENCE)["update"]["status"]
            self.told.append(status)
            if status["state"] in states and not acknowledge:
                return status
            self.acknowledge(status)
            if status["state"] in states:
                return status

    def acknowledge(self, status: Json) -> None:
        if "uuid" in status:
            body = {name: status[name] for name in ("agent_id", "task_id", "uuid")}
            self.framework.call("ACKNOWLEDGE", acknowledge=body)

    def reconciled(self) -> str:
        """What the master says about the task when asked without naming an agent."""
        asked = {"tasks": [{"task_id": {"value": self.task_id}}]}
        self.framework.call("RECONCILE", reconcile=asked)
        while True:
            status = self.framework.wait_type("UPDATE", PATIENCE)["update"]["status"]
            self.told.append(status)
            self.acknowledge(status)
            if status.get("reason") == "REASON_RECONCILIATION" and "uuid" not in status:
                return str(status["state"])

    def wait_for_state(self, state: str) -> None:
        """Ask until the master knows that state."""
        wait_for(lambda: self.reconciled() == state, f"the master says {state}", PATIENCE)

    def tear_down(self) -> None:
        self.framework.call("TEARDOWN")
        self.framework.close()
