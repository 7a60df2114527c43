"""`config.json` of Mesos-DNS: keys, defaults, validation and the texts of its refusals.

Keys match without regard to case and unknown keys are ignored, as Mesos-DNS does. What it does not
refuse but dies of later (a refresh interval of zero, a listener that is no address) is refused here
at once, with a sentence.
"""

from __future__ import annotations

import ipaddress
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from kubedcos.embedded.mesos_dns.refusals import (
    ConfigError,
    check_ip_sources,
    check_masters,
    check_resolvers,
    check_zone_resolvers,
    host_port,
    is_domain,
)

_INT_LIMITS = {
    "ttl": (-(2**31), 2**31 - 1, "int32"),
    "srv_record_default_weight": (0, 2**16 - 1, "uint16"),
    "soa_refresh": (0, 2**32 - 1, "uint32"),
    "soa_retry": (0, 2**32 - 1, "uint32"),
    "soa_expire": (0, 2**32 - 1, "uint32"),
    "soa_minttl": (0, 2**32 - 1, "uint32"),
}
_INT = (-(2**63), 2**63 - 1, "int")


@dataclass(frozen=True, slots=True)
class Config:
    """Effective configuration; field names are the keys of `config.json` in snake case."""

    masters: tuple[str, ...] = ()
    zk: str = ""
    domain: str = "mesos"
    port: int = 53
    listener: str = "0.0.0.0"  # noqa: S104  Mesos-DNS' own default
    http_listener: str = "0.0.0.0"  # noqa: S104  likewise
    http_port: int = 8123
    dns_on: bool = True
    http_on: bool = True
    external_on: bool = True
    resolvers: tuple[str, ...] = ("8.8.8.8",)
    zone_resolvers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    refresh_seconds: int = 60
    ttl: int = 60
    timeout: int = 5
    state_timeout_seconds: int = 300
    zk_detection_timeout: int = 30
    recurse_on: bool = True
    set_truncate_bit: bool = True
    enforce_rfc952: bool = False
    ip_sources: tuple[str, ...] = ("netinfo", "mesos", "host")
    srv_record_default_weight: int = 1
    soa_mname: str = "ns1.mesos"
    soa_rname: str = "root.ns1.mesos"
    soa_refresh: int = 60
    soa_retry: int = 600
    soa_expire: int = 86400
    soa_minttl: int = 60
    enumeration_on: bool = True
    reverse_dns_on: bool = False
    resolv_subnet_first: bool = False
    mesos_https_on: bool = False
    ca_cert_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    mesos_authentication: str = ""
    mesos_principal: str = ""
    mesos_secret: str = field(default="", repr=False)
    iam_config_file: str = ""
    file: str = ""


# Name in Mesos-DNS' own structure (as /v1/config and its messages show it) of each field.
GO_NAMES = {
    "refresh_seconds": "RefreshSeconds", "port": "Port", "timeout": "Timeout",
    "state_timeout_seconds": "StateTimeoutSeconds", "zk_detection_timeout": "ZkDetectionTimeout",
    "http_port": "HttpPort", "ttl": "TTL", "srv_record_default_weight": "SRVRecordDefaultWeight",
    "soa_refresh": "SOARefresh", "soa_retry": "SOARetry", "soa_expire": "SOAExpire",
    "soa_minttl": "SOAMinttl", "soa_mname": "SOAMname", "soa_rname": "SOARname",
    "masters": "Masters", "zone_resolvers": "ZoneResolvers", "resolvers": "Resolvers",
    "ip_sources": "IPSources", "zk": "Zk", "domain": "Domain", "file": "File",
    "listener": "Listener", "http_listener": "HTTPListener", "recurse_on": "RecurseOn",
    "dns_on": "DnsOn", "reverse_dns_on": "ReverseDnsOn", "http_on": "HttpOn",
    "external_on": "ExternalOn", "enforce_rfc952": "EnforceRFC952",
    "set_truncate_bit": "SetTruncateBit", "enumeration_on": "EnumerationOn",
    "mesos_https_on": "MesosHTTPSOn", "ca_cert_file": "CACertFile", "cert_file": "CertFile",
    "key_file": "KeyFile", "iam_config_file": "IAMConfigFile",
    "resolv_subnet_first": "ResolvSubnetFirst", "mesos_authentication": "MesosAuthentication",
}  # fmt: skip


def load(path: Path) -> Config:
    """Read and validate `path`.

    Raises:
        ConfigError: missing, broken or refused; the text names the key and what is wrong.
    """
    try:
        content = path.read_bytes()
    except OSError:
        raise ConfigError(f'missing configuration file: "{path}"') from None
    try:
        # Not by json's own decoding, which takes more than UTF-8.
        document = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise ConfigError(f'failed to unmarshal config file "{path}": {error}') from None
    return parse(document, file=str(path))


def parse(document: object, *, file: str = "") -> Config:
    """Validate a decoded `config.json`.

    Raises:
        ConfigError: refused; the text names the key and what is wrong.
    """
    if document is None:
        document = {}
    if not isinstance(document, dict):
        raise _mistyped(file, document, "Go value of type records.Config")
    config = replace(_decode(document, file), file=file)
    return _validated(config)


