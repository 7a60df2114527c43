import asyncio

import pytest
from tests.waiting import until

from kubedcos.api import app as application
from kubedcos.api.hosting import Clusters
from kubedcos.errors import KubedcosError
from kubedcos.state.store import StateError

from .house import TOKEN, Ask, House, Removed, serve


def test_operators_need_their_token_and_health_does_not() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        for token in ("", "wrong", f"{TOKEN}x"):
            answer = await ask("GET", "/v1/clusters", token=token)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "exit_code" in answer.json()
        assert (await ask("GET", "/v1/health", token="")).json()["healthy"] is True
        assert (await ask("GET", "/v1/clusters")).json() == []

    serve(House(), story)


def test_every_route_but_health_and_tasks_own_is_guarded() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        document = (await ask("GET", "/v1/openapi.json")).json()
        assert (await ask("GET", "/v1/openapi.json", token="")).status_code == 401
        asked = 0
        for path, methods in document["paths"].items():
            if path == "/v1/health" or path.startswith("/v1/tasks/"):
                continue
            for method in methods:
                answer = await ask(method.upper(), path.replace("{", "").replace("}", ""), token="")
                assert answer.status_code == 401, (method, path)
                asked += 1
        assert asked > 40

    serve(House(), story)


def test_a_cluster_is_created_once_and_shown() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        first = await ask("POST", "/v1/clusters", {"name": "k1"})
        second = await ask("POST", "/v1/clusters", {"name": "k1"})
        assert (first.status_code, first.json()["changed"]) == (201, True)
        assert (second.status_code, second.json()["changed"]) == (200, False)

        shown = (await ask("GET", "/v1/clusters/k1")).json()
        assert (shown["status"], shown["connected"]) == ("PENDING", False)
        assert shown["options"]["name"] == "k1"

    serve(House(), story)


def test_two_requests_at_once_make_one_cluster() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        answers = await asyncio.gather(
            *(ask("POST", "/v1/clusters", {"name": "k1"}) for _ in range(4))
        )
        assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]

    serve(House(), story)


def test_other_options_for_a_running_cluster_are_refused_with_the_key() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        answer = await ask("POST", "/v1/clusters", {"name": "k1", "node": {"count": 3}})
        assert (answer.status_code, answer.json()["exit_code"]) == (409, 3)
        assert "node.count: 2 -> 3" in answer.json()["error"]

    serve(House(), story)


def test_wrong_options_come_back_as_problems() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", {"name": "k1", "nodes": 3})
        assert (answer.status_code, answer.json()["exit_code"]) == (422, 2)
        assert answer.json()["problems"][0]["where"] == "options: nodes"
        assert clusters.all() == []

    serve(House(), story)


@pytest.mark.parametrize("path", ["k2", "k1/plans/none", "k1/pods/none-0", "k2/kubeconfig"])
def test_what_is_not_there_is_404_and_says_what_is(path: str) -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        answer = await ask("GET", f"/v1/clusters/{path}")
        assert answer.status_code == 404
        assert "wanted one of: " in answer.json()["error"]

    serve(House(), story)


def test_plans_and_pods_are_shown() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        plan = (await ask("GET", "/v1/clusters/k1/plans/deploy")).json()
        assert plan["phases"][0]["steps"][0]["pod"] == "etcd-0"
        assert (await ask("GET", "/v1/clusters/k1/plans")).json()[0]["name"] == "deploy"
        assert (await ask("GET", "/v1/clusters/k1/pods")).json()[0]["name"] == "etcd-0"
        assert (await ask("GET", "/v1/clusters/k1/pods/etcd-0")).json()["tasks"]
        assert (await ask("GET", "/v1/clusters/k1/kubeconfig")).json()["exit_code"] == 2

    serve(House(), story)


def test_clusters_come_back_after_a_restart() -> None:
    house = House()

    async def before(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1", "node": {"count": 5}})

    async def after(ask: Ask, _: Clusters) -> None:
        found = (await ask("GET", "/v1/clusters")).json()
        assert [(c["name"], c["options"]["node"]["count"]) for c in found] == [("k1", 5)]

    serve(house, before)
    serve(house, after)


def test_a_cluster_that_cannot_be_made_leaves_no_trace() -> None:
    house = House(refuse=KubedcosError("the artefact server does not answer"))

    async def story(ask: Ask, _: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", {"name": "k1"})
        assert (answer.status_code, answer.json()["exit_code"]) == (500, 1)

    serve(house, story)
    assert house.store.clusters() == ()


def test_delete_forgets_the_cluster_and_its_keys() -> None:
    house = House()

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        assert (await ask("DELETE", "/v1/clusters/k1")).status_code == 202
        await until(lambda: not clusters.all())
        assert (await ask("DELETE", "/v1/clusters/k1")).status_code == 404

    serve(house, story)
    assert house.forgotten == ["k1"]
    assert house.store.clusters() == ()


def test_a_cluster_whose_framework_mesos_has_removed_can_be_deleted() -> None:
    house = House(mesos=Removed())

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        await until(lambda: clusters.get("k1").failure)
        assert (await ask("DELETE", "/v1/clusters/k1")).status_code == 202
        await until(lambda: not clusters.all())

    serve(house, story)
    assert house.store.clusters() == ()


def test_a_store_that_fails_ends_the_service_and_is_told() -> None:
    house = House()

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        house.store.full = True
        answer = await ask("DELETE", "/v1/clusters/k1")
        assert (answer.status_code, answer.json()["error"]) == (500, "disk full")
        deleting = clusters.delete("k1").deleting
        assert deleting is not None
        with pytest.raises(StateError):
            await deleting

    serve(house, story)


def test_a_body_that_is_no_object_or_too_large_is_refused() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", [1])
        assert answer.json()["problems"][0]["id"] == "body-json"
        huge = {"name": "x" * (application.MOST_BODY_BYTES + 1)}
        assert (await ask("POST", "/v1/clusters", huge)).status_code == 413

    serve(House(), story)


def test_a_key_that_stands_there_twice_is_refused() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        answer = await ask("POST", "/v1/clusters", None, content=b'{"name": "k1", "name": "k2"}')
        assert (answer.status_code, "twice" in answer.json()["error"]) == (422, True)
        assert clusters.all() == []

    serve(House(), story)


def test_a_task_that_nobody_knows_gets_no_keys() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        answer = await ask("POST", "/v1/tasks/etcd-0-server__1/material", {}, token="")
        assert answer.status_code == 404

    serve(House(), story)
