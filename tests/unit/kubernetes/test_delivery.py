"""Key material is given once, to the task itself, for a short time."""

from __future__ import annotations

import asyncio
import json

import pytest
from cryptography import x509
from fastapi import FastAPI
from starlette.testclient import TestClient

from kubedcos.kubernetes.delivery import LARGEST_REQUEST, LIFETIME, Answer
from kubedcos.kubernetes.delivery_route import router
from kubedcos.kubernetes.vault import MemorySecretStore
from kubedcos.scheduler.workload import Launch

from .parts import PLACE, Cluster, FakeClock, make_cluster


def ask(cluster: Cluster, launch: Launch, body: bytes, source: str = PLACE.address) -> Answer:
    return asyncio.run(cluster.workload.delivery.handle(launch.task_id, body, source))


@pytest.fixture
def launched(staged: Cluster) -> Launch:
    launch = staged.launch("etcd")
    staged.workload.command(launch, ())
    return launch


def test_a_task_gets_certificates_for_its_keys(staged: Cluster, launched: Launch) -> None:
    answer = ask(staged, launched, staged.request(launched))
    assert answer.status == 200
    files = {file["path"]: file["text"] for file in answer.body["files"]}
    certificate = x509.load_pem_x509_certificate(files["server.crt"].encode())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == [
        PLACE.address,
        "127.0.0.1",
    ]
    assert answer.body["argv"][0] == "/var/lib/mesos/sandbox/etcd"
    assert staged.alarms == []


def test_the_second_use_is_refused_and_raises_the_alarm(staged: Cluster, launched: Launch) -> None:
    body = staged.request(launched)
    ask(staged, launched, body)
    answer = ask(staged, launched, body, source="10.89.1.66")
    assert answer.status == 409
    assert "files" not in answer.body
    assert [task for task, _ in staged.alarms] == [launched.task_id]


def test_whoever_can_write_the_sandbox_and_asks_again_raises_the_alarm(
    staged: Cluster, launched: Launch
) -> None:
    ask(staged, launched, staged.request(launched))
    assert ask(staged, launched, staged.request(launched, nonce="other")).status == 409
    assert len(staged.alarms) == 1


def test_strangers_cannot_raise_the_alarm(staged: Cluster, launched: Launch) -> None:
    """Task ids are public: knowing one must not be enough to have the task ended."""
    ask(staged, launched, staged.request(launched))
    assert ask(staged, launched, b"{}").status == 409
    assert staged.alarms == []


def test_a_stranger_gets_nothing_before_the_task_either(staged: Cluster, launched: Launch) -> None:
    body = staged.request(launched)
    stolen = json.dumps({**json.loads(body), "nonce": "mine"}).encode()
    answer = ask(staged, launched, stolen)
    assert answer.status == 403
    assert ask(staged, launched, body).status == 200, "and the task still gets its own"


def test_without_mesos_word_nothing_is_given_but_the_task_may_try_again(
    staged: Cluster, launched: Launch
) -> None:
    body = staged.request(launched)
    proofs = dict(staged.sandboxes.files)
    staged.sandboxes.files.clear()
    assert ask(staged, launched, body).status == 503
    staged.sandboxes.files.update(proofs)
    assert ask(staged, launched, body).status == 200


def test_late_is_refused(staged: Cluster, launched: Launch) -> None:
    body = staged.request(launched)
    staged.clock.now += LIFETIME + 1
    assert ask(staged, launched, body).status == 410


def test_a_task_that_ended_gets_nothing(staged: Cluster, launched: Launch) -> None:
    body = staged.request(launched)
    staged.workload.task_ended(launched.task_id)
    assert ask(staged, launched, body).status == 404


def test_a_task_cannot_ask_for_another(staged: Cluster, launched: Launch) -> None:
    other = staged.launch("kube-apiserver")
    staged.workload.command(other, ())
    body = staged.request(launched, task_id=other.task_id)
    assert ask(staged, launched, body).status == 400


@pytest.mark.parametrize(
    "changes",
    [
        {"requests": {}},
        {"requests": {"server": "nonsense", "peer": "nonsense"}},
        {"extra": 1},
        {"facts": {}},
        {"nonce": 5},
    ],
)
def test_requests_that_are_none_are_refused(
    staged: Cluster, launched: Launch, changes: dict[str, object]
) -> None:
    answer = ask(staged, launched, staged.request(launched, **changes))
    assert answer.status == 400
    assert ask(staged, launched, staged.request(launched)).status == 200, "the grant is not used"


@pytest.mark.parametrize(
    ("name", "value"),
    [("sandbox", "/x\n--insecure"), ("sandbox", "relative"), ("hostname", "a b"), ("cpus", 0)],
)
def test_facts_that_cannot_be_are_refused(
    staged: Cluster, launched: Launch, name: str, value: object
) -> None:
    facts = json.loads(staged.request(launched))["facts"]
    body = staged.request(launched, facts={**facts, name: value})
    assert ask(staged, launched, body).status == 400


def test_use_survives_a_restart_of_the_scheduler() -> None:
    store, clock = MemorySecretStore(), FakeClock()
    before = make_cluster(store=store, clock=clock)
    launch, other = before.launch("etcd"), before.launch("kube-scheduler")
    before.workload.command(launch, ())
    before.workload.command(other, ())
    body = before.request(launch)
    assert ask(before, launch, body).status == 200
    after = make_cluster(store=store, clock=clock)
    after.prove(launch, body)
    assert ask(after, launch, body).status == 409
    assert ask(after, other, after.request(other)).status == 200


def test_two_hosts_of_one_name_cannot_both_be_nodes(staged: Cluster) -> None:
    first, second = staged.launch("kubelet", index=0), staged.launch("kubelet", index=1)
    for launch in (first, second):
        staged.workload.command(launch, ())
    assert ask(staged, first, staged.request(first)).status == 200
    answer = ask(staged, second, staged.request(second))
    assert answer.status == 400
    assert "host names that differ" in answer.body["error"]


def test_answers_do_not_show_in_logs(staged: Cluster, launched: Launch) -> None:
    assert "PRIVATE" not in repr(ask(staged, launched, staged.request(launched)))


def test_the_route_answers_and_forbids_caching(staged: Cluster, launched: Launch) -> None:
    app = FastAPI()
    delivery = staged.workload.delivery
    app.include_router(router(lambda task_id: None if task_id == "nobody" else delivery))
    with TestClient(app) as client:
        path = f"/v1/tasks/{launched.task_id}/material"
        assert client.post("/v1/tasks/nobody/material", content=b"{}").status_code == 404
        huge = client.post(path, content=b"x" * (LARGEST_REQUEST + 1))
        assert huge.status_code == 413
        reply = client.post(path, content=staged.request(launched))
        assert reply.status_code == 200
        assert reply.headers["cache-control"] == "no-store"
        assert client.post(path, content=b"{}").json() == {
            "error": "already used; this is reported"
        }
