"""The agent's flags as typed settings."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from kubedcos.embedded.acls import Acls, acls_of
from kubedcos.embedded.agent.flag_table import AGENT_FLAGS
from kubedcos.embedded.agent.isolators import capabilities, cni_config, names
from kubedcos.embedded.agent.isolators.cni_results import DefaultDns, parse_default_dns
from kubedcos.embedded.agent.isolators.order import Isolators
from kubedcos.embedded.agent.machine import detected_resources
from kubedcos.embedded.credentials import Credential, credential, secrets_by_principal
from kubedcos.embedded.flags import Flags, parse_flags
from kubedcos.embedded.protojson import NotConvertible, from_json
from kubedcos.embedded.tls import Tls, read_tls
from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.container_rules import container_fault
from kubedcos.mesos.messages import Attribute, CapabilityInfo, ContainerInfo, DomainInfo
from kubedcos.mesos.resource_text import parse_attributes, parse_resources
from kubedcos.mesos.resources import Resources

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the flags say, checked.

    Attributes:
        flags: the flags themselves, for `/flags` and single values.
        ip: address to listen on.
        advertise_ip: address at which others reach the agent.
        hostname: what offers carry.
        port: port to listen on; 0 for any.
        resources: as configured or detected.
        isolators: what is isolated, and what of it containers may choose.
        launcher: ``linux`` (freezer cgroup, namespaces) or ``posix``.
        default_container: of executors that name none.
        default_dns: resolvers of containers in CNI networks.
        http_credentials: secret by principal.
        acls: who may do what; None permits everything.
        tls: how it serves and calls; None for plain HTTP.
        executor_environment: environment that executors start from.
    """

    flags: Flags
    work_dir: Path
    runtime_dir: Path
    ip: str
    advertise_ip: str
    hostname: str
    port: int
    resources: Resources
    attributes: tuple[Attribute, ...]
    domain: DomainInfo | None
    isolators: Isolators
    launcher: str
    default_container: ContainerInfo | None
    default_dns: DefaultDns
    credential: Credential | None
    http_credentials: Mapping[str, str]
    acls: Acls | None
    tls: Tls | None
    executor_environment: Mapping[str, str]


def load(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    *,
    command_output: Callable[[str], str] | None = None,
) -> Settings:
    """Settings from the command line and the environment.

    Args:
        arguments: command line without the program's name.
        environment: the process' environment.
        command_output: runs `--ip_discovery_command`; replaced in tests.

    Raises:
        InvalidInput: with everything that is wrong.
    """
    flags = parse_flags(AGENT_FLAGS, arguments, environment)
    for name in ("master", "work_dir"):
        flags.required(name)
    work_dir = Path(flags.required("work_dir"))
    acls = acls_of(flags)
    _check_isolation(flags.required("isolation"))
    launcher = _one_of(
        flags, "launcher", ("linux", "posix"), "linux" if os.geteuid() == 0 else "posix"
    )
    ip = _ip(flags, command_output or _run)
    default_role = flags.required("default_role")
    given = parse_resources(flags.text("resources") or "", default_role=default_role)
    detected = detected_resources(given, work_dir, default_role)
    return Settings(
        flags=flags if acls is None else flags.showing("acls", acls.text()),
        work_dir=work_dir,
        runtime_dir=Path(flags.required("runtime_dir")),
        ip=ip,
        advertise_ip=flags.text("advertise_ip") or ip,
        hostname=flags.text("hostname") or _hostname(flags, flags.text("advertise_ip") or ip),
        port=flags.integer("port"),
        resources=given + detected,
        attributes=parse_attributes(flags.text("attributes") or ""),
        domain=_domain(flags),
        isolators=Isolators.of_flags(
            flags,
            launcher,
            effective_capabilities=_capabilities(flags, "effective_capabilities"),
            bounding_capabilities=_capabilities(flags, "bounding_capabilities"),
        ),
        launcher=launcher,
        default_container=_default_container(flags),
        default_dns=parse_default_dns(flags.json("default_container_dns")),
        credential=_credential(flags),
        http_credentials=_http_credentials(flags),
        acls=acls,
        tls=read_tls(environment),
        executor_environment=_executor_environment(flags, environment),
    )


def refused_policy(flags: Flags) -> str | None:
    """Mesos' words for a `--reconfiguration_policy` or `--recover` that it does not know."""
    known = {"reconfiguration_policy": ("equal", "additive"), "recover": ("reconnect", "cleanup")}
    for name, values in known.items():
        if flags.required(name) not in values:
            return (
                f"Unknown option for '{name}' flag {flags.required(name)}. "
                "Please run the agent with '--help' to see the valid options."
            )
    return None


