"""Published exporters read the endpoints of master and agents."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from tests.contracts.mesos.client import Http, launch, subscribed, task
from tests.contracts.mesos.engine import Cluster, wait_for
from tests.ports import free_port

from .installs import python_with, telegraf_reader


def agents(cluster: Cluster) -> dict[str, str]:
    """Addresses by agent id."""
    slaves = cluster.master.get("/slaves").json["slaves"]
    return {slave["id"]: slave["pid"].partition("@")[2] for slave in slaves}


class Metrics(BaseHTTPRequestHandler):
    """What a task would serve that lets itself be measured."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"answers 42\n" if self.path == "/numbers" else b"wrong 1\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def measured() -> Iterator[int]:
    """Port of a server with metrics."""
    server = HTTPServer(("127.0.0.1", 0), Metrics)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_mesos_app_exporter_finds_metrics_by_labels_and_ports_of_tasks(
    cluster: Cluster, measured: int
) -> None:
    """PyPI mae: GET_TASKS of the agent, `labels` and `discovery.ports` of its tasks."""
    labels = {"prometheus.metrics.enabled": "1", "prometheus.metrics.endpoint": "/numbers"}
    discovery = {
        "visibility": "FRAMEWORK",
        "ports": {"ports": [{"number": measured, "protocol": "tcp"}]},
    }
    with subscribed(cluster.master, "measured") as framework:
        offer = framework.offers()[0]
        wanted = task(
            offer,
            "measured",
            "sleep 1000",
            discovery=discovery,
            labels={"labels": [{"key": key, "value": value} for key, value in labels.items()]},
        )
        framework.accept([offer], [launch(wanted, task(offer, "not-measured", "sleep 1000"))])
        for name in ("measured", "not-measured"):
            framework.status(name, "TASK_RUNNING")
        port = free_port()
        host, _, agent_port = agents(cluster)[offer["agent_id"]["value"]].partition(":")
        program = python_with("mae").with_name("mae")
        exporter = subprocess.Popen([program, str(port), host, agent_port])
        try:
            scrape = Http(f"127.0.0.1:{port}")
            answer = wait_for(lambda: scrape.get("/metrics"), "the exporter answers")
            assert (answer.status, answer.text) == (200, "answers 42")
        finally:
            exporter.kill()
            exporter.wait()


def test_telegraf_reads_the_metrics_of_master_and_agent(cluster: Cluster) -> None:
    """Telegraf's own names: a field that is missing here is missing in Mesos' dashboards."""
    with subscribed(cluster.master, "telegraf") as framework:
        offer = framework.offers()[0]
        framework.accept([offer], [launch(task(offer, "telegraf", "sleep 1000"))])
        framework.status("telegraf", "TASK_RUNNING")
        agent = agents(cluster)[offer["agent_id"]["value"]]
        done = subprocess.run(
            [telegraf_reader(), f"http://{cluster.address}", f"http://{agent}"],
            capture_output=True,
            check=True,
            timeout=60,
        )
    told = json.loads(done.stdout)
    assert told["errors"] is None
    fields = {point["Tags"]["role"]: point["Fields"] for point in told["points"]}
    tags = {point["Tags"]["role"]: point["Tags"] for point in told["points"]}
    assert tags["master"]["state"] == "leader"
    assert fields["master"]["master/slaves_active"] == 2
    assert fields["master"]["master/tasks_running"] >= 1
    assert fields["master"]["master/frameworks_connected"] >= 1
    assert fields["slave"]["slave/tasks_running"] >= 1
    assert fields["slave"]["slave/registered"] == 1
