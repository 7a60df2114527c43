"""TLS by Mesos' environment variables: what is read, what is refused, whose certificate counts."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import pytest

from kubedcos.embedded.connect import connect
from kubedcos.embedded.tls import REFUSED, name_fault, read_tls
from kubedcos.errors import InvalidInput

PREFIX = "LIBPROCESS_SSL_"


class Authority(Protocol):
    def issue(self, name: str, *names: str, addresses: tuple[str, ...] = ()) -> dict[str, str]: ...


@pytest.fixture(scope="module")
def local(authority: Authority) -> dict[str, str]:
    return authority.issue("localhost", "localhost", addresses=("127.0.0.1",))


@pytest.fixture(scope="module")
def foreign(authority: Authority) -> dict[str, str]:
    return authority.issue("elsewhere", "elsewhere")


def problems(environment: Mapping[str, str]) -> str:
    with pytest.raises(InvalidInput) as caught:
        read_tls(environment)
    return str(caught.value)


def test_without_enabled_nothing_else_counts() -> None:
    assert read_tls({}) is None
    assert read_tls({f"{PREFIX}REQUIRE_CERT": "1", "SSL_CERT_FILE": "/nowhere"}) is None


def test_names_without_libprocess_are_taken_too_and_overruled(local: dict[str, str]) -> None:
    old = {name.removeprefix("LIBPROCESS_"): value for name, value in local.items()}
    assert read_tls(old) is not None
    assert read_tls(old | {f"{PREFIX}ENABLED": "0"}) is None


def test_mesos_defaults_verify_nobody_and_speak_tls_1_2(local: dict[str, str]) -> None:
    tls = read_tls(local)
    assert tls is not None
    assert not tls.verify_server
    assert not tls.require_client
    assert tls.legacy
    for context in (tls.server, tls.client):
        assert context.verify_mode == ssl.CERT_NONE
        versions = (context.minimum_version, context.maximum_version)
        assert versions == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)
    assert "AES128-SHA" in [cipher["name"] for cipher in tls.server.get_ciphers()]


@pytest.mark.parametrize("name", ["REQUIRE_CERT", "REQUIRE_CLIENT_CERT"])
def test_who_requires_certificates_of_clients_checks_those_of_servers_too(
    local: dict[str, str], name: str
) -> None:
    tls = read_tls(local | {PREFIX + name: "true"})
    assert tls is not None
    assert (tls.verify_server, tls.require_client) == (True, True)
    assert tls.server.verify_mode == tls.client.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("name", ["VERIFY_CERT", "VERIFY_SERVER_CERT"])
def test_checking_servers_asks_nothing_of_clients(local: dict[str, str], name: str) -> None:
    tls = read_tls(local | {PREFIX + name: "true"})
    assert tls is not None
    assert (tls.verify_server, tls.require_client) == (True, False)
    assert tls.server.verify_mode == ssl.CERT_NONE


def test_tls_1_3_alone_or_beside_1_2(local: dict[str, str]) -> None:
    both = read_tls(local | {f"{PREFIX}ENABLE_TLS_V1_3": "1"})
    alone = read_tls(local | {f"{PREFIX}ENABLE_TLS_V1_3": "1", f"{PREFIX}ENABLE_TLS_V1_2": "0"})
    assert both is not None
    assert alone is not None
    assert both.server.maximum_version == alone.server.minimum_version == ssl.TLSVersion.TLSv1_3
    assert "both off" in problems(local | {f"{PREFIX}ENABLE_TLS_V1_2": "0"})


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_honoured_is_refused_with_the_reason(
    local: dict[str, str], name: str
) -> None:
    wanted, why = REFUSED[name]
    assert why in problems(local | {PREFIX + name: "1"})
    assert read_tls(local | {PREFIX + name: wanted}) is not None


def test_all_that_is_missing_or_misspelt_is_told_at_once() -> None:
    told = problems({f"{PREFIX}ENABLED": "1", f"{PREFIX}VERFIY_CERT": "1"})
    for part in (f"{PREFIX}KEY_FILE", f"{PREFIX}CERT_FILE", f"{PREFIX}VERFIY_CERT"):
        assert part in told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CERT_FILE", "/nowhere"),
        ("CIPHERS", "no-such-cipher"),
        ("ECDH_CURVES", "P-521:P-384"),
        ("HOSTNAME_VALIDATION_SCHEME", "none"),
    ],
)
def test_a_value_that_openssl_cannot_use_is_named(
    local: dict[str, str], name: str, value: str
) -> None:
    told = problems(local | {PREFIX + name: value})
    assert PREFIX + name in told
    assert value in told


def test_authorities_are_read_only_by_those_who_verify(local: dict[str, str]) -> None:
    lost = local | {f"{PREFIX}CA_FILE": "/nowhere"}
    assert read_tls(lost) is not None
    assert f"{PREFIX}CA_FILE" in problems(lost | {f"{PREFIX}VERIFY_CERT": "1"})


CERTIFICATE: dict[str, Any] = {
    "subject": ((("commonName", "m1"),),),
    "subjectAltName": (("DNS", "m1.example"), ("IP Address", "10.0.0.1")),
}


@pytest.mark.parametrize(
    ("hostname", "verify_ip", "fault"),
    [
        ("m1.example", False, None),
        ("m1", False, None),
        ("other", True, None),
        (None, True, None),
        (None, False, None),
        ("other", False, "Presented Certificate Name: m1 does not match peer hostname name: other"),
    ],
)
def test_whose_certificate_it_is_by_reverse_lookup(
    hostname: str | None, verify_ip: bool, fault: str | None
) -> None:
    seen = name_fault(
        CERTIFICATE, hostname=hostname, ip="10.0.0.1", verify_ip=verify_ip, strict=False
    )
    assert seen == fault


def test_a_peer_without_a_name_is_refused_by_the_strict() -> None:
    parts: dict[str, Any] = {"hostname": None, "ip": "10.0.0.2"}
    unknown = "Cannot verify peer certificate: peer hostname unknown"
    assert name_fault(CERTIFICATE, verify_ip=False, strict=True, **parts) == unknown
    wrong = name_fault(CERTIFICATE, verify_ip=True, strict=True, **parts)
    assert wrong == "Could not verify presented certificate with IP 10.0.0.2"


async def _talk(server: dict[str, str], client: dict[str, str], host: str) -> bytes:
    """What a client with these variables gets from a server with those."""
    serving, calling = read_tls(server), read_tls(client)
    assert serving is not None

    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=serving.server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await connect(host, port, calling)
        try:
            return await reader.read()
        finally:
            writer.close()


VERIFY = {f"{PREFIX}VERIFY_SERVER_CERT": "1"}
OPENSSL = VERIFY | {f"{PREFIX}HOSTNAME_VALIDATION_SCHEME": "openssl"}
BY_ADDRESS = {f"{PREFIX}VERIFY_IPADD": "1"}


@pytest.mark.parametrize(
    ("asked", "host"),
    [
        ({}, "127.0.0.1"),
        (VERIFY | BY_ADDRESS, "127.0.0.1"),
        (OPENSSL, "localhost"),
        (OPENSSL | BY_ADDRESS, "127.0.0.1"),
    ],
)
def test_a_server_with_the_right_certificate_is_talked_to(
    local: dict[str, str], asked: dict[str, str], host: str
) -> None:
    assert asyncio.run(_talk(local, local | asked, host)) == b"hello"


@pytest.mark.parametrize("asked", [VERIFY | BY_ADDRESS, OPENSSL | BY_ADDRESS])
def test_a_server_with_the_certificate_of_another_is_not(
    local: dict[str, str], foreign: dict[str, str], asked: dict[str, str]
) -> None:
    assert asyncio.run(_talk(foreign, local, "127.0.0.1")) == b"hello"
    with pytest.raises(OSError, match=r"match|verify"):
        asyncio.run(_talk(foreign, local | asked, "127.0.0.1"))


def test_an_address_is_no_name_for_openssl_unless_allowed(local: dict[str, str]) -> None:
    with pytest.raises(OSError, match="VERIFY_IPADD"):
        asyncio.run(_talk(local, local | OPENSSL, "127.0.0.1"))
