"""The bootstrap host serves artefacts and images to every host, unspoilt."""

from __future__ import annotations

import json

import pytest
from testinfra.host import Host

from .inventory import Inventory


@pytest.fixture(scope="module")
def server(inventory: Inventory) -> str:
    (bootstrap,) = inventory.of("bootstrap")
    return f"http://{inventory.address(bootstrap)}:{inventory.get('bootstrap_port', 8080)}"


@pytest.fixture(scope="module")
def registry(inventory: Inventory) -> str:
    (bootstrap,) = inventory.of("bootstrap")
    return f"http://{inventory.address(bootstrap)}:{inventory.get('bootstrap_registry_port', 5000)}"


def test_an_artefact_is_what_the_index_says(host: Host, server: str) -> None:
    index = json.loads(host.check_output(f"curl -sf --max-time 10 {server}/artifacts/index.json"))
    smallest = min(index["artifacts"], key=lambda artefact: artefact["size"])
    done = host.check_output(
        f"curl -sf --max-time 20 {server}/artifacts/{smallest['path']} | sha256sum"
    )
    assert done.split()[0] == smallest["sha256"]


def test_what_is_not_there_is_not_found(host: Host, server: str) -> None:
    status = "curl -s -o /dev/null -w '%{http_code}' --max-time 10 "
    assert host.check_output(f"{status}{server}/artifacts/sha256/{'0' * 64}/nothing") == "404"


def test_the_registry_has_the_images_that_nodes_need(host: Host, registry: str) -> None:
    found = json.loads(host.check_output(f"curl -sf --max-time 10 {registry}/v2/_catalog"))
    assert {"pause", "coredns/coredns", "kubedcos/web"} <= set(found["repositories"])


@pytest.mark.on("agents", "public_agents")
def test_nobody_but_the_bootstrap_host_pushes_images(host: Host, registry: str) -> None:
    status = "curl -s -o /dev/null -w '%{http_code}' --max-time 10 -X POST "
    answer = host.check_output(f"{status}{registry}/v2/infra-tests/image/blobs/uploads/")
    assert answer in {"401", "403", "405"}
