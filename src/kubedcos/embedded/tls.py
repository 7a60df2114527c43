"""TLS by Mesos' own environment variables, for all that a master or agent listens on or calls.

`LIBPROCESS_SSL_…`, or the older `SSL_…`, which the former overrule. Without ``ENABLED`` nothing
else counts. What this engine cannot honour is refused at start: plain HTTP beside TLS on one port,
protocols before TLS 1.2, a list of curves, another limit of chains than Mesos' default (which is
not enforced). Source: `3rdparty/libprocess/src/openssl.cpp`.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubedcos.errors import InvalidInput, Problem

_PREFIX: Final = "LIBPROCESS_SSL_"
_OLD_PREFIX: Final = "SSL_"

CIPHERS: Final = (
    "AES128-SHA:AES256-SHA:RC4-SHA:DHE-RSA-AES128-SHA:DHE-DSS-AES128-SHA:"
    "DHE-RSA-AES256-SHA:DHE-DSS-AES256-SHA"
)
"""Mesos' default; they need a certificate with an RSA key, and serve TLS 1.2 only."""

DEFAULTS: Final[Mapping[str, str | None]] = {
    "ENABLED": "false",
    "SUPPORT_DOWNGRADE": "false",
    "CERT_FILE": None,
    "KEY_FILE": None,
    "VERIFY_CERT": "false",
    "VERIFY_SERVER_CERT": "false",
    "REQUIRE_CERT": "false",
    "REQUIRE_CLIENT_CERT": "false",
    "VERIFY_IPADD": "false",
    "VERIFICATION_DEPTH": "4",
    "CA_DIR": None,
    "CA_FILE": None,
    "CIPHERS": CIPHERS,
    "ECDH_CURVES": "auto",
    "HOSTNAME_VALIDATION_SCHEME": "legacy",
    "ENABLE_SSL_V3": "false",
    "ENABLE_TLS_V1_0": "false",
    "ENABLE_TLS_V1_1": "false",
    "ENABLE_TLS_V1_2": "true",
    "ENABLE_TLS_V1_3": "false",
}
"""Variables without their prefix, with Mesos' defaults."""

REFUSED: Final[Mapping[str, tuple[str, str]]] = {
    "SUPPORT_DOWNGRADE": ("false", "the embedded engine has no port for both HTTP and HTTPS"),
    "VERIFICATION_DEPTH": ("4", "the embedded engine does not limit the length of chains"),
    "ENABLE_SSL_V3": ("false", "TLS 1.2 and 1.3 are all that there is"),
    "ENABLE_TLS_V1_0": ("false", "TLS 1.2 and 1.3 are all that there is"),
    "ENABLE_TLS_V1_1": ("false", "TLS 1.2 and 1.3 are all that there is"),
}
"""Variables that may only have the value given, and why."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How one process serves and calls.

    Attributes:
        server: for what it listens on.
        client: for its own calls.
        verify_server: whether the certificates of those whom it calls are checked.
        require_client: whether its own callers need a certificate.
        verify_ip: whether an IP address in a certificate counts as a name.
        legacy: whether names are those of the reverse lookup instead of those called.
    """

    server: ssl.SSLContext
    client: ssl.SSLContext
    verify_server: bool
    require_client: bool
    verify_ip: bool
    legacy: bool


def read_tls(environment: Mapping[str, str]) -> Tls | None:
    """What the environment says; None when TLS is not enabled.

    Raises:
        InvalidInput: with all that is wrong, missing or not supported.
    """
    values = {name: _value(environment, name) for name in DEFAULTS}
    if not _true(values["ENABLED"]):
        return None
    problems = [
        Problem(_PREFIX + name, repr(values[name]), f"{wanted}: {why}", "tls-variable")
        for name, (wanted, why) in REFUSED.items()
        if _normal(values[name]) != wanted
    ]
    problems += [
        Problem(variable, "no variable of Mesos", "a known one", "tls-variable")
        for variable in environment
        if variable.startswith(_PREFIX) and variable.removeprefix(_PREFIX) not in DEFAULTS
    ]
    problems += [
        Problem(_PREFIX + name, "nothing", f"the path of the {what}", "tls-file")
        for name, what in (("KEY_FILE", "key"), ("CERT_FILE", "certificate"))
        if not values[name]
    ]
    scheme = values["HOSTNAME_VALIDATION_SCHEME"]
    if scheme not in {"legacy", "openssl"}:
        where = f"{_PREFIX}HOSTNAME_VALIDATION_SCHEME"
        problems.append(Problem(where, repr(scheme), "legacy or openssl", "tls-variable"))
    if problems:
        raise InvalidInput(problems)
    require = _true(values["REQUIRE_CERT"]) or _true(values["REQUIRE_CLIENT_CERT"])
    verify = require or _true(values["VERIFY_CERT"]) or _true(values["VERIFY_SERVER_CERT"])
    server = _context(ssl.PROTOCOL_TLS_SERVER, values, verify=require)
    client = _context(ssl.PROTOCOL_TLS_CLIENT, values, verify=verify)
    client.check_hostname = verify and scheme == "openssl"
    return Tls(
        server,
        client,
        verify_server=verify,
        require_client=require,
        verify_ip=_true(values["VERIFY_IPADD"]),
        legacy=scheme == "legacy",
    )


