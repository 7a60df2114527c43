"""A framework on the PyPI package avmesos, driven by lines of JSON.

Arguments: URL of the master, framework id or ``-``. Commands on standard input: ``{"launch": [id,
…]}``, ``{"kill": id}``, ``{"reconcile": [id, …]}``, ``{"teardown": true}``. What happens comes out
as ``{"event": …}`` lines. Runs in the package's own environment, so nothing else is imported.
"""

import json
import os
import sys
import threading

from avmesos.client import MesosClient

AGENTS = {}
"""Agent ids by task id."""


def say(event, **parts):
    sys.stdout.write(json.dumps({"event": event, **parts}) + "\n")
    sys.stdout.flush()


class Framework:
    def __init__(self, url, framework_id):
        self.client = MesosClient(
            [url], frameworkId=framework_id, frameworkName="foreign", frameworkUser="root"
        )
        MesosClient.WAIT_TIME = 1
        self.client.max_reconnect = 60
        self.client.set_failover_timeout(600)
        self.client.set_role("lab")
        self.client.add_capability("PARTITION_AWARE")
        self.wanted = []
        self.client.on(MesosClient.SUBSCRIBED, self.subscribed)
        self.client.on(MesosClient.OFFERS, self.offers)
        self.client.on(MesosClient.UPDATE, self.update)
        self.client.on(MesosClient.ERROR, lambda message: say("error", message=message))
        self.client.on(MesosClient.DISCONNECTED, lambda _: say("disconnected"))

    def subscribed(self, driver):
        self.driver = driver
        say("subscribed", framework_id=driver.frameworkId)

    def offers(self, offers):
        for offer in offers:
            value = offer.get_offer()
            if not self.wanted:
                offer.decline({"filters": {"refuse_seconds": 1}})
                continue
            tasks = [self.task(value, task_id) for task_id in self.wanted]
            self.wanted = []
            offer.accept(tasks)

    def task(self, offer, task_id):
        return {
            "name": task_id,
            "task_id": {"value": task_id},
            "agent_id": offer["agent_id"],
            "resources": [
                {"name": name, "type": "SCALAR", "scalar": {"value": value}}
                for name, value in (("cpus", 0.1), ("mem", 32))
            ],
            "command": {"value": "sleep 1000", "shell": True},
        }

    def update(self, update):
        status = update["status"]
        task_id = status["task_id"]["value"]
        AGENTS[task_id] = status.get("agent_id", {}).get("value")
        say("update", task_id=task_id, state=status["state"], reason=status.get("reason"))

    def command(self, call):
        if "launch" in call:
            self.wanted = call["launch"]
            self.driver.revive()
        elif "kill" in call:
            self.driver.kill(AGENTS[call["kill"]], call["kill"])
        elif "reconcile" in call:
            self.driver.reconcile(
                [{"task_id": {"value": task_id}} for task_id in call["reconcile"]]
            )
        elif "teardown" in call:
            self.driver.tearDown()
            say("torn-down")


def main():
    framework = Framework(sys.argv[1], None if sys.argv[2] == "-" else sys.argv[2])
    threading.Thread(target=framework.client.register, daemon=True).start()
    for line in sys.stdin:
        framework.command(json.loads(line))
    os._exit(0)


main()
