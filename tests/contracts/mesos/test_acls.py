"""Who may do and see what under an ACL file, against the recordings `acls*`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.ports import free_port

from .client import Answer, Framework, Http, Json, framework_info, open_subscription
from .engine import Cluster, start_agent, start_master
from .recordings import anonymous, book, status_differences, story

BOOK = book("acls.json")
RECORDED = "fc9c6970-73ed-4b8e-ba6e-6329246cfee7"
SANDBOX = (
    f"/var/lib/mesos/a1/slaves/{RECORDED}-S0/frameworks/{RECORDED}-0001"
    "/executors/as-nobody/runs/f9415caf-896e-4ed7-a363-dadf706900b9"
)
SECRETS = {"ops": "ops-secret", "fw": "fw-secret", "blind": "blind-secret"}


@dataclass
class Guarded:
    """A cluster under the recorded ACLs, with the recorded framework and its task on it."""

    cluster: Cluster
    agent: str
    framework: Framework
    names: dict[str, str]

    def caller(self, note: str) -> tuple[Http, dict[str, str]]:
        """Who sends the exchange with this note, and which headers."""
        address = self.agent if note.startswith("agent, ") else self.cluster.address
        words = note.removeprefix("agent, ").split()
        name = words[0].rstrip(":")
        if name == "right":
            name = "ops"
        if name in SECRETS:
            return Http(address, (name, SECRETS[name])), {}
        if note.endswith("a wrong password"):
            return Http(address, ("ops", "wrong")), {}
        if note == "an unknown principal":
            return Http(address, ("nobody", "secret")), {}
        return Http(address), {}

    def ours(self, recorded: str) -> str:
        """A recorded text with the identifiers of this run."""
        for theirs, mine in self.names.items():
            recorded = recorded.replace(theirs, mine)
        return recorded

    def send(self, entry: Json) -> Answer:
        """The answer to a recorded request."""
        http, headers = self.caller(entry["note"])
        headers |= entry.get("request_headers") or {}
        body = entry.get("request")
        if isinstance(body, dict | list):
            headers |= {"Content-Type": "application/json", "Accept": "application/json"}
            body = json.dumps(body)
        data = None if body is None else self.ours(body).encode()
        return http.request(entry["method"], self.ours(entry["path"]), data, headers)


def _flag(directory: Path, name: str, value: Any) -> str:
    path = directory / f"{name}.json"
    path.write_text(json.dumps(value))
    return f"--{name}={path}"


def _operations(entry: Json) -> list[Json]:
    operations: list[Json] = entry["body"]["accept"]["operations"]
    return operations


def _accepts() -> list[Json]:
    lines = story("acls-framework.jsonl")
    return [e for e in lines if e["dir"] == "call" and e["body"]["type"] == "ACCEPT"]


@pytest.fixture(scope="module")
def guarded(own_flags: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    directory = tmp_path_factory.mktemp("acls")
    listed = [{"principal": name, "secret": secret} for name, secret in SECRETS.items()]
    credentials = {"credentials": listed}
    common = ("--authenticate_http_readonly", "--authenticate_http_readwrite")
    acls = _flag(directory, "acls", BOOK[0]["acls"])
    made = Cluster(f"127.0.0.1:{free_port()}", ("ops", SECRETS["ops"]))
    try:
        start_master(
            made,
            directory,
            *common,
            "--authenticate_http_frameworks",
            "--http_framework_authenticators=basic",
            acls,
            _flag(directory, "credentials", credentials),
        )
        start_agent(
            made, directory, 0, *common, acls, _flag(directory, "http_credentials", credentials)
        )
        made.wait_for_agents(1)
        yield from _with_framework(made)
    finally:
        made.stop()


def _with_framework(made: Cluster) -> Iterator[Guarded]:
    agent = made.master.get("/slaves").json["slaves"][0]
    fw = Http(made.address, ("fw", SECRETS["fw"]))
    gone = open_subscription(fw, _subscribe("gone", roles=["lab"]))
    gone.id = gone.wait_type("SUBSCRIBED")["subscribed"]["framework_id"]["value"]
    assert gone.call("TEARDOWN").status == 202
    gone.close()
    info = {"user": "nobody", "principal": "fw", "failover_timeout": 600.0}
    framework = open_subscription(fw, _subscribe("guarded", **info))
    framework.id = framework.wait_type("SUBSCRIBED")["subscribed"]["framework_id"]["value"]
    names = {f"{RECORDED}-0001": framework.id, f"{RECORDED}-S0": agent["id"]}
    found = Guarded(made, agent["pid"].partition("@")[2], framework, names)
    offers = framework.offers()
    operations = json.loads(found.ours(json.dumps(_operations(_accepts()[0]))))
    assert framework.accept(offers, operations).status == 202
    framework.status("as-nobody", "TASK_RUNNING")
    ops = Http(found.agent, ("ops", SECRETS["ops"]))
    [shown] = ops.get("/state").json["frameworks"]
    # Longest first: the identifiers are parts of the path.
    found.names = {SANDBOX: shown["executors"][0]["directory"], **names}
    with closing(framework):
        yield found


def _subscribe(name: str, **changes: Any) -> Json:
    return {"type": "SUBSCRIBE", "subscribe": {"framework_info": framework_info(name, **changes)}}


def _value(body: Any) -> Any:
    """A recorded body: JSON, text, or None for what the recorder cut."""
    if not isinstance(body, str) or not body:
        return body
    if body.endswith("(cut by the recorder)"):
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body


def _emptiness(value: Any) -> Any:
    """What of an answer is there and what is left out: objects and lists, empty or not."""
    if isinstance(value, dict):
        kept = {name: _emptiness(part) for name, part in value.items()}
        return {name: part for name, part in kept.items() if part is not None}
    return bool(value) if isinstance(value, list) else None


def _counted(value: Json, recorded: Json) -> Json:
    """`value` in the form of a recording that only has the lengths of lists."""
    lists = {name: len(value[name]) for name in recorded if isinstance(value.get(name), list)}
    return lists | {"flags": "present" if "flags" in value else "absent"}


def _exchanges() -> list[Any]:
    last = len(BOOK) - 1  # it tears the framework down
    return [
        pytest.param(entry, id=f"{at}-{entry['note']}")
        for at, entry in enumerate(BOOK)
        if 0 < at < last and "NESTED" not in str(entry) and "KILL_CONTAINER" not in str(entry)
    ]


@pytest.mark.parametrize("entry", _exchanges())
@pytest.mark.contract(behaviour="authorization authentication", recordings="acls.json")
def test_who_may_ask_what_is_as_recorded(guarded: Guarded, entry: Json) -> None:
    answer = guarded.send(entry)
    if answer.status == 501 or answer.text == "404 Not Found.":
        assert entry["status"] != 404
        pytest.skip("the embedded engine refuses the call as a whole")
    assert answer.status == entry["status"], answer.text
    header = entry["headers"].get("WWW-Authenticate")
    assert answer.headers.get("www-authenticate") == header
    theirs = _value(entry["body"])
    if answer.status != 200:
        wanted = guarded.ours(entry["body"]) if isinstance(entry["body"], str) else ""
        assert _without_port(answer.text) == _without_port(wanted)
    elif entry["note"].endswith("lists counted"):
        ours = _counted(answer.json, theirs)
        assert {name: theirs[name] for name in ours if name != "capabilities"} == {
            name: count for name, count in ours.items() if name != "capabilities"
        }
    elif entry["path"] in {"/frameworks", "/state-summary", "/tasks"}:
        assert {name: len(answer.json[name]) for name in theirs} == theirs
    elif theirs is not None and theirs != "" and entry["path"] != "/version":
        ours_there, theirs_there = _emptiness(answer.json), _emptiness(theirs)
        assert _listed(ours_there) == _listed(theirs_there)


def _without_port(text: str) -> str:
    host, _, _ = text.partition(" at slave(1)@")
    return host + text.partition("):")[2] if host != text else anonymous(text)


def _listed(there: Any) -> Any:
    """Of objects the names whose lists are not empty, all the way down."""
    if not isinstance(there, dict):
        return there
    kept = {name: _listed(part) for name, part in there.items()}
    return {name: part for name, part in kept.items() if part not in (False, {})}


@pytest.mark.parametrize(
    "case",
    [
        ("acls-anonymous", None),
        ("acls-wrong-password", ("fw", "wrong")),
        ("acls-foreign-principal", ("fw", SECRETS["fw"])),
        ("acls-role-denied", ("fw", SECRETS["fw"])),
        ("acls-no-principal", ("fw", SECRETS["fw"])),
        ("acls-none-allowed", ("blind", SECRETS["blind"])),
    ],
    ids=lambda case: case[0],
)
@pytest.mark.contract(
    behaviour="authorization", calls="SUBSCRIBE", recordings="acls-subscribe.jsonl"
)
def test_who_may_subscribe_is_as_recorded(
    guarded: Guarded, case: tuple[str, tuple[str, str] | None]
) -> None:
    name, credential = case
    lines = [line for line in story("acls-subscribe.jsonl") if line["case"] == name]
    master = Http(guarded.cluster.address, credential)
    if lines[1]["status"] != 200:
        answer = master.call("/api/v1/scheduler", lines[0]["body"])
        assert (answer.status, answer.text) == (lines[1]["status"], lines[2]["body"])
        return
    made = open_subscription(master, lines[0]["body"])
    with closing(made):
        assert made.answer.status == 200
        first = next(line["body"] for line in lines if line["dir"] == "event")
        assert made.wait_type(first["type"])
        if first["type"] == "ERROR":
            assert made.events == [first]
            made.wait_end()
            return
        made.id = made.events[0]["subscribed"]["framework_id"]["value"]
        ops = guarded.cluster.master.get(f"/frameworks?framework_id={made.id}").json
        assert ops["frameworks"][0]["principal"] == "fw"
        assert made.call("TEARDOWN").status == 202


@pytest.mark.contract(
    behaviour="authorization", operations="LAUNCH", recordings="acls-framework.jsonl"
)
def test_a_task_as_a_user_that_is_denied(guarded: Guarded) -> None:
    [theirs] = [e for e in story("acls-framework.jsonl") if "as-root" in str(e.get("body", ""))][1:]
    [ours] = [e for e in guarded.framework.events if "'root'" in str(e) and "as-root" in str(e)]
    status = theirs["body"]["update"]["status"]
    status["message"] = guarded.ours(status["message"])
    assert not status_differences(ours["update"]["status"], status)


@pytest.mark.contract(
    behaviour="authorization",
    operations="RESERVE LAUNCH_GROUP",
    events="UPDATE_OPERATION_STATUS",
    recordings="acls-framework.jsonl",
)
@pytest.mark.parametrize("position", [1, 2])
def test_an_operation_that_is_denied(guarded: Guarded, position: int) -> None:
    framework = guarded.framework
    framework.call("REVIVE")
    offers = framework.wait(lambda event: _is_live(event, framework))["offers"]["offers"]
    operations = json.loads(guarded.ours(json.dumps(_operations(_accepts()[position]))))
    assert framework.accept(offers, operations).status == 202
    lines = story("acls-framework.jsonl")
    answers = [line["body"] for line in lines if "authorized" in str(line.get("body", ""))]
    wanted = [body for body in answers if isinstance(body, dict)][1:]
    if position == 1:
        [theirs] = [body for body in wanted if "update_operation_status" in body]
        assert framework.wait_type("UPDATE_OPERATION_STATUS") == theirs
        return
    for theirs in wanted[1:]:
        status = theirs["update"]["status"]
        status["message"] = guarded.ours(status["message"])
        assert not status_differences(framework.status(status["task_id"]["value"]), status)


def _is_live(event: Json, framework: Framework) -> bool:
    """Whether these offers were not taken back: others' tests reserve on the agent."""
    back = [e["rescind"]["offer_id"] for e in framework.events if e["type"] == "RESCIND"]
    offers = event.get("offers", {}).get("offers", [])
    return bool(offers) and not any(offer["id"] in back for offer in offers)


@pytest.mark.contract(
    behaviour="authorization", calls="UPDATE_FRAMEWORK", recordings="acls-framework.jsonl"
)
def test_a_change_to_a_role_that_is_denied(guarded: Guarded) -> None:
    lines = story("acls-framework.jsonl")
    [at] = [i for i, e in enumerate(lines) if "UPDATE_FRAMEWORK" in str(e.get("body", ""))]
    call = json.loads(guarded.ours(json.dumps(lines[at]["body"])))
    answer = guarded.framework.call("UPDATE_FRAMEWORK", update_framework=call["update_framework"])
    theirs = lines[at + 1]
    assert (answer.status, answer.text) == (theirs["status"], guarded.ours(theirs["body"]))
