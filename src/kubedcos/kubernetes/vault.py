"""The secrets of a cluster: made at first use, kept in a store, handed out by name."""

from __future__ import annotations

import base64
import os
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from kubedcos.kubernetes.pki import Authority, KeyPair
from kubedcos.state.store import Change

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kubedcos.clock import Clock
    from kubedcos.state.seal import Seal
    from kubedcos.state.store import Store

SECRET = "secret"  # noqa: S105  the kind of such documents
_CERTIFICATE_END = b"-----END CERTIFICATE-----\n"


class Ca(StrEnum):
    """The authorities of a cluster: who trusts one of them does not trust the others."""

    CLUSTER = "cluster"
    """Servers and clients of the Kubernetes API, kubelets included."""
    ETCD = "etcd"
    """etcd's members and clients; only kube-apiserver and our probes."""
    FRONT_PROXY = "front-proxy"
    """kube-apiserver as a front of extension API servers."""


class SecretStore(Protocol):
    """Small secret values by name. A name has letters, digits, ``.``, ``_`` and ``-``."""

    def get(self, name: str) -> bytes | None:
        """The value, or None."""
        ...

    def put(self, name: str, value: bytes) -> None:
        """Store durably, replacing what was there."""
        ...

    def delete(self, name: str) -> None:
        """Forget; a missing name is no error."""
        ...

    def names(self) -> Iterable[str]:
        """All names."""
        ...

    def clear(self) -> None:
        """Forget everything."""
        ...


class MemorySecretStore:
    """Secrets that end with the process; for tests."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}

    def get(self, name: str) -> bytes | None:
        """The value, or None."""
        return self._values.get(name)

    def put(self, name: str, value: bytes) -> None:
        """Store, replacing what was there."""
        self._values[name] = value

    def delete(self, name: str) -> None:
        """Forget; a missing name is no error."""
        self._values.pop(name, None)

    def names(self) -> Iterable[str]:
        """All names."""
        return tuple(self._values)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()


class FileSecretStore:
    """One file (0600) for each secret in a folder (0700) that only its owner may enter."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)

    def get(self, name: str) -> bytes | None:
        """The value, or None."""
        try:
            return self._path(name).read_bytes()
        except FileNotFoundError:
            return None

    def put(self, name: str, value: bytes) -> None:
        """Store durably: a crash leaves the old value or the new one, nothing between."""
        path = self._path(name)
        draft = path.with_name(f".{name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(self._root, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def delete(self, name: str) -> None:
        """Forget; a missing name is no error."""
        self._path(name).unlink(missing_ok=True)

    def names(self) -> Iterable[str]:
        """All names."""
        return tuple(path.name for path in self._root.iterdir() if not path.name.startswith("."))

    def clear(self) -> None:
        """Forget everything."""
        for name in self.names():
            self.delete(name)

    def _path(self, name: str) -> Path:
        return self._root / _checked(name)


class SealedSecretStore:
    """Secrets among the other documents of a cluster, sealed; for state that several share.

    Args:
        store: the store of all documents.
        cluster: whose secrets they are.
        seal: closes and opens them.

    Raises:
        StateError: a secret that is there does not open.
    """

    def __init__(self, store: Store, cluster: str, seal: Seal) -> None:
        self._store = store
        self._cluster = cluster
        self._seal = seal
        self._values = {
            name: seal.open(self._sealed_as(name), value)
            for name, value in store.read(cluster, SECRET).items()
        }

    def get(self, name: str) -> bytes | None:
        """The value, or None."""
        return self._values.get(name)

    def put(self, name: str, value: bytes) -> None:
        """Store durably, replacing what was there."""
        self._store.write(self._cluster, [self.change(name, value)])
        self._values[name] = value

    def change(self, name: str, value: bytes) -> Change:
        """The document that keeps a secret, to be written together with others."""
        return Change(SECRET, name, self._seal.close(self._sealed_as(_checked(name)), value))

    def delete(self, name: str) -> None:
        """Forget; a missing name is no error."""
        self._store.write(self._cluster, [Change(SECRET, name, None)])
        self._values.pop(name, None)

    def names(self) -> Iterable[str]:
        """All names."""
        return tuple(self._values)

    def clear(self) -> None:
        """Forget everything, at once."""
        self._store.write(self._cluster, [Change(SECRET, name, None) for name in self._values])
        self._values.clear()

    def _sealed_as(self, name: str) -> str:
        return f"{self._cluster}/{name}"


def _checked(name: str) -> str:
    if name.startswith(".") or not all(c.isalnum() or c in "._-" for c in name):
        raise ValueError(f"not a name of a secret: {name!r}")
    return name


class Vault:
    """The lasting secrets of one cluster.

    Args:
        store: where they are kept.
        cluster: the cluster's name, part of the authorities' names.
        clock: for the authorities' dates.
    """

    def __init__(self, store: SecretStore, cluster: str, clock: Clock) -> None:
        self.store = store
        self._cluster = cluster
        self._clock = clock
        self._authorities: dict[Ca, Authority] = {}

    def authority(self, ca: Ca) -> Authority:
        """The authority `ca`, made if it does not exist yet."""
        if ca not in self._authorities:
            name = f"ca-{ca}"
            stored = self.store.get(name)
            if stored is None:
                made = Authority.create(f"{self._cluster} {ca} CA", self._clock.time())
                stored = made.pair.certificate_pem + made.pair.key_pem
                self.store.put(name, stored)
            self._authorities[ca] = Authority(_split(stored))
        return self._authorities[ca]

    def service_account_key(self) -> bytes:
        """PEM key that signs service account tokens.

        RSA, unlike the rest: many programs that verify such tokens know only RS256.
        """
        return self._kept("service-account-key", _new_rsa_key)

    def encryption_key(self) -> str:
        """Base64 of the 32 bytes with which Secrets are encrypted in etcd."""
        made = self._kept("encryption-key", lambda: base64.b64encode(secrets.token_bytes(32)))
        return made.decode()

    def destroy(self) -> None:
        """Forget everything: what was encrypted or signed with it is lost."""
        self.store.clear()
        self._authorities.clear()

    def _kept(self, name: str, make: Callable[[], bytes]) -> bytes:
        value = self.store.get(name)
        if value is None:
            value = make()
            self.store.put(name, value)
        return value


def _new_rsa_key() -> bytes:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _split(pem: bytes) -> KeyPair:
    end = pem.index(_CERTIFICATE_END) + len(_CERTIFICATE_END)
    return KeyPair(pem[:end], pem[end:])
