"""Fixtures around `parts`."""

from __future__ import annotations

import pytest

from kubedcos.config import cluster
from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes.vault import MemorySecretStore, Vault

from .parts import Cluster, FakeClock, make_cluster


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def options() -> ClusterOptions:
    return cluster.load("", "test")


@pytest.fixture
def vault(clock: FakeClock) -> Vault:
    return Vault(MemorySecretStore(), "kubernetes", clock)


@pytest.fixture
def staged() -> Cluster:
    return make_cluster()
