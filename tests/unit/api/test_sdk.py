"""What scripts that were written for a DC/OS SDK scheduler see."""

from __future__ import annotations

import pytest

from kubedcos.api import sdk
from kubedcos.api.hosting import Clusters
from kubedcos.plan.interruption import Verb

from .house import Ask, House, serve


async def one_cluster(ask: Ask) -> None:
    assert (await ask("POST", "/v1/clusters", {"name": "k1"})).status_code == 201


@pytest.mark.parametrize("prefix", ["/v1", "/v1/service/k1"])
def test_plans_have_the_fields_and_codes_of_the_sdk(prefix: str) -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        assert (await ask("GET", f"{prefix}/plans")).json()[0] == "deploy"
        answer = await ask("GET", f"{prefix}/plans/deploy")
        plan = answer.json()
        assert answer.status_code == 202
        assert set(plan) == {"phases", "errors", "strategy", "status"}
        phase = plan["phases"][0]
        assert set(phase) == {"id", "name", "strategy", "status", "steps"}
        assert set(phase["steps"][0]) == {"id", "name", "status", "message"}
        assert (plan["status"], plan["strategy"], plan["errors"]) == ("PENDING", "serial", [])

        same = (await ask("GET", f"{prefix}/plans/deploy")).json()["phases"][0]
        assert same["id"] == phase["id"]
        assert (await ask("GET", f"{prefix}/plans/nonsense")).status_code == 404

    serve(House(), story)


def test_a_complete_plan_is_200() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        assert (await ask("POST", "/v1/plans/deploy/forceComplete")).status_code == 200
        answer = await ask("GET", "/v1/plans/deploy")
        assert (answer.status_code, answer.json()["status"]) == (200, "COMPLETE")
        assert (await ask("POST", "/v1/plans/deploy/forceComplete")).status_code == 208

    serve(House(), story)


def test_verbs_are_answered_as_by_the_sdk_and_stored_with_who_and_why() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        who = {"Kubedcos_User": "ann%40here", "Kubedcos_Why": "d%C3%BCnnes%20Eis"}
        first = await ask("POST", "/v1/plans/deploy/interrupt?phase=etcd", **who)
        again = await ask("POST", "/v1/plans/deploy/interrupt?phase=etcd", **who)
        assert (first.status_code, again.status_code) == (200, 208)
        assert first.json()["message"].startswith("Received cmd: interrupt")
        assert (await ask("GET", "/v1/plans/deploy")).json()["status"] == "WAITING"
        assert (await ask("GET", "/v1/health")).status_code == 503  # no Mesos

        phase = (await ask("GET", "/v1/plans/deploy")).json()["phases"][0]
        by_id = await ask("POST", f"/v1/plans/deploy/continue?phase={phase['id']}", **who)
        assert by_id.status_code == 200
        done = await ask("POST", "/v1/plans/deploy/forceComplete?phase=etcd&step=etcd-0", **who)
        assert done.status_code == 200

        actions = (await ask("GET", "/v1/clusters/k1/actions")).json()
        assert [action["what"] for action in actions] == [
            "plan complete deploy/etcd/etcd-0",
            "plan resume deploy/etcd",
            "plan pause deploy/etcd",
            "plan pause deploy/etcd",
            "cluster create",
        ]
        assert actions[0]["who"].startswith("ann@here")
        assert actions[0]["why"] == "dünnes Eis"
        assert actions[2]["outcome"].endswith("already")

    serve(House(), story)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/v1/plans/depoy/interrupt", 404),
        ("/v1/plans/deploy/interrupt?phase=nope", 404),
        ("/v1/plans/deploy/restart?phase=etcd&step=nope", 404),
        ("/v1/plans/deploy/restart?step=etcd-0", 404),
        ("/v1/plans/deploy/stop?phase=etcd", 422),
        ("/v1/plans/deploy/interrupt?phse=etcd", 422),
        ("/v1/service/k1/plans/deploy/interrupt?cluster=k1", 422),
        ("/v1/plans/deploy/interrupt?cluster=k9", 404),
        ("/v1/pod/etcd-7/restart", 404),
        ("/v1/pod/etcd-0/replace?force=true", 422),
        ("/v1/pod/etcd-0/restart?cancel=true", 422),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(path: str, code: int) -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        await one_cluster(ask)
        answer = await ask("POST", path)
        assert answer.status_code == code, answer.text
        assert answer.json()["error"]
        assert clusters.get("k1").scheduler.world.interruptions == {}

    serve(House(), story)


