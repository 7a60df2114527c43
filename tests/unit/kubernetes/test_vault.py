"""Every store of secrets keeps them alike; a sealed one keeps them from whoever reads the state."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubedcos.kubernetes.vault import (
    SECRET,
    Ca,
    FileSecretStore,
    MemorySecretStore,
    SealedSecretStore,
    SecretStore,
    Vault,
)
from kubedcos.state.memory import MemoryStore
from kubedcos.state.seal import Seal
from kubedcos.state.store import Change, StateError

from .parts import FakeClock

SEAL = Seal(b"0123456789abcdef0123456789abcdef")
Open = Callable[[], SecretStore]


@pytest.fixture(params=["memory", "file", "sealed"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same secrets, each time as another process would."""
    documents, memory = MemoryStore(), MemorySecretStore()
    makers: dict[str, Open] = {
        "memory": lambda: memory,
        "file": lambda: FileSecretStore(tmp_path / "vault"),
        "sealed": lambda: SealedSecretStore(documents, "k8s", SEAL),
    }
    return makers[request.param]


def test_secrets_are_kept_replaced_and_forgotten(reopen: Open) -> None:
    store = reopen()
    store.put("a", b"1")
    store.put("a", b"2")
    store.put("b", b"3")
    store.put("c", b"4")
    store.delete("b")
    store.delete("never")
    assert (reopen().get("a"), reopen().get("b")) == (b"2", None)
    assert sorted(reopen().names()) == ["a", "c"]
    store.clear()
    assert list(reopen().names()) == []


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", "a b"])
def test_names_that_could_be_paths_are_refused(tmp_path: Path, name: str) -> None:
    for store in (
        FileSecretStore(tmp_path / "vault"),
        SealedSecretStore(MemoryStore(), "k8s", SEAL),
    ):
        with pytest.raises(ValueError, match="not a name"):
            store.put(name, b"1")


def test_two_schedulers_have_the_same_authorities(reopen: Open) -> None:
    first = Vault(reopen(), "k8s", FakeClock())
    made = {ca: first.authority(ca).certificate_pem for ca in Ca}
    key, encryption = first.service_account_key(), first.encryption_key()
    second = Vault(reopen(), "k8s", FakeClock())
    assert {ca: second.authority(ca).certificate_pem for ca in Ca} == made
    assert second.service_account_key() == key
    assert second.encryption_key() == encryption


def test_the_state_shows_nothing_of_a_sealed_secret() -> None:
    documents = MemoryStore()
    vault = Vault(SealedSecretStore(documents, "k8s", SEAL), "k8s", FakeClock())
    vault.authority(Ca.CLUSTER)
    vault.encryption_key()
    sealed = documents.read("k8s", SECRET)
    assert len(sealed) == 2
    for value in sealed.values():
        assert b"PRIVATE KEY" not in value
        assert vault.encryption_key().encode() not in value


def test_a_planted_or_exchanged_secret_is_refused() -> None:
    documents = MemoryStore()
    store = SealedSecretStore(documents, "k8s", SEAL)
    store.put("grant-a", b"right")
    sealed = documents.read("k8s", SECRET)["grant-a"]
    documents.write("k8s", [Change(SECRET, "grant-b", sealed)])
    with pytest.raises(StateError, match="k8s/grant-b does not open"):
        SealedSecretStore(documents, "k8s", SEAL)
    documents.write("other", [Change(SECRET, "grant-a", sealed)])
    with pytest.raises(StateError, match="other/grant-a does not open"):
        SealedSecretStore(documents, "other", SEAL)
