"""Which cluster a client wants, by its TLS greeting."""

from __future__ import annotations

import ssl

import pytest

from kubedcos.kubernetes.launcher import balance

NAME = "apiserver.kubernetes.mesos"


def greeting(name: str | None) -> bytes:
    """A ClientHello as OpenSSL sends it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context()
    if name is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def test_the_name_in_a_greeting() -> None:
    hello = greeting(NAME)
    assert balance.server_name(hello) == NAME
    assert balance.server_name(greeting(None)) == ""
    for cut in range(len(hello)):
        with pytest.raises(balance.Incomplete):
            balance.server_name(hello[:cut])
    # The same greeting in two records.
    body = hello[5:]
    split = b"".join(
        b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (body[:40], body[40:])
    )
    assert balance.server_name(split) == NAME


@pytest.mark.parametrize(
    "data", [b"GET / HTTP/1.1", b"\x16\x03\x01\x00\x00", b"\x15\x03\x03\x00\x02"]
)
def test_what_is_no_greeting(data: bytes) -> None:
    with pytest.raises(ValueError, match="not TLS"):
        balance.server_name(data)
