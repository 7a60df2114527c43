"""Operations of a recorded story, asked of another cluster and their answers compared."""

from __future__ import annotations

import re
from typing import Any

from .client import Framework, Http
from .recordings import anonymous, events, story

Json = dict[str, Any]

PRINCIPAL = "lab-principal"
"""Of the frameworks in the recordings."""


def principal(master: Http) -> str:
    """Whom the tests' frameworks are to name."""
    return master.credential[0] if master.credential else PRINCIPAL


def named(value: Any, name: str) -> Any:
    """A recorded value with our principal in it."""
    if isinstance(value, dict):
        return {key: named(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [named(item, name) for item in value]
    return value.replace(PRINCIPAL, name) if isinstance(value, str) else value


def asked(recording: str, name: str) -> dict[str, Json]:
    """Operations with an id that the story's framework asked for; of an id the first one."""
    found: dict[str, Json] = {}
    for line in story(recording):
        if line["dir"] == "call" and line["body"]["type"] == "ACCEPT":
            for operation in line["body"]["accept"]["operations"]:
                if "id" in operation:
                    found.setdefault(operation["id"]["value"], named(operation, name))
    return found


def answered(recording: str, name: str) -> dict[str, Json]:
    """What the framework was told of each operation, the first time."""
    found: dict[str, Json] = {}
    for event in events(recording, "UPDATE_OPERATION_STATUS"):
        status = event["update_operation_status"]["status"]
        found.setdefault(status["operation_id"]["value"], named(status, name))
    return found


def said(message: str) -> str:
    """A message without what belongs to one cluster: ids, addresses, what an agent has in all."""
    words = re.sub(r"slave\(1\)@\S+ \(\S+\)", "PID", anonymous(message))
    return re.sub(r"\S.* does not contain ", "… does not contain ", words)


def same(ours: Json, theirs: Json) -> None:
    """A status of an operation says the same."""
    assert ours["state"] == theirs["state"], ours
    assert said(ours.get("message", "")) == said(theirs.get("message", ""))
    assert ours.keys() == theirs.keys()


class Story:
    """The operations of one recording, each named by its id there."""

    def __init__(self, framework: Framework, recording: str) -> None:
        name = principal(framework.master)
        self._framework = framework
        self.asked, self.answered = asked(recording, name), answered(recording, name)

    def operate(self, offer: Json, *ids: str) -> None:
        """ACCEPT these at once; every answer is the recorded one, and acknowledged."""
        operations = [self.asked[name] for name in ids]
        assert self._framework.accept([offer], operations).status == 202
        for name in ids:
            same(self.status(name), self.answered[name])

    def status(self, name: str) -> Json:
        """The next status of an operation, acknowledged."""

        def wanted(event: Json) -> bool:
            status = event.get("update_operation_status", {}).get("status", {})
            return bool(status.get("operation_id") == {"value": name})

        found = self._framework.wait(wanted)["update_operation_status"]["status"]
        if "uuid" in found:
            body = {
                "agent_id": found["agent_id"],
                "operation_id": found["operation_id"],
                "uuid": found["uuid"]["value"],
            }
            answer = self._framework.call(
                "ACKNOWLEDGE_OPERATION_STATUS", acknowledge_operation_status=body
            )
            assert answer.status == 202
        status: Json = found
        return status

    def offer(self, agent_id: Json) -> Json:
        """The next offer of that agent since offers were accepted last."""

        def mine(event: Json) -> list[Json]:
            offers: list[Json] = event.get("offers", {}).get("offers", [])
            return [offer for offer in offers if offer["agent_id"] == agent_id]

        def wanted(event: Json) -> bool:
            later = self._framework.events[self._framework.asked :]
            return any(event is each for each in later) and bool(mine(event))

        return mine(self._framework.wait(wanted))[0]


def released(master: Http, agent_id: Json, roles: set[str]) -> None:
    """What is left reserved for these roles is free again, volumes and all."""
    for _ in range(2):
        [slave] = master.get(f"/slaves?slave_id={agent_id['value']}").json["slaves"]
        for role, resources in slave["reserved_resources_full"].items():
            for resource in resources if role in roles else ():
                plain = {k: v for k, v in resource.items() if k not in {"role", "reservation"}}
                if "disk" in plain:
                    body = {"agent_id": agent_id, "volumes": [plain]}
                    assert master.operator("DESTROY_VOLUMES", destroy_volumes=body).status == 202
                    del plain["disk"]
                body = {"agent_id": agent_id, "resources": [plain]}
                answer = master.operator("UNRESERVE_RESOURCES", unreserve_resources=body)
                assert answer.status == 202, answer.text
