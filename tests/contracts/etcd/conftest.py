"""etcd as the artefact manifest has it; skipped where it was not built."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.artifacts import manifest
from kubedcos.artifacts.store import Store


@pytest.fixture(scope="session")
def etcd_program() -> Path:
    store = Store.default()
    for artifact in manifest.load(manifest.find()).all:
        if artifact.name == "etcd" and (record := store.recall(artifact)) is not None:
            return store.file(record)
    pytest.skip("etcd is not in the cache: kubedcos artifacts build etcd")
