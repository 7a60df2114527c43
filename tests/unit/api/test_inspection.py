"""Health, metrics, logs and the supporter's document."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families
from tests.waiting import until

from kubedcos.api.hosting import Clusters
from kubedcos.api.support import House as Home
from kubedcos.model.offer import Agent
from kubedcos.model.service import TaskSpec
from kubedcos.state.records import TaskRecord

from .house import SCRAPE_TOKEN, TOKEN, Ask, House, Removed, serve

AGENT = Agent("S-1", "a1", "10.0.0.1", "dc-a", "a-1")
TASK = TaskRecord(
    "etcd-0-server__1",
    "etcd",
    0,
    TaskSpec("server", "etcd", 0.1, 32, 32),
    AGENT,
    state="TASK_RUNNING",
)


def test_health_tells_the_stage_to_everybody_and_clusters_to_operators() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        empty = await ask("GET", "/v1/health", token="")
        assert (empty.status_code, empty.json()["stage"]) == (200, "running")
        await ask("POST", "/v1/clusters", {"name": "k1"})
        await until(lambda: clusters.get("k1").health().stage == "connecting")

        stranger = await ask("GET", "/v1/health?verbose=true", token="")
        assert (stranger.status_code, stranger.json()["stage"]) == (503, "connecting")
        assert "clusters" not in stranger.json()
        known = await ask("GET", "/v1/health?verbose=true")
        assert known.json()["clusters"]["k1"]["code"] == 503
        assert (await ask("GET", "/v1/clusters/k1/health")).json()["stage"] == "connecting"
        assert (await ask("GET", "/v1/clusters/k1")).json()["stage"] == "connecting"

    serve(House(), story)


def test_a_cluster_that_gave_up_is_broken() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        await until(lambda: bool(clusters.get("k1").failure))
        answer = await ask("GET", "/v1/health", token="")
        assert (answer.status_code, answer.json()["healthy"]) == (500, False)

    serve(House(mesos=Removed()), story)


def test_metrics_are_read_with_either_token_and_say_how_things_stand() -> None:
    async def story(ask: Ask, _: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        for token, code in (("", 401), ("wrong", 401), (SCRAPE_TOKEN, 200), (TOKEN, 200)):
            assert (await ask("GET", "/metrics", token=token)).status_code == code
        assert (await ask("GET", "/v1/clusters", token=SCRAPE_TOKEN)).status_code == 401

        text = (await ask("GET", "/v1/metrics/prometheus")).text
        samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        k1 = ("cluster", "k1")
        assert samples["kubedcos_plan_steps", (k1, ("plan", "deploy"), ("status", "PENDING"))] == 1
        expiry = "kubedcos_certificate_expiry_timestamp_seconds"
        assert samples[expiry, (("certificate", "ca-cluster"), k1)] == 1.9e9
        assert samples["kubedcos_state_documents", (k1, ("kind", "action"))] == 1
        assert samples["kubedcos_state_bytes", (k1, ("kind", "action"))] > 50
        denied = (("code", "401"), ("method", "GET"), ("route", "/metrics"))
        assert samples["kubedcos_api_requests_total", denied] == 2
        stages = [value for (name, _), value in samples.items() if name == "kubedcos_life_stage"]
        assert sum(stages) == 1

    serve(House(), story)


def test_a_log_is_read_in_pieces_from_its_end_or_from_an_offset() -> None:
    house = House(logs={"stdout": "one\ntwo\nthree\n"})

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        path = "/v1/clusters/k1/pods/etcd-0/logs"
        never = await ask("GET", path)
        assert (never.status_code, never.json()["exit_code"]) == (503, 4)

        clusters.get("k1").scheduler.world.commit([TASK])
        end = (await ask("GET", f"{path}?length=6")).json()
        assert (end["data"], end["offset"], end["next_offset"]) == ("three\n", 8, 14)
        assert (await ask("GET", f"{path}?offset=14")).json()["data"] == ""
        start = (await ask("GET", f"{path}?offset=0&length=4&task=etcd-0-server")).json()
        assert (start["data"], start["hostname"]) == ("one\n", "a1")

        missing = await ask("GET", f"{path}?file=stderr")
        assert (missing.status_code, "404 no stderr" in missing.json()["error"]) == (500, True)
        assert (await ask("GET", f"{path}?task=nope")).status_code == 404
        for wrong in ("file=/etc/passwd", "offset=-2", "length=0", "length=99999999"):
            assert (await ask("GET", f"{path}?{wrong}")).status_code == 422

    serve(house, story)


def test_a_pod_is_described_with_its_offers_and_events() -> None:
    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        world = clusters.get("k1").scheduler.world
        world.commit([TASK])
        failed = replace(
            TASK, state="TASK_FAILED", message="exit status 1", ended_at=5.0, state_at=5.0
        )
        world.commit([failed])
        found = (await ask("GET", "/v1/clusters/k1/pods/etcd-0/describe")).json()
        assert [event["what"] for event in found["events"]] == [
            "server: launch intended on a1",
            "server: TASK_FAILED on a1: exit status 1",
        ]
        assert found["offers"] is None

    serve(House(), story)


def test_the_supporters_document_has_everything_but_secrets() -> None:
    planted = {
        "operator": TOKEN,
        "mesos": "mesos-s3cret-of-the-framework",
        "vault": "vault-value-that-nobody-may-see",
    }
    house = House(
        logs={
            "stdout": f"starting with {planted['vault']}\n",
            "stderr": "Authorization: Bearer abcdef0123456789\n",
        },
        secrets=[planted["vault"].encode()],
        home=Home(
            {"mesos": {"principal": "kubedcos", "secret": "x-y-z-0"}},
            lambda: [TOKEN, planted["mesos"]],
            lambda: [f"INFO: login with {planted['mesos']}", "INFO: all is well"],
        ),
    )

    async def story(ask: Ask, clusters: Clusters) -> None:
        await ask("POST", "/v1/clusters", {"name": "k1"})
        clusters.get("k1").scheduler.world.commit(
            [replace(TASK, message=f"token={planted['vault']}")]
        )
        answer = await ask("GET", "/v1/support")
        for secret in (*planted.values(), "x-y-z-0", "abcdef0123456789"):
            assert secret not in answer.text
        document = answer.json()
        assert "INFO: all is well" in document["log"]
        cluster = document["clusters"][0]
        assert cluster["options"]["name"] == "k1"
        assert cluster["tasks"]["etcd-0/server"]["agent"]["hostname"] == "a1"
        assert cluster["outputs"]["etcd-0-server.stdout"] == "starting with [redacted]\n"

    serve(house, story)