def containerizer_fault(settings: Settings) -> str | None:
    """Why no containers can be made with these flags, in Mesos' words; None when they can."""
    flags, root = settings.flags, os.geteuid() == 0
    wanted = settings.isolators
    problem = names.fault(flags, settings.launcher, root=root)
    if problem is None and "linux/capabilities" in wanted.names:
        fault = capabilities.flags_fault(
            wanted.effective_capabilities, wanted.bounding_capabilities
        )
        problem = fault and f"Failed to create isolator 'linux/capabilities': {fault}"
    if problem is None and "network/cni" in wanted.names:
        directories = (flags.text(f"network_cni_{name}_dir") for name in ("config", "plugins"))
        fault = cni_config.start_fault(*directories, root=root)
        problem = fault and f"Failed to create isolator 'network/cni': {fault}"
    if problem is None:
        return None
    return f"Failed to create a containerizer: Could not create MesosContainerizer: {problem}"


def _one_of(flags: Flags, name: str, values: tuple[str, ...], default: str) -> str:
    value = flags.text(name) or default
    if value not in values:
        wanted = " or ".join(values)
        raise InvalidInput([Problem(f"flag --{name}", repr(value), wanted, "flag-value")])
    return value


def _check_isolation(text: str) -> None:
    known = ", ".join(names.HONOURED)
    if unknown := names.unknown(text):
        raise InvalidInput(
            [
                Problem(
                    "flag --isolation",
                    repr(name),
                    f"one of {known} (the embedded agent has no other isolator)",
                    "agent-isolator",
                )
                for name in unknown
            ]
        )


def _capabilities(flags: Flags, name: str) -> tuple[str, ...] | None:
    value = flags.json(name)
    if value is None:
        return None
    try:
        return capabilities.names_of(from_json(value, CapabilityInfo))
    except NotConvertible as error:
        wanted = '{"capabilities": ["NET_RAW", ...]}'
        raise InvalidInput([Problem(f"flag --{name}", str(error), wanted, "flag-value")]) from error


def _default_container(flags: Flags) -> ContainerInfo | None:
    value = flags.json("default_container_info")
    if value is None:
        return None
    wanted = "a ContainerInfo of type MESOS without an image"
    try:
        container = from_json(value, ContainerInfo)
        problem = container_fault(container)
    except NotConvertible as error:
        problem = str(error)
    else:
        if container.type != "MESOS":
            problem = f"type {container.type}"
        elif container.mesos is not None and container.mesos.image is not None:
            problem = "an image"
    if problem is not None:
        raise InvalidInput(
            [Problem("flag --default_container_info", problem, wanted, "flag-value")]
        )
    return container


def _run(command: str) -> str:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError) as error:
        wanted = "a command that prints one IPv4 address"
        raise InvalidInput([Problem("flag --ip_discovery_command", str(error), wanted)]) from error
    return done.stdout.strip()


def _ip(flags: Flags, command_output: Callable[[str], str]) -> str:
    given, command = flags.text("ip"), flags.text("ip_discovery_command")
    if given and command:
        wanted = "only one of --ip and --ip_discovery_command"
        raise InvalidInput([Problem("flags", "both", wanted, "flag-exclusive")])
    if command:
        given = command_output(command)
    if given is None:
        try:
            given = socket.gethostbyname(socket.gethostname())
        except OSError as error:
            wanted = "a host name with an address, or --ip"
            raise InvalidInput([Problem("host name", str(error), wanted, "agent-ip")]) from error
    try:
        socket.inet_pton(socket.AF_INET, given)
    except OSError as error:
        wanted = "an IPv4 address"
        raise InvalidInput([Problem("flag --ip", repr(given), wanted, "agent-ip")]) from error
    return given


def _hostname(flags: Flags, ip: str) -> str:
    if not flags.boolean("hostname_lookup"):
        return ip
    try:
        return socket.gethostbyaddr(ip)[0]
    except OSError:
        return ip


def _domain(flags: Flags) -> DomainInfo | None:
    value = flags.json("domain")
    if value is None:
        return None
    try:
        return msgspec.convert(value, DomainInfo)
    except msgspec.ValidationError as error:
        wanted = '{"fault_domain": {"region": {"name": …}, "zone": {"name": …}}}'
        raise InvalidInput([Problem("flag --domain", str(error), wanted, "flag-value")]) from error


def _credential(flags: Flags) -> Credential | None:
    value = flags.json("credential")
    return None if value is None else credential(value, "credential")


def _http_credentials(flags: Flags) -> Mapping[str, str]:
    value = flags.json("http_credentials")
    return {} if value is None else secrets_by_principal(value, "http_credentials")


def _executor_environment(flags: Flags, environment: Mapping[str, str]) -> dict[str, str]:
    """What `--executor_environment_variables` gives, or the agent's own without Mesos' parts."""
    given = flags.json("executor_environment_variables")
    if given is not None:
        return {str(name): str(value) for name, value in given.items()}
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith(("MESOS_", "LIBPROCESS_"))
    }
