"""Checks of a running cluster by its behaviour; they know only its inventory.

    pytest tests/infra --ansible-inventory=inventories/lab
    pytest tests/infra --ansible-inventory=inventories/mine --hosts='ansible://agents'

Tests that take Testinfra's ``host`` run once for each host, others once for the cluster. Those that
kill something run with ``--destructive`` only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from testinfra.host import Host
from testinfra.utils.ansible_runner import AnsibleRunner

from .framework import Framework
from .inventory import Inventory, load
from .kubernetes import Kubernetes
from .mesos import Mesos
from .waiting import until

ROOT = Path(__file__).parents[2]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--destructive", action="store_true", help="run the tests that kill parts of the cluster"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "on(*groups): only for hosts of these inventory groups")
    option = config.option
    option.hosts = option.hosts or "ansible://all"
    option.ansible_inventory = option.ansible_inventory or str(ROOT / "inventories/lab")
    os.environ.setdefault("ANSIBLE_CONFIG", str(ROOT / "ansible.cfg"))
    try:
        inventory = load(Path(option.ansible_inventory))
    except AnsibleError as error:
        raise pytest.UsageError(f"--ansible-inventory: {error}") from error
    # Short, for it becomes part of a socket's path.
    sockets = tempfile.mkdtemp(prefix="kd-")
    config.add_cleanup(lambda: shutil.rmtree(sockets, ignore_errors=True))
    AnsibleRunner.get_runner(option.ansible_inventory).inventory = _for_testinfra(
        inventory, sockets
    )
    config.stash[_INVENTORY] = inventory


_INVENTORY = pytest.StashKey[Inventory]()


def _for_testinfra(inventory: Inventory, sockets: str) -> dict[str, Any]:
    """The inventory in the form of `ansible-inventory --list`.

    Testinfra takes that program's answer, in which templates are not filled in; and it opens a
    connection for each command where Ansible's configuration names no socket to share.
    """
    hostvars = {
        host: {
            **variables,
            "ansible_ssh_extra_args": " ".join(
                [variables.get("ansible_ssh_extra_args", ""), f"-o ControlPath={sockets}/%C"]
            ).strip(),
        }
        for host, variables in inventory.variables.items()
    }
    groups = {name: {"hosts": hosts} for name, hosts in inventory.groups.items()}
    return {"_meta": {"hostvars": hostvars}, **groups}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    inventory = metafunc.config.stash[_INVENTORY]
    if "kubernetes" in metafunc.fixturenames:
        metafunc.parametrize(
            "kubernetes", inventory.kubernetes_clusters, indirect=True, scope="session"
        )
    if "cluster" in metafunc.fixturenames:
        metafunc.parametrize("cluster", inventory.kubernetes_clusters)
    if "region_pair" in metafunc.fixturenames:
        pairs = inventory.region_pairs()
        metafunc.parametrize("region_pair", pairs, ids=["-to-".join(pair) for pair in pairs])
    if "overlay" in metafunc.fixturenames:
        names = [overlay.name for overlay in inventory.plan.overlays]
        metafunc.parametrize("overlay", names)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    inventory = config.stash[_INVENTORY]
    # What kills something comes last.
    items.sort(key=lambda item: item.get_closest_marker("destructive") is not None)
    elsewhere = [item for item in items if not _concerns(item, inventory)]
    if elsewhere:
        config.hook.pytest_deselected(items=elsewhere)
        items[:] = [item for item in items if item not in elsewhere]
    if not config.option.destructive:
        skip = pytest.mark.skip(reason="it kills parts of the cluster; give --destructive")
        for item in items:
            if item.get_closest_marker("destructive"):
                item.add_marker(skip)


def _concerns(item: pytest.Item, inventory: Inventory) -> bool:
    marker = item.get_closest_marker("on")
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    if marker is None or "_testinfra_host" not in parameters:
        return True
    name = inventory.host_at(parameters["_testinfra_host"].backend.get_hostname())
    return name in inventory.of(*marker.args)


@pytest.fixture(scope="session")
def inventory(pytestconfig: pytest.Config) -> Inventory:
    return pytestconfig.stash[_INVENTORY]


@pytest.fixture(scope="session")
def hosts(inventory: Inventory, pytestconfig: pytest.Config) -> dict[str, Host]:
    """Every host of the inventory by its name, for tests that need several at once."""
    runner = AnsibleRunner.get_runner(pytestconfig.option.ansible_inventory)
    return {name: runner.get_host(name) for name in inventory.hosts}


@pytest.fixture(scope="session", autouse=True)
def _answering(hosts: dict[str, Host]) -> None:
    """End at once where nothing is: each test would wait for a connection of its own."""

    def answers(host: Host) -> bool:
        try:
            return bool(host.run("true").rc == 0)
        except RuntimeError:
            return False

    with ThreadPoolExecutor(len(hosts)) as pool:
        silent = [
            name
            for name, ok in zip(hosts, pool.map(answers, hosts.values()), strict=True)
            if not ok
        ]
    if len(silent) == len(hosts):
        pytest.exit(f"no host of the inventory answers by SSH: {', '.join(silent)}", returncode=1)


@pytest.fixture
def name(host: Host, inventory: Inventory) -> str:
    """Name of `host` in the inventory."""
    return inventory.host_at(host.backend.get_hostname())


@pytest.fixture(scope="session")
def mesos(inventory: Inventory, hosts: dict[str, Host]) -> Mesos:
    return Mesos(inventory, hosts)


@pytest.fixture(scope="session")
def kubernetes(
    request: pytest.FixtureRequest, inventory: Inventory, mesos: Mesos
) -> Iterator[Kubernetes]:
    """A Kubernetes cluster of the inventory, as an administrator sees it from here."""
    found = Kubernetes(inventory, request.param)
    yield found
    found.clean_up()


@pytest.fixture
def framework(inventory: Inventory, cluster: str) -> Iterator[Framework]:
    found = Framework(inventory, cluster)
    until(found.whole, "the cluster is whole before the test", seconds=300, pause=2)
    yield found
    until(found.whole, "the cluster is whole after the test", seconds=300, pause=2)
