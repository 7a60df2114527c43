"""Several masters under ZooKeeper: ha-and-operator.json and master-failover-*.jsonl."""

from __future__ import annotations

import json
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from kazoo.client import KazooClient

from .client import Framework, Http, launch, subscribed, task
from .engine import wait_for
from .ensemble import Ensemble, OwnEnsemble
from .recordings import differences, events, recorded, status_differences, status_of
from .zookeeper import DebianZooKeeper, installed
from .zookeeper_double import ZooKeeperDouble

pytestmark = pytest.mark.long

Json = dict[str, Any]

BOOK = recorded("ha-and-operator.json")
DURABLE = {"failover_timeout": 600.0}
AFTER = "master-failover-after.jsonl"
REDIRECTED = (
    "redirect_from_other",
    "state_from_other",
    "slaves_from_other",
    "subscribe_at_other",
    "operator_at_other",
    "operator_health_at_other",
)


@pytest.mark.contract(behaviour="election", recordings="ha-and-operator.json")
def test_masters_enter_themselves_in_zookeeper_as_recorded(ensemble: Ensemble) -> None:
    theirs = json.loads(BOOK["znodes_before"]["json.info_0000000004"]["data"])
    for name, (info, ephemeral) in ensemble.nodes().items():
        assert len(name) == len("json.info_0000000004")
        assert ephemeral
        info.pop("domain", None)
        assert differences(info | {"domain": theirs["domain"]}, theirs) == []


@pytest.mark.parametrize("name", REDIRECTED)
@pytest.mark.contract(
    behaviour="election", endpoints="/redirect", recordings="ha-and-operator.json"
)
def test_the_others_redirect_to_the_leader_as_recorded(ensemble: Ensemble, name: str) -> None:
    entry = BOOK[name]
    info, _ = next(iter(ensemble.nodes().values()))
    rest = entry["headers"]["Location"].removeprefix(f"//127.0.0.1:{BOOK['leader_port']}")
    body = b'{"type":"GET_HEALTH"}' if entry["method"] == "POST" else None
    for master in ensemble.masters()[1:]:
        headers = {"Content-Type": "application/json"} if body else None
        answer = master.request(entry["method"], entry["path"], body, headers)
        assert (answer.status, answer.text) == (entry["status"], entry["body"])
        assert answer.headers["location"] == f"//{info['hostname']}:{info['port']}{rest}"


@pytest.mark.contract(
    behaviour="election", endpoints="/health /version /flags /metrics/snapshot /redirect"
)
def test_some_paths_never_redirect(ensemble: Ensemble) -> None:
    """`mesos-http-api.md` section 13; the leader's own redirect is in the recording."""
    leader, *others = ensemble.masters()
    assert leader.get("/metrics/snapshot").json["master/elected"] == 1.0
    info, _ = next(iter(ensemble.nodes().values()))
    for path in ("/redirect", "/master/redirect"):
        answer = leader.get(path)
        assert (answer.status, answer.headers["location"]) == (
            307,
            f"//{info['hostname']}:{info['port']}",
        )
    for master in others:
        for path in ("/health", "/version", "/flags", "/metrics/snapshot"):
            assert master.get(path).status == 200, path
        assert master.get("/metrics/snapshot").json["master/elected"] == 0.0


def running(framework: Framework, name: str, refuse: float = 0) -> None:
    offer = framework.offers()[0]
    framework.accept([offer], [launch(task(offer, name, "sleep 1000"))], refuse)
    framework.status(name, "TASK_RUNNING")


@pytest.mark.contract(
    behaviour="master-failover",
    recordings="master-failover-before.jsonl master-failover-after.jsonl ha-and-operator.json",
)
def test_another_master_takes_over_with_everything_that_was_decided(
    own_ensemble: OwnEnsemble,
) -> None:
    """The recorded story, with a second framework that never comes back.

    Of that one `mesos-http-api.md` section 2 says that it is held as recovered.
    """
    leader = own_ensemble.leader()
    machine = {"hostname": "other.example", "ip": "10.9.9.9"}
    window = {"machine_ids": [machine], "unavailability": {"start": {"nanoseconds": 2 * 10**18}}}
    assert leader.call("/maintenance/schedule", {"windows": [window]}).status == 200
    [slave] = leader.get("/slaves").json["slaves"]
    with (
        subscribed(leader, "before", **DURABLE) as framework,
        subscribed(leader, "never", **DURABLE) as never,
    ):
        # What is left goes to the other one.
        running(framework, "survivor", refuse=1000)
        running(never, "orphan")
        kind = {"deactivate_agent": {"agent_id": {"value": slave["id"]}}}
        assert leader.operator("DEACTIVATE_AGENT", **kind).status == 200
        own_ensemble.agent.signal(signal.SIGSTOP)
        try:
            own_ensemble.process_of(leader).kill()
            framework.wait_end()
            assert framework.events[-1]["type"] not in {"ERROR", "FAILURE"}
            second = own_ensemble.leader()
            assert second.port != leader.port
            # Until the agent is back nothing is said of it or of its tasks.
            recovered = second.get("/slaves").json["recovered_slaves"]
            assert [agent["id"] for agent in recovered] == [slave["id"]]
            agents = second.operator("GET_AGENTS").json["get_agents"]
            assert [a["id"]["value"] for a in agents["recovered_agents"]] == [slave["id"]]
            again = subscribed(second, "before", id={"value": framework.id}, **DURABLE)
            with again as returned:
                [theirs] = events(AFTER, "SUBSCRIBED")
                ours = next(e for e in returned.events if e["type"] == "SUBSCRIBED")
                assert differences(ours, theirs) == []
                asked = {"tasks": [{"task_id": {"value": "survivor"}}]}
                assert returned.call("RECONCILE", reconcile=asked).status == 202
                own_ensemble.agent.signal(signal.SIGCONT)
                wait_for(lambda: second.get("/slaves").json["slaves"], "the agent is back")
                assert [e for e in returned.events if e["type"] == "UPDATE"] == []
                returned.call("RECONCILE", reconcile={"tasks": []})
                theirs = status_of(AFTER, "survivor", "TASK_RUNNING")
                assert not status_differences(returned.status("survivor"), theirs)
                [back] = second.get("/slaves").json["slaves"]
                assert (back["id"], back["deactivated"]) == (slave["id"], True)
                kind = {"reactivate_agent": {"agent_id": {"value": slave["id"]}}}
                assert second.operator("REACTIVATE_AGENT", **kind).status == 200
                assert second.get("/maintenance/schedule").json == {"windows": [window]}
                is_recovered_until_it_is_torn_down(second, never.id)
                returned.call("KILL", kill={"task_id": {"value": "survivor"}})
                returned.status("survivor", "TASK_KILLED")
        finally:
            own_ensemble.agent.signal(signal.SIGCONT)
            framework.id = never.id = ""


