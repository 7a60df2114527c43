"""Who the API is, and who may ask it: its authority, its certificate, and the operator's token."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import msgspec

from kubedcos.errors import NotYetComplete
from kubedcos.kubernetes.pki import Authority, KeyPair, Profile

AUTHORITY = "ca"
SERVER = "server"
TOKEN = "operator-token"  # noqa: S105  the name of a file
SCRAPE_TOKEN = "scrape-token"  # noqa: S105  likewise
SHARED_AUTHORITY = "api-authority"

Once = Callable[[str, Callable[[], bytes]], bytes]
"""Gives the value that all share under a name, made by whoever comes first."""


class _Pair(msgspec.Struct, frozen=True):
    certificate: str
    key: str


@dataclass(frozen=True, slots=True)
class Identity:
    """What the service shows of itself, and asks of operators and of scrapers of its metrics."""

    ca_pem: str
    certificate: Path
    key: Path
    token: str
    scrape_token: str = ""

    def __repr__(self) -> str:
        """Without the tokens, so that no log can show them."""
        return f"Identity({self.certificate})"


def ensure(folder: Path, addresses: Sequence[str], now: float) -> Identity:
    """The identity in `folder`: authority and token are made once, the certificate each time.

    Args:
        folder: for root alone; made when missing.
        addresses: names and IP addresses that the certificate is for.
        now: seconds since 1970.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = _authority(folder, now)
    return _shown(folder, authority, addresses, now)


def shared(folder: Path, addresses: Sequence[str], now: float, once: Once) -> Identity:
    """The identity of all schedulers of an installation, with a certificate for this one.

    The authority's key stays in memory; certificate and token are written where `read` looks.

    Args:
        folder: for root alone; made when missing.
        addresses: names and IP addresses that the certificate is for.
        now: seconds since 1970.
        once: gives the value that all share under a name, made by whoever comes first.

    Raises:
        StateError: what is shared cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    kept = once(SHARED_AUTHORITY, lambda: _packed(Authority.create("kubedcos API", now).pair))
    pair = msgspec.json.decode(kept, type=_Pair)
    authority = Authority(KeyPair(pair.certificate.encode(), pair.key.encode()))
    write(folder / f"{AUTHORITY}.crt", authority.certificate_pem, 0o644)
    for name in (TOKEN, SCRAPE_TOKEN):
        write(folder / name, once(f"api-{name}", _new_token), 0o600)
    return _shown(folder, authority, addresses, now)


def share(folder: Path, once: Once) -> None:
    """Give what this host had for itself to all, unless they have an identity already."""
    certificate, key, token = (folder / n for n in (f"{AUTHORITY}.crt", f"{AUTHORITY}.key", TOKEN))
    if certificate.exists() and key.exists() and token.exists():
        pair = KeyPair(certificate.read_bytes(), key.read_bytes())
        once(SHARED_AUTHORITY, lambda: _packed(pair))
        for name in (TOKEN, SCRAPE_TOKEN):
            if (folder / name).exists():
                once(f"api-{name}", (folder / name).read_bytes)


def _packed(pair: KeyPair) -> bytes:
    return msgspec.json.encode(_Pair(pair.certificate_pem.decode(), pair.key_pem.decode()))


def _new_token() -> bytes:
    return f"{secrets.token_urlsafe(32)}\n".encode()


def _shown(folder: Path, authority: Authority, addresses: Sequence[str], now: float) -> Identity:
    pair = authority.issue_pair(_profile(addresses), now)
    write(folder / f"{SERVER}.crt", pair.certificate_pem, 0o644)
    write(folder / f"{SERVER}.key", pair.key_pem, 0o600)
    return Identity(
        authority.certificate_pem.decode(),
        folder / f"{SERVER}.crt",
        folder / f"{SERVER}.key",
        _token(folder / TOKEN),
        _token(folder / SCRAPE_TOKEN),
    )


def read(folder: Path) -> Identity:
    """The identity that the service in `folder` has made.

    Raises:
        NotYetComplete: the service has not started yet.
    """
    files = {name: folder / name for name in (f"{AUTHORITY}.crt", f"{SERVER}.crt", TOKEN)}
    missing = [str(path) for path in files.values() if not path.exists()]
    if missing:
        raise NotYetComplete(
            f"{', '.join(missing)}: not there; `kubedcos scheduler run` makes them when it starts"
        )
    return Identity(
        files[f"{AUTHORITY}.crt"].read_text(),
        files[f"{SERVER}.crt"],
        folder / f"{SERVER}.key",
        files[TOKEN].read_text().strip(),
    )


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file at once or not at all; it never exists with a wider mode."""
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _token(path: Path) -> str:
    """The token in a file, made at the first time."""
    if not path.exists():
        write(path, _new_token(), 0o600)
    return path.read_text().strip()


def _authority(folder: Path, now: float) -> Authority:
    certificate, key = folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key"
    if not certificate.exists():
        made = Authority.create("kubedcos API", now)
        # The key first: a certificate without its key would be believed and be of no use.
        write(key, made.pair.key_pem, 0o600)
        write(certificate, made.pair.certificate_pem, 0o644)
    return Authority(KeyPair(certificate.read_bytes(), key.read_bytes()))


def _profile(addresses: Sequence[str]) -> Profile:
    names, numbers = ["localhost"], ["127.0.0.1"]
    for address in addresses:
        (numbers if _is_number(address) else names).append(address)
    return Profile(
        "kubedcos API",
        dns_names=tuple(dict.fromkeys(names)),
        addresses=tuple(dict.fromkeys(numbers)),
        server=True,
    )


def _is_number(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