def _decode(document: Mapping[str, Any], file: str) -> Config:
    by_key = {GO_NAMES[f.name].lower(): f.name for f in fields(Config) if f.name in GO_NAMES}
    defaults = Config()
    values: dict[str, Any] = {}
    for key, value in document.items():
        if key.lower() == "mesoscredentials" and isinstance(value, dict):
            pair = {k.lower(): v for k, v in value.items()}
            values["mesos_principal"] = str(pair.get("principal", ""))
            values["mesos_secret"] = str(pair.get("secret", ""))
            continue
        name = by_key.get(key.lower())
        if name is None or name == "file":
            continue
        if value is None:
            if isinstance(getattr(defaults, name), tuple):
                values[name] = ()
            continue
        values[name] = _typed(name, value, getattr(defaults, name), file)
    return replace(defaults, **values)


def _typed(name: str, value: object, default: object, file: str) -> object:
    where = f"Go struct field Config.{GO_NAMES[name]} of type"
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise _mistyped(file, value, f"{where} bool")
        return value
    if isinstance(default, int):
        low, high, kind = _INT_LIMITS.get(name, _INT)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _mistyped(file, value, f"{where} {kind}", show=True)
        return value
    if isinstance(default, str):
        if not isinstance(value, str):
            raise _mistyped(file, value, f"{where} string")
        return value
    if isinstance(default, tuple):
        return _strings(value, file, where, "[]string")
    if not isinstance(value, dict):
        raise _mistyped(file, value, f"{where} map[string][]string")
    return {zone: _strings(items, file, where, "[]string") for zone, items in value.items()}


def _strings(value: object, file: str, where: str, kind: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _mistyped(file, value, f"{where} {kind}")
    for item in value:
        if not isinstance(item, str):
            raise _mistyped(file, item, f"{where} string")
    return tuple(value)


def _mistyped(file: str, value: object, target: str, *, show: bool = False) -> ConfigError:
    kinds = {bool: "bool", str: "string", list: "array", dict: "object"}
    kind = kinds.get(type(value), "number")
    if kind == "number" and show:
        kind = f"number {value}"
    return ConfigError(
        f'failed to unmarshal config file "{file}": json: cannot unmarshal {kind} into {target}'
    )


def _validated(config: Config) -> Config:
    if not config.dns_on and not config.http_on:
        raise ConfigError("service validation failed: either DNS or HTTP server should be on")
    if not config.masters and not config.zk:
        raise ConfigError(
            "service validation failed: specify Mesos masters or Zookeeper in config.json"
        )
    check_masters(config.masters)
    check_ip_sources(config.ip_sources)
    if config.state_timeout_seconds <= 0:
        raise ConfigError(f"Invalid HTTP Timeout: {config.state_timeout_seconds}")
    domain = config.domain.lower()
    if not is_domain(domain):
        raise ConfigError(f"{domain} is not a valid domain name")
    _check_tls(config)
    _check_authentication(config)
    if config.external_on:
        check_resolvers(config.resolvers)
        check_zone_resolvers(config.zone_resolvers, domain)
    _check_servers(config)
    return replace(
        config,
        domain=domain,
        soa_mname=_absolute(config.soa_mname),
        soa_rname=_absolute(config.soa_rname),
    )


def _absolute(name: str) -> str:
    return name.replace("@", ".").rstrip(".") + "."


def _check_tls(config: Config) -> None:
    if config.ca_cert_file:
        try:
            pem = Path(config.ca_cert_file).read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"CACertFile open failed: open {config.ca_cert_file}: {_reason(error)}"
            ) from None
        if "-----BEGIN CERTIFICATE-----" not in pem:
            raise ConfigError("CACertFile parsing failed: <nil>")
    if config.cert_file and not config.key_file:
        raise ConfigError("Missing private key")
    if config.key_file and not config.cert_file:
        raise ConfigError("Missing certificate")
    for path in (config.cert_file, config.key_file):
        if path:
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise ConfigError(f"open {path}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _check_authentication(config: Config) -> None:
    if config.iam_config_file:
        raise ConfigError(
            f'failed to load IAM config from file "{config.iam_config_file}": '
            "IAM is a service of DC/OS Enterprise and not supported here; use basic"
        )
    match config.mesos_authentication:
        case "":
            return
        case "basic":
            if not config.mesos_principal:
                raise ConfigError("invalid HTTP Basic configuration")
        case "iam":
            raise ConfigError("missing configuration for specified authentication mechanism")
        case _:
            raise ConfigError("unregistered factory requested")


def _check_servers(config: Config) -> None:
    """Refuse what Mesos-DNS only finds out, or dies of, when its servers start."""
    if config.refresh_seconds <= 0:
        raise ConfigError(f"refreshSeconds: found {config.refresh_seconds}; wanted 1 or more")
    if config.dns_on and not 0 <= config.port < 65536:
        raise ConfigError(
            f'failed to setup "tcp" server: listen tcp: address {config.port}: invalid port'
        )
    if config.http_on and not 0 <= config.http_port < 65536:
        raise ConfigError(
            f"failed to setup http server: listen tcp: address {config.http_port}: invalid port"
        )
    try:
        ipaddress.ip_address(config.listener)
    except ValueError:
        raise ConfigError(f"unable to parse ip: {config.listener}") from None
    for master in config.masters:
        host, _ = host_port(master, "masters")
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ConfigError(f"unable to parse ip: {host}") from None
    if config.zk and not config.zk.startswith("zk://"):
        raise ConfigError(f"failed to create master detector: {config.zk} is no zk:// address")


def main() -> int:
    """Check the file named on the command line, for whoever writes it; returns the exit status."""
    try:
        load(Path(sys.argv[1]))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
