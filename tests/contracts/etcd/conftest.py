"""Programs as the artefact manifest has them; skipped where they were not built."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.artifacts import manifest
from kubedcos.artifacts.store import Store
from kubedcos.config.cluster import VERSIONS


def program(name: str, version: str = "") -> Path:
    store = Store.default()
    for artifact in manifest.load(manifest.find()).all:
        if artifact.name == name and version in {"", artifact.version}:
            record = store.recall(artifact)
            if record is not None:
                return store.file(record)
    pytest.skip(f"{name} is not in the cache: kubedcos artifacts build {name}")


@pytest.fixture(scope="session")
def etcd_program() -> Path:
    return program("etcd")


@pytest.fixture(scope="session")
def api_server_program() -> Path:
    return program("kube-apiserver", VERSIONS[0])
