"""Calls that have no story of their own, and what is not there: it is refused, never ignored."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest

from kubedcos.embedded.agent.flag_table import AGENT_FLAGS
from kubedcos.embedded.master.options import MASTER_FLAGS

from .client import Framework, Http
from .engine import EMBEDDED, PROGRAMS, Cluster
from .recordings import recorded

READS = ("GET_FLAGS", "GET_STATE", "GET_EXECUTORS", "GET_ROLES")
WITHOUT_EFFECT = {
    "MESSAGE": {"agent_id": {"value": "A"}, "executor_id": {"value": "E"}, "data": "aGk="},
    "SHUTDOWN": {"executor_id": {"value": "E"}, "agent_id": {"value": "A"}},
}

# Set for the recording, or by these tests for their own master.
SET_BY_HAND = {
    *("agent_ping_timeout", "max_agent_ping_timeouts", "domain", "hostname", "ip", "port"),
    *("quorum", "registry", "roles", "webui_dir", "work_dir"),
}


@pytest.mark.contract(operator="GET_FLAGS GET_STATE GET_EXECUTORS GET_ROLES")
@pytest.mark.parametrize("kind", READS)
def test_an_operator_reads(master: Http, kind: str) -> None:
    answer = master.operator(kind)
    assert (answer.status, answer.json["type"]) == (200, kind)
    assert isinstance(answer.json[kind.lower()], dict)


@pytest.mark.contract(calls="MESSAGE SHUTDOWN")
@pytest.mark.parametrize("kind", WITHOUT_EFFECT)
def test_calls_that_concern_nothing_of_ours_are_accepted(framework: Framework, kind: str) -> None:
    answer = framework.call(kind, **{kind.lower(): WITHOUT_EFFECT[kind]})
    assert (answer.status, answer.body) == (202, b"")
    assert framework.call("REVIVE").status == 202


@pytest.mark.contract(calls="RECONCILE_OPERATIONS", events="UPDATE_OPERATION_STATUS")
def test_an_unknown_operation_is_told_as_unknown(framework: Framework) -> None:
    asked: dict[str, Any] = {"operations": [{"operation_id": {"value": "o-1"}}]}
    assert framework.call("RECONCILE_OPERATIONS", reconcile_operations=asked).status == 202
    event = framework.wait_type("UPDATE_OPERATION_STATUS")
    status = event["update_operation_status"]["status"]
    assert status["state"] == "OPERATION_UNKNOWN"
    assert status["operation_id"] == {"value": "o-1"}


@pytest.mark.contract(endpoints="/flags", recordings="flags.json")
def test_defaults_of_flags_are_as_recorded(own_cluster: Cluster) -> None:
    theirs = recorded("flags.json")["body"]["flags"]
    ours = own_cluster.master.get("/flags").json["flags"]
    assert {name for name in theirs if ours.get(name) != theirs[name]} <= SET_BY_HAND


FLAGS = {"master": MASTER_FLAGS, "agent": AGENT_FLAGS}
BY_BUILD = re.compile("seccomp_|xfs_|jwt_|authenticate_http_executors")


@pytest.mark.parametrize("program", FLAGS)
def test_every_flag_of_mesos_is_known_and_no_other(program: str) -> None:
    """Each is taken or refused by name; `--help` of Mesos itself says which there are."""
    if PROGRAMS == EMBEDDED:
        pytest.skip("needs --mesos-binaries")
    words = [PROGRAMS[program][0], "--help"]
    helped = subprocess.run(words, capture_output=True, text=True, check=False)
    named = set(re.findall(r"^  --(?:\[no-\])?(\w+)", helped.stdout + helped.stderr, re.MULTILINE))
    assert len(named) > 50
    known = {flag.name for flag in FLAGS[program]}
    assert named - known == set()
    assert [name for name in known - named if not BY_BUILD.match(name)] == []


@pytest.mark.contract(endpoints="/files/debug")
def test_what_is_attached_is_an_object(master: Http) -> None:
    answer = master.get("/files/debug")
    assert (answer.status, type(answer.json)) == (200, dict)
