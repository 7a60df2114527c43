"""TLS as a client of Mesos: masters and agents that were built and started with it."""

from __future__ import annotations

import ssl
from pathlib import Path

from kubedcos.errors import InvalidInput, Problem


def client_context(
    ca_file: Path | str | None,
    cert_file: Path | str | None = None,
    key_file: Path | str | None = None,
) -> ssl.SSLContext:
    """What to speak with Mesos.

    Args:
        ca_file: authorities in PEM; the system's if None.
        cert_file: certificate of ours in PEM, for a Mesos that requires one.
        key_file: its key; None when it is in the same file.

    Raises:
        InvalidInput: a file cannot be read or used.
    """
    try:
        context = ssl.create_default_context(cafile=ca_file)
        # Python leaves out the only ciphers that Mesos has by default (AES128-SHA and the like).
        context.set_ciphers("DEFAULT")
        if cert_file is not None:
            context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:
        seen = f"{ca_file}, {cert_file}, {key_file} ({error})"
        wanted = "readable certificates and key in PEM"
        raise InvalidInput([Problem("TLS for Mesos", seen, wanted, "mesos-tls")]) from None
    return context
