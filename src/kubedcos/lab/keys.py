"""SSH keys of a lab: one for Ansible, one for each host, all known before the first connection."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from kubedcos.lab.spec import HostSpec

KEY_FILE = "id_ed25519"
KNOWN_HOSTS_FILE = "known_hosts"


def new_key() -> bytes:
    """A fresh private key in OpenSSH's format."""
    return Ed25519PrivateKey.generate().private_bytes(
        Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()
    )


def public_half(private: bytes) -> str:
    """The public key that belongs to `private`, as ``ssh-ed25519 AAAA…``."""
    key = load_ssh_private_key(private, password=None)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def operator_key(directory: Path) -> str:
    """The public half of the lab's own key, which is made when there is none."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = directory / KEY_FILE
    if not path.exists():
        write_private(path, new_key())
        path.with_suffix(".pub").write_text(f"{public_half(path.read_bytes())} kubedcos-lab\n")
    return public_half(path.read_bytes())


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read, at once or not at all."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_bytes(content)
    partial.replace(path)


def known_hosts(keys: Iterable[tuple[HostSpec, str]]) -> str:
    """Text of a known_hosts file; a host is known by its address and by its name."""
    lines = [f"{host.address},{host.name} {key.strip()}" for host, key in keys]
    return "".join(f"{line}\n" for line in sorted(lines))