def is_recovered_until_it_is_torn_down(master: Http, framework_id: str) -> None:
    def shown(where: str) -> Json:
        known = master.get("/frameworks").json[where]
        return next(each for each in known if each["id"] == framework_id)

    held = shown("frameworks")
    assert [held[name] for name in ("recovered", "connected", "active")] == [True, False, False]
    assert [each["state"] for each in held["tasks"]] == ["TASK_RUNNING"]
    frameworks = master.operator("GET_FRAMEWORKS").json["get_frameworks"]["frameworks"]
    by_id = {each["framework_info"]["id"]["value"]: each for each in frameworks}
    assert by_id[framework_id]["recovered"] is True
    assert (
        master.operator("TEARDOWN", teardown={"framework_id": {"value": framework_id}}).status
        == 200
    )
    assert [each["state"] for each in shown("completed_frameworks")["completed_tasks"]] == [
        "TASK_KILLED"
    ]


@pytest.mark.contract(behaviour="election")
def test_a_leader_that_was_deposed_ends(own_ensemble: OwnEnsemble) -> None:
    """Mesos' own words: `Lost candidacy`, `Conceded leadership` … committing suicide; status 1."""
    leader = own_ensemble.leader()
    deposed = own_ensemble.process_of(leader)
    assert deposed.process is not None
    deposed.signal(signal.SIGSTOP)
    try:
        count = len(own_ensemble.alive()) - 1
        wait_for(lambda: len(own_ensemble.nodes()) == count, "its session is over")
    finally:
        deposed.signal(signal.SIGCONT)
    assert deposed.process.wait(30) == 1
    # In Mesos' log this is a line among others, with a time in front.
    _, _, last = deposed.log.read_text().rpartition("EXIT with status 1: ")
    said = last.splitlines()[0]
    assert said.endswith("... committing suicide!")
    assert own_ensemble.leader().port != leader.port


@pytest.mark.skipif(
    not installed(), reason="the double is held to ZooKeeper itself, which is not here"
)
def test_the_double_behaves_like_zookeeper(own_flags: None, tmp_path: Path) -> None:
    real, double = DebianZooKeeper(tmp_path), ZooKeeperDouble()
    try:
        assert _told(real.address) == _told(double.address)
    finally:
        real.stop()
        double.stop()


def _told(address: str) -> list[Any]:
    """What two clients see of a story with ephemeral nodes, versions, watches and errors."""
    told: list[Any] = []
    first, second = (KazooClient(address, timeout=10) for _ in range(2))
    first.start(30)
    second.start(30)
    changed = threading.Event()

    def attempt(name: str, *arguments: Any, **more: Any) -> None:
        try:
            found = getattr(first, name)(*arguments, **more)
        except Exception as error:
            found = type(error).__name__
        told.append((name, found if isinstance(found, str | list) else type(found).__name__))

    attempt("ensure_path", "/a/b")
    attempt("create", "/a/b/x_", b"1", ephemeral=True, sequence=True)
    attempt("create", "/a/b/x_", b"2", sequence=True)
    attempt("create", "/a/b", b"")
    attempt("create", "/none/b", b"")
    attempt("create", "/a/b/x_0000000000/c", b"")
    attempt("get_children", "/a/b")
    attempt("get_children", "/none")
    attempt("delete", "/a")
    attempt("set", "/a/b", b"new", version=3)
    data, stat = second.get("/a/b", watch=lambda _: changed.set())
    told.append((data, stat.version, stat.numChildren))
    stat = first.set("/a/b", b"new", version=0)
    told.append((changed.wait(60), stat.version, stat.dataLength))
    left = threading.Event()
    second.get_children("/a/b", watch=lambda event: (told.append(event.type), left.set()))
    first.stop()
    first.close()
    told.append(left.wait(60))
    told.append(second.get_children("/a/b"))
    second.stop()
    second.close()
    return told