@pytest.mark.parametrize("prefix", ["/v1", "/v1/service/k1"])
def test_configurations_are_listed_and_shown_as_by_the_sdk(prefix: str) -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        first = (await ask("GET", "/v1/clusters/k1")).json()["options"]
        second = {**first, "node": {**first["node"], "mem_mb": first["node"]["mem_mb"] + 512}}
        assert (await ask("PUT", "/v1/clusters/k1", second)).status_code == 202

        assert (await ask("GET", f"{prefix}/configurations")).json() == ["1", "2"]
        assert (await ask("GET", f"{prefix}/configurations/targetId")).json() == ["2"]
        assert (await ask("GET", f"{prefix}/configurations/target")).json() == second
        assert (await ask("GET", f"{prefix}/configurations/1")).json() == first
        assert (await ask("GET", f"{prefix}/configurations/2")).json() == second
        for wrong in ("3", "01", "nonsense"):
            answer = await ask("GET", f"{prefix}/configurations/{wrong}")
            assert answer.status_code == 404, wrong
            assert "one of: 1, 2" in answer.json()["error"]

    serve(House(), story)


def test_without_a_choice_several_clusters_are_named() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        none = await ask("GET", "/v1/plans")
        assert (none.status_code, "none so far" in none.json()["error"]) == (404, True)
        await one_cluster(ask)
        network = {"overlay": "k2", "pod_cidr": "10.64.0.0/16", "service_cidr": "10.65.0.0/16"}
        made = await ask("POST", "/v1/clusters", {"name": "k2", "network": network})
        assert made.status_code == 201, made.text
        answer = await ask("GET", "/v1/plans")
        assert answer.status_code == 404
        assert "?cluster= with one of: k1, k2" in answer.json()["error"]
        assert (await ask("GET", "/v1/plans?cluster=k2")).json()[0] == "deploy"

    serve(House(), story)


def test_a_plan_takes_no_parameters() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        assert (await ask("POST", "/v1/plans/deploy/start", {})).status_code == 208
        answer = await ask("POST", "/v1/plans/deploy/start", {"NODES": "3"})
        assert (answer.status_code, answer.json()["exit_code"]) == (422, 2)

    serve(House(), story)


def test_pods_have_the_fields_of_the_sdk() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        assert (await ask("GET", "/v1/pod")).json() == ["etcd-0"]
        assert (await ask("GET", "/v1/pod/etcd-0/status")).json() == {"name": "etcd-0", "tasks": []}
        assert (await ask("GET", "/v1/pod/status")).json() == {
            "service": "k1",
            "pods": [{"name": "etcd", "instances": [{"name": "etcd-0", "tasks": []}]}],
        }
        assert (await ask("GET", "/v1/pod/etcd-0/info")).json() == []
        paused = await ask("POST", "/v1/pod/etcd-0/pause", ["etcd-0-server"])
        assert paused.json() == {"pod": "etcd-0", "tasks": ["etcd-0-server"]}
        unknown = await ask("POST", "/v1/pod/etcd-0/pause", ["nope"])
        assert unknown.status_code == 404
        resumed = await ask("POST", "/v1/pod/etcd-0/resume")
        assert resumed.json()["tasks"] == ["etcd-0-server"]
        assert (await ask("POST", "/v1/pod/etcd-0/restart")).status_code == 200
        kept = await ask("POST", "/v1/pod/etcd-0/replace?cancel=true")
        assert kept.json() == {"pod": "etcd-0", "tasks": []}

        said = [found["what"] for found in (await ask("GET", "/v1/clusters/k1/actions")).json()]
        assert said[:4] == [
            "pod replace --cancel etcd-0",
            "pod restart etcd-0",
            "pod resume etcd-0",
            "pod pause etcd-0 (server)",
        ]

    serve(House(), story)


def test_state_is_shown() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        assert (await ask("GET", "/v1/state/frameworkId")).json() == []
        assert (await ask("GET", "/v1/state/zone/tasks")).json() == {}
        assert (await ask("GET", "/v1/state/zone/tasks/none")).status_code == 404
        keys = (await ask("GET", "/v1/state/properties")).json()
        assert "deleting" in keys
        assert (await ask("GET", "/v1/state/properties/deleting")).json() is False
        assert (await ask("GET", "/v1/state/properties/none")).status_code == 404
        assert (await ask("PUT", "/v1/state/refresh")).status_code == 200

    serve(House(), story)


@pytest.mark.parametrize("header", ["x" * 501, "a%0Ab", "a%00"])
def test_a_reason_is_one_line_of_bounded_length(header: str) -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await one_cluster(ask)
        answer = await ask("POST", "/v1/plans/deploy/interrupt", Kubedcos_Why=header)
        assert (answer.status_code, answer.json()["problems"][0]["id"]) == (422, "header-text")
        assert len((await ask("GET", "/v1/clusters/k1/actions")).json()) == 1

    serve(House(), story)


def test_words_cover_the_verbs() -> None:
    assert set(sdk._WORDS.values()) == set(Verb)
