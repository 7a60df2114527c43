"""The API against calls made at random from its own document, and stored state against anything."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import schemathesis
import uvicorn
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode
from tests.ports import free_port
from tests.waiting import wait_until

from kubedcos.api import app as application
from kubedcos.api.hosting import Clusters
from kubedcos.config import cluster as options_file
from kubedcos.errors import InvalidInput
from kubedcos.state import documents, records
from kubedcos.state.memory import MemoryStore
from kubedcos.state.store import Change, StateError

from .house import SCRAPE_TOKEN, TOKEN, Ask, House, serve

pytestmark = pytest.mark.long

_SECONDS = 20.0
"""For all operations together; each is called once, however long that takes."""
_CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
_KNOWN = {
    "name": "k1",
    "plan": "deploy",
    "pod": "etcd-0",
    "task": "etcd-0-server",
    "key": "deleting",
    "configuration": "1",
}


@dataclass
class Served:
    """An API over HTTP on this machine, with one cluster."""

    url: str
    document: dict[str, Any]
    clusters: Clusters


@contextlib.contextmanager
def serving() -> Iterator[Served]:
    """The API in a thread of its own, so that it lives while a test calls it."""
    port = free_port()
    clusters = House().clusters()
    app = application.build(clusters, TOKEN, SCRAPE_TOKEN)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_config=None, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)

    async def main() -> None:
        await clusters.create({"name": "k1"}, "test")
        await server.serve()
        await clusters.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive())
        yield Served(f"http://127.0.0.1:{port}", app.openapi(), clusters)
    finally:
        server.should_exit = True
        thread.join()


# The service's own thread draws from `random` while a call is made up here.
@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")
def test_random_calls_are_answered_as_documented_and_meet_no_defect(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    with serving() as served:
        schema = schemathesis.openapi.from_dict(served.document)
        operations = [found.ok() for found in schema.get_all_operations()]
        deadline = time.monotonic() + _SECONDS
        assert len(operations) > 40
        called = 0
        for rounds in range(1, 4):
            for operation in operations:
                names = {
                    parameter.name: _KNOWN[parameter.name]
                    for parameter in operation.path_parameters
                    if rounds != 2 and parameter.name in _KNOWN
                }
                if (operation.method, operation.path) == ("delete", "/v1/clusters/{name}"):
                    # A name made up by chance may be the cluster's.
                    names = {"name": "k9"}
                wrong = GenerationMode.NEGATIVE if rounds == 3 else GenerationMode.POSITIVE
                called += _call(operation, names, wrong, served.url, deadline)
                if rounds > 1 and time.monotonic() > deadline:
                    break
        assert called > 50
        assert served.clusters.get("k1").deleting is None
    defects = [record.getMessage() for record in caplog.records if "defect" in record.getMessage()]
    assert defects == []


def _call(
    operation: Any, names: dict[str, str], mode: GenerationMode, url: str, deadline: float
) -> int:
    """Call an operation once, and again until the time is over; how often it was."""
    called = 0
    strategy = operation.as_strategy(mode, path_parameters=names or None)

    @settings(
        max_examples=4,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=strategy)
    def story(case: Any) -> None:
        nonlocal called
        if called and time.monotonic() > deadline:
            return
        called += 1
        token = SCRAPE_TOKEN if "metrics" in operation.path else TOKEN
        case.call_and_validate(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, checks=_CHECKS
        )

    with contextlib.suppress(Unsatisfiable):  # nothing that it takes can be wrong
        story()
    return called


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)
_OPTION_NAMES = st.sampled_from([*options_file.ClusterOptions.model_fields, "nonsense"])


@given(st.dictionaries(_OPTION_NAMES, _JSON, max_size=5))
def test_any_options_are_taken_or_refused_with_places(data: dict[str, Any]) -> None:
    found: InvalidInput | None = None
    try:
        options_file.validate(data, "options")
    except InvalidInput as error:
        found = error
    if found is not None:
        assert found.problems
        assert all(problem.where.startswith("options") for problem in found.problems)


_KINDS = {
    records.CLUSTER: records.ClusterRecord("F-1"),
    records.STEP: records.StepRecord("deploy", "etcd", "etcd-0", 1.0, 2.0, was_complete=True),
    records.INTERRUPTION: records.InterruptionRecord("deploy", paused=True, by="ann"),
    records.ACTION: records.ActionRecord(1, 2.0, "ann", "", "plan pause deploy", "done"),
    records.EVENTS: records.EventsRecord("etcd-0", (records.Entry(1.0, "x"),)),
}


@given(
    st.sampled_from(sorted(_KINDS)),
    st.binary(max_size=30) | _JSON.map(lambda found: json.dumps(found).encode()) | st.none(),
    st.integers(0, 400),
)
def test_a_damaged_record_is_named_and_nothing_is_written(
    kind: str, instead: bytes | None, cut: int
) -> None:
    store = MemoryStore()
    whole = documents.put(kind, "key", _KINDS[kind]).value
    assert whole is not None
    value = instead if instead is not None else whole[: cut % len(whole)]
    store.write("k1", [Change(kind, "key", value)])
    said = ""
    try:
        documents.load(store, "k1")
    except StateError as error:
        said = str(error)
    assert not said or f"state of k1: {kind} key" in said
    assert store.read("k1", kind) == {"key": value}


def test_a_cluster_whose_state_is_damaged_is_left_alone_and_named() -> None:
    house = House()
    house.store.write("k1", [documents.put_options('{"name": "k1"}')])
    house.store.write("k1", [Change(records.TASK, "etcd-0/server", b'{"task_id": 7}')])
    before = dict(house.store.read("k1", records.TASK))

    async def story(ask: Ask, clusters: Clusters) -> None:
        assert (await ask("GET", "/v1/health", token="")).json()["stage"] == "broken"
        shown = await ask("GET", "/v1/health?verbose=true")
        assert "task etcd-0/server is not readable" in shown.json()["clusters"]["k1"]["doing"]
        for method, path, body in (
            ("POST", "/v1/clusters", {"name": "k1"}),
            ("DELETE", "/v1/clusters/k1", None),
            ("GET", "/v1/clusters/k1", None),
        ):
            answer = await ask(method, path, body)
            assert answer.status_code == 409, path
            assert "restore a backup" in answer.json()["error"]
        await ask("POST", "/v1/clusters", {"name": "k2"})
        assert [hosted.options.name for hosted in clusters.all()] == ["k2"]

    serve(house, story)
    assert house.store.read("k1", records.TASK) == before