def _value(environment: Mapping[str, str], name: str) -> str | None:
    old = environment.get(_OLD_PREFIX + name, DEFAULTS[name])
    return environment.get(_PREFIX + name, old)


def _normal(value: str | None) -> str | None:
    return {"0": "false", "1": "true"}.get(value or "", value)


def _true(value: str | None) -> bool:
    return _normal(value) == "true"


def _context(kind: int, values: Mapping[str, str | None], *, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(kind)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    _set_versions(context, values)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        (
            "CERT_FILE",
            lambda: context.load_cert_chain(f"{values['CERT_FILE']}", values["KEY_FILE"]),
        ),
        ("CIPHERS", lambda: context.set_ciphers(values["CIPHERS"] or "")),
        ("ECDH_CURVES", lambda: _set_curve(context, values["ECDH_CURVES"])),
        ("CA_FILE", lambda: _load_authorities(context, values, wanted=verify)),
    )
    for name, step in steps:
        try:
            step()
        except (OSError, ValueError) as error:
            seen = f"{values[name]} ({error})"
            raise InvalidInput(
                [Problem(_PREFIX + name, seen, _WANTED[name], "tls-variable")]
            ) from None
    return context


_WANTED: Final = {
    "CERT_FILE": "a readable chain in PEM, and the key that belongs to it in KEY_FILE",
    "CIPHERS": "a list of ciphers that OpenSSL has",
    "ECDH_CURVES": "auto or one curve: the embedded engine takes no list",
    "CA_FILE": "readable certificates of authorities in PEM (or a directory in CA_DIR)",
}


def _set_versions(context: ssl.SSLContext, values: Mapping[str, str | None]) -> None:
    versions = [
        version
        for name, version in (
            ("ENABLE_TLS_V1_2", ssl.TLSVersion.TLSv1_2),
            ("ENABLE_TLS_V1_3", ssl.TLSVersion.TLSv1_3),
        )
        if _true(values[name])
    ]
    if not versions:
        where = f"{_PREFIX}ENABLE_TLS_V1_2, …_V1_3"
        raise InvalidInput([Problem(where, "both off", "at least one", "tls-variable")])
    context.minimum_version, context.maximum_version = versions[0], versions[-1]


def _set_curve(context: ssl.SSLContext, curves: str | None) -> None:
    if curves not in {None, "auto"}:
        context.set_ecdh_curve(str(curves))


def _load_authorities(
    context: ssl.SSLContext, values: Mapping[str, str | None], *, wanted: bool
) -> None:
    file, directory = values["CA_FILE"], values["CA_DIR"]
    if not wanted:
        return
    if file is None and directory is None:
        context.set_default_verify_paths()
    else:
        context.load_verify_locations(file, directory)


def name_fault(
    certificate: Mapping[str, Any], *, hostname: str | None, ip: str, verify_ip: bool, strict: bool
) -> str | None:
    """Why a verified certificate is not that of the peer, by Mesos' legacy scheme.

    Args:
        certificate: as `ssl.SSLSocket.getpeercert` gives it.
        hostname: that the reverse lookup of `ip` gave, if any.
        ip: address of the peer.
        verify_ip: whether the certificate may name the address instead.
        strict: whether a peer without a name is refused when addresses do not count.
    """
    if hostname is None and not verify_ip:
        return "Cannot verify peer certificate: peer hostname unknown" if strict else None
    for kind, name in certificate.get("subjectAltName", ()):
        if kind == "DNS" and name == hostname:
            return None
        if kind == "IP Address" and verify_ip and name == ip:
            return None
    subject = {key: value for part in certificate.get("subject", ()) for key, value in part}
    common = subject.get("commonName")
    if hostname is not None and common is not None:
        if common == hostname:
            return None
        return f"Presented Certificate Name: {common} does not match peer hostname name: {hostname}"
    known = [f"hostname {hostname}"] if hostname is not None else []
    return f"Could not verify presented certificate with {', '.join([*known, f'IP {ip}'])}"
