"""The HTTP API, held to recorded answers of Mesos-DNS."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from tests.contracts.mesos_dns.recordings import read_recording, runs

from kubedcos.embedded.mesos_dns import api, config, records

OPTIONS = read_recording("options.json")

SKIPPED = {
    # A body type on a GET: refused by the router that Mesos-DNS uses, of no use to any client.
    ("GET /v1/version", "text/plain"),
    # The client in this test cleans the path before it asks.
    ("GET /v1/hosts/.", None),
}


def exchanges() -> list[pytest.param]:
    found = []
    for case in OPTIONS["cases"]:
        for exchange in case.get("http") or ():
            headers = exchange.get("request_headers") or {}
            if (exchange["http"], headers.get("Content-Type")) not in SKIPPED:
                name = f"{case['case']}: {exchange['http']} {headers or ''}"
                found.append(pytest.param(OPTIONS["state"], case["config"], exchange, id=name))
    for zone in runs():
        state, run = zone.values
        for exchange in run.get("http") or ():
            name = f"{zone.id}: {exchange['http']}"
            found.append(pytest.param(state, run["config"], exchange, id=name))
    return found


async def answer_of(state: dict, settings: dict, exchange: dict) -> httpx2.Response:
    effective = config.parse(settings)
    made = records.generate(state, effective, lambda _: ())
    app = api.application(effective, "dev", lambda: api.Snapshot(made, 1))
    method, _, path = exchange["http"].partition(" ")
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://dns") as client:
        request = client.build_request(method, f"http://dns{path}")
        request.url = httpx2.URL(f"http://dns{path}")
        request.headers.update(exchange.get("request_headers") or {})
        return await client.send(request)


def comparable(body: object) -> object:
    """Lists of records have no order on the wire; the serial is a time; secrets stay ours."""
    if isinstance(body, dict):
        ignored = {"Serial", "SOASerial", "File", "Resolvers", "MesosCredentials"}
        return {k: comparable(v) for k, v in body.items() if k not in ignored}
    if isinstance(body, list):
        return sorted((comparable(item) for item in body), key=json.dumps)
    return body


@pytest.mark.parametrize(("state", "settings", "exchange"), exchanges())
def test_same_answer_as_mesos_dns(state: dict, settings: dict, exchange: dict) -> None:
    answer = asyncio.run(answer_of(state, settings, exchange))
    assert answer.status_code == exchange["status"]
    assert answer.headers["content-type"] == exchange["headers"]["Content-Type"]
    if answer.status_code == 307:
        assert answer.headers["location"] == exchange["headers"]["Location"]
    elif exchange["headers"]["Content-Type"] == "application/json":
        assert comparable(answer.json()) == comparable(exchange["body"])
    else:
        assert answer.text == exchange["body"]


def test_the_secret_is_not_shown() -> None:
    settings = {
        "masters": ["10.20.0.1:5050"],
        "mesosAuthentication": "basic",
        "mesosCredentials": {"principal": "p", "secret": "hunter2"},
    }
    answer = asyncio.run(answer_of(OPTIONS["state"], settings, {"http": "GET /v1/config"}))
    assert answer.status_code == 200
    assert "hunter2" not in answer.text
