"""Secrets that lie where others could read them: sealed with a key that only the masters have.

AES-256-GCM; what a secret is and whose it is goes into the seal, so that one cannot be put in the
place of another. The key comes from a file that Ansible writes (0600) and never leaves the masters.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kubedcos.errors import InvalidInput, Problem
from kubedcos.state.store import StateError

LEAST_CHARACTERS: Final = 32
"""Of the file: 32 random letters and digits have 190 bits."""
_FORM: Final = b"\x01"
_NONCE_BYTES: Final = 12


class Seal:
    """Closes and opens secrets with the key made of `secret`."""

    def __init__(self, secret: bytes) -> None:
        derive = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"kubedcos state seal 1")
        self._cipher = AESGCM(derive.derive(secret))

    def close(self, name: str, value: bytes) -> bytes:
        """The value sealed under its full name."""
        nonce = os.urandom(_NONCE_BYTES)
        return _FORM + nonce + self._cipher.encrypt(nonce, value, name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """The value that was sealed under this name.

        Raises:
            StateError: it was sealed with another key, under another name, or altered since.
        """
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        if sealed[:1] == _FORM:
            with contextlib.suppress(InvalidTag, ValueError):
                return self._cipher.decrypt(nonce, rest, name.encode())
        raise StateError(
            f"secret {name} does not open: it was sealed with another key than that of this"
            " master, or altered; the key file must be the same on all masters"
        )


def read_seal(path: Path, where: str) -> Seal:
    """The seal whose key is in the file `path`.

    Args:
        path: text; white space around it does not count.
        where: the setting that named it, for the error.

    Raises:
        InvalidInput: it cannot be read, is too short, or others may read it.
    """
    try:
        mode = path.stat().st_mode & 0o077
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        wanted = "a file that the scheduler can read"
        raise InvalidInput([Problem(where, str(error), wanted, id="secret-file")]) from error
    if mode:
        raise InvalidInput(
            [Problem(where, f"{path}: others may read it", "mode 0600", id="secret-mode")]
        )
    if len(text) < LEAST_CHARACTERS:
        seen = f"{path}: {len(text)} characters"
        wanted = f"{LEAST_CHARACTERS} random characters or more"
        raise InvalidInput([Problem(where, seen, wanted, id="secret-short")])
    return Seal(text.encode())
