"""A ZooKeeper for the store: a double of it, and ZooKeeper itself where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.contracts.mesos.zookeeper import DebianZooKeeper, ZooKeeper, installed
from tests.contracts.mesos.zookeeper_double import ZooKeeperDouble

from kubedcos.state.session import ZooKeeperSession

Sessions = Callable[..., ZooKeeperSession]

TIMEOUT = 4.0
"""Seconds after which a session ends; both ZooKeepers allow it."""


@pytest.fixture(scope="session", params=["double", "zookeeper"])
def zookeeper(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ZooKeeper]:
    if request.param == "zookeeper" and not installed():
        pytest.skip("ZooKeeper is not installed; ZOOKEEPER_JARS says where it is")
    made: ZooKeeper = (
        ZooKeeperDouble()
        if request.param == "double"
        else DebianZooKeeper(tmp_path_factory.mktemp("zookeeper"), heap_mb=256)
    )
    yield made
    made.stop()


@pytest.fixture
def sessions(zookeeper: ZooKeeper, tmp_path: Path) -> Iterator[Sessions]:
    """Makes started sessions of one installation, and ends them all."""
    made: list[ZooKeeperSession] = []

    def start(path: str = f"/{tmp_path.name}", **more: object) -> ZooKeeperSession:
        number = len(made)
        settings: dict[str, object] = {"timeout": TIMEOUT, "patience": 5.0, **more}
        session = ZooKeeperSession(
            zookeeper.address,
            path,
            "kubedcos",
            "secret",
            f"https://s{number}:8443",
            **settings,  # type: ignore[arg-type]
        )
        session.start()
        made.append(session)
        return session

    yield start
    for session in made:
        session.close()
