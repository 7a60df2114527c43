"""The embedded engine, for clients that know nothing of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contracts.mesos.engine import Cluster, local_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A master and two agents, the first in the master's region."""
    made = local_cluster(tmp_path_factory.mktemp("mesos"))
    yield made
    made.stop()
