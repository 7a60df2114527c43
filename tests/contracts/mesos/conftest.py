"""One cluster for all contract tests: the embedded engine, or a Mesos given by an option."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .client import Framework, Http, subscribed
from .engine import Cluster, local_cluster, use_binaries
from .ensemble import Ensemble, OwnEnsemble


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("mesos", "Mesos to test instead of the embedded engine")
    group.addoption("--mesos-master", metavar="HOST:PORT", help="leading master")
    group.addoption("--mesos-binaries", metavar="FOLDER", help="of mesos-master and mesos-agent")
    group.addoption("--mesos-agent", metavar="HOST:PORT", help="an agent, for its own endpoints")
    group.addoption("--mesos-zk", metavar="HOSTS/PATH", help="where its masters are in ZooKeeper")
    group.addoption("--mesos-credential", metavar="FILE", help='{"principal": …, "secret": …}')
    group.addoption(
        "--all-points", action="store_true", help="survival: every point with every victim"
    )
    group.addoption("--soak", type=float, default=0, metavar="SECONDS", help="random kills so long")
    group.addoption(
        "--soak-seed", type=int, default=1, metavar="N", help="for the same kills again"
    )


def pytest_configure(config: pytest.Config) -> None:
    folder = config.getoption("--mesos-binaries", default=None)
    if folder is None:
        return
    if config.getoption("--mesos-master") is not None:
        raise pytest.UsageError("--mesos-binaries starts masters, --mesos-master has one: say one")
    try:
        use_binaries(Path(folder).resolve())
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A master with at least two agents in two regions, the first in the master's."""
    address = request.config.getoption("--mesos-master", default=None)
    if address is not None:
        yield Cluster(address, _credential(request.config))
        return
    own = local_cluster(tmp_path_factory.mktemp("mesos"))
    yield own
    own.stop()


def _credential(config: pytest.Config) -> tuple[str, str] | None:
    path = config.getoption("--mesos-credential", default=None)
    if path is None:
        return None
    value = json.loads(Path(path).read_text())
    return value["principal"], value["secret"]


@pytest.fixture
def master(cluster: Cluster) -> Http:
    return cluster.master


@pytest.fixture
def agent(cluster: Cluster, request: pytest.FixtureRequest) -> Http:
    """The agent given, or the first that the master knows."""
    given = request.config.getoption("--mesos-agent", default=None)
    if given is None:
        given = cluster.master.get("/slaves").json["slaves"][0]["pid"].partition("@")[2]
    return Http(given, cluster.master.credential)


@pytest.fixture(scope="module")
def ensemble(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ensemble]:
    """Several masters, and where they are in ZooKeeper."""
    zk = request.config.getoption("--mesos-zk", default=None)
    if zk is not None:
        others = Ensemble(zk.removeprefix("zk://"), _credential(request.config))
        try:
            if len(others.nodes()) < 2:
                pytest.skip(
                    f"needs several masters in ZooKeeper, at {zk} are {len(others.nodes())}"
                )
            yield others
        finally:
            others.stop()
        return
    if request.config.getoption("--mesos-master", default=None) is not None:
        pytest.skip("needs --mesos-zk, the place of the masters in ZooKeeper")
    own = OwnEnsemble(tmp_path_factory.mktemp("masters"))
    try:
        own.complete()
        yield own
    finally:
        own.stop()


@pytest.fixture
def own_ensemble(ensemble: Ensemble) -> OwnEnsemble:
    """For tests that kill masters; all are there at the beginning of each."""
    if not isinstance(ensemble, OwnEnsemble):
        pytest.skip("kills masters; runs only where the tests start them")
    ensemble.complete()
    return ensemble


@pytest.fixture
def own_cluster(cluster: Cluster) -> Cluster:
    """For tests that kill processes, which only our own may suffer."""
    if not cluster.own:
        pytest.skip("kills agents and masters; runs only where the tests start them")
    return cluster


@pytest.fixture
def embedded_cluster(cluster: Cluster) -> Cluster:
    """For what the embedded engine refuses and Mesos does not survive, or should not do."""
    if not cluster.embedded:
        pytest.skip("here the embedded engine departs from Mesos")
    return cluster


@pytest.fixture(scope="session")
def own_flags(request: pytest.FixtureRequest) -> None:
    """For tests that start a cluster of their own, with flags that another may not have."""
    if request.config.getoption("--mesos-master", default=None) is not None:
        pytest.skip("needs flags of its own; runs only where the tests start Mesos")


@pytest.fixture
def framework(master: Http, request: pytest.FixtureRequest) -> Iterator[Framework]:
    with subscribed(master, request.node.name) as made:
        yield made
