"""Flags of the master: all that Mesos has, and which of them this engine honours."""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubedcos.embedded.acls import Acls, acls_of
from kubedcos.embedded.credentials import secrets_by_principal
from kubedcos.embedded.flags import ANY, Flag, Flags, parse_flags
from kubedcos.embedded.master.constraints import PatternLimits
from kubedcos.embedded.master.weights import weight_fault
from kubedcos.embedded.tls import Tls, read_tls
from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.durations import duration
from kubedcos.mesos.messages import DomainInfo, decode
from kubedcos.mesos.resource_text import parse_resources

MASTER_FLAGS: Final[tuple[Flag, ...]] = (
    Flag("acls", "json"),
    Flag("advertise_ip"),
    Flag("advertise_port", "int"),
    Flag("agent_ping_timeout", "duration", "15secs", aliases=("slave_ping_timeout",)),
    Flag("agent_removal_rate_limit", aliases=("slave_removal_rate_limit",)),
    Flag("agent_reregister_timeout", "duration", "10mins", aliases=("slave_reregister_timeout",)),
    Flag("allocation_interval", "duration", "1secs"),
    Flag("allocator", default="hierarchical", harmless=("hierarchical", "HierarchicalDRF")),
    Flag("allocator_agent_recovery_factor", "number", "0.8"),
    Flag("allocator_recovery_timeout", "duration", "10mins"),
    Flag("authenticate_agents", "bool", "false", aliases=("authenticate_slaves",)),
    # About frameworks of the old API, which this engine does not speak: there is none to let in.
    Flag("authenticate_frameworks", "bool", "false", harmless=ANY),
    Flag("authenticate_http_frameworks", "bool", "false"),
    Flag("authenticate_http_readonly", "bool", "false"),
    Flag("authenticate_http_readwrite", "bool", "false"),
    Flag("authentication_v0_timeout", "duration", "15secs", harmless=ANY),
    Flag("authenticators", default="crammd5", harmless=ANY),
    Flag("authorizers", default="local", harmless=("local",)),
    Flag("cluster"),
    Flag("credentials", "path"),
    Flag("domain", "json"),
    Flag("external_log_file", "path"),
    Flag("fair_sharing_excluded_resource_names"),
    Flag("filter_gpu_resources", "bool", "true"),
    Flag("firewall_rules", harmless=()),
    Flag("framework_sorter", default="drf", harmless=("drf",)),
    Flag("help", "bool", "false"),
    Flag("hooks", harmless=("",)),
    Flag("hostname"),
    Flag("hostname_lookup", "bool", "true"),
    Flag("http_authenticators", default="basic", harmless=("basic",)),
    Flag("http_framework_authenticators", harmless=("basic",)),
    Flag("initialize_driver_logging", "bool", "true", harmless=ANY),
    Flag("ip"),
    Flag("ip_discovery_command"),
    Flag("log_auto_initialize", "bool", "true", harmless=ANY),
    Flag("log_dir", "path"),
    Flag("logbufsecs", "int", "0", harmless=ANY),
    Flag("logging_level", default="INFO"),
    Flag("master_contender", harmless=()),
    Flag("master_detector", harmless=()),
    Flag("max_agent_ping_timeouts", "int", "5", aliases=("max_slave_ping_timeouts",)),
    Flag("max_completed_frameworks", "int", "50"),
    Flag("max_completed_tasks_per_framework", "int", "1000"),
    Flag("max_operator_event_stream_subscribers", "int", "1000"),
    Flag("max_unreachable_tasks_per_framework", "int", "1000"),
    Flag("memory_profiling", "bool", "false", harmless=("false",)),
    Flag("min_allocatable_resources", default="cpus:0.01|mem:32"),
    Flag("modules", harmless=()),
    Flag("modules_dir", harmless=()),
    Flag("offer_constraints_re2_max_mem", "size", "4KB"),
    Flag("offer_constraints_re2_max_program_size", "int", "100"),
    Flag("offer_timeout", "duration"),
    Flag("port", "int", "5050"),
    Flag("publish_per_framework_metrics", "bool", "true"),
    Flag("quiet", "bool", "false"),
    Flag("quorum", "int", harmless=ANY),
    Flag("rate_limits", harmless=()),
    Flag(
        "recovery_agent_removal_limit",
        "number",
        "100%",
        aliases=("recovery_slave_removal_limit",),
        harmless=("100%",),
    ),
    Flag("registry", default="replicated_log"),
    Flag("registry_fetch_timeout", "duration", "1mins", harmless=ANY),
    Flag("registry_gc_interval", "duration", "15mins", harmless=ANY),
    Flag("registry_max_agent_age", "duration", "2weeks"),
    Flag("registry_max_agent_count", "int", "102400"),
    Flag("registry_store_timeout", "duration", "20secs"),
    Flag("registry_strict", "bool", "false", harmless=("false",)),
    Flag("require_agent_domain", "bool", "false"),
    Flag("role_sorter", default="drf", harmless=("drf",)),
    Flag("roles"),
    Flag("root_submissions", "bool", "true"),
    Flag("version", "bool", "false"),
    Flag("webui_dir", "path", "/usr/local/share/mesos/webui", harmless=ANY),
    Flag("weights"),
    Flag("whitelist", "path"),
    Flag("work_dir", "path"),
    Flag("zk", confidential=True),
    Flag("zk_session_timeout", "duration", "10secs"),
)
"""Sorted; `quorum` is without effect: ZooKeeper has the registry, and a quorum of its own."""


@dataclass(frozen=True, slots=True)
class MasterOptions:
    """What the master runs with. Times in seconds.

    Attributes:
        flags: for `/flags`.
        bind: address to listen on.
        address: IP address that others reach the master under.
        removal_interval: time that must pass between two agents becoming unreachable.
        port: port to listen on; `advertise_port` is what others use.
        roles: the only roles allowed, if given.
        min_allocatable: alternatives of thousandths by resource name.
        agent_recovery_factor: part of the registry's agents that must be back before anything is
            offered, when there is quota.
        allocator_recovery_timeout: how long to wait for them.
        weights: by role, until the registry has some.
        whitelist: file with the host names of the agents that are offered.
        credentials: secret by principal.
        acls: who may do what; `None` permits everything.
        tls: how it serves and calls; `None` for plain HTTP.
    """

    flags: Flags
    bind: str
    address: str
    port: int
    advertise_port: int
    hostname: str
    domain: DomainInfo | None
    work_dir: Path | None
    in_memory: bool
    zk: str | None
    zk_session_timeout: float
    cluster: str | None
    roles: frozenset[str]
    agent_ping_timeout: float
    max_agent_ping_timeouts: int
    agent_reregister_timeout: float
    removal_interval: float
    allocation_interval: float
    offer_timeout: float | None
    min_allocatable: tuple[Mapping[str, int], ...]
    fair_sharing_excluded: frozenset[str]
    filter_gpu_resources: bool
    pattern_limits: PatternLimits
    agent_recovery_factor: float
    allocator_recovery_timeout: float
    weights: Mapping[str, float]
    whitelist: Path | None
    max_completed_frameworks: int
    max_operator_streams: int
    max_completed_tasks: int
    max_unreachable_tasks: int
    registry_max_agent_age: float
    registry_max_agent_count: int
    registry_store_timeout: float
    require_agent_domain: bool
    root_submissions: bool
    authenticate_agents: bool
    authenticate_frameworks: bool
    authenticate_readonly: bool
    authenticate_readwrite: bool
    credentials: Mapping[str, str]
    acls: Acls | None
    tls: Tls | None


def _problem(flag: str, seen: str, wanted: str) -> InvalidInput:
    return InvalidInput([Problem(f"flag --{flag}", seen, wanted, "flag-value")])


def read_credentials(path: str) -> dict[str, str]:
    """Secrets by principal from Mesos' JSON file of credentials.

    Raises:
        InvalidInput: not readable or not of that form.
    """
    wanted = 'a file with JSON {"credentials": [{"principal": …, "secret": …}]}'
    try:
        listed: Any = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _problem("credentials", f"{path} ({type(error).__name__}: {error})", wanted) from None
    return secrets_by_principal(listed, "credentials")


def own_address(flags: Flags) -> str:
    """The IP address to listen on: `--ip`, the discovery command, or what the host name says.

    Raises:
        InvalidInput: both flags, or an address that is none.
    """
    text, command = flags.text("ip"), flags.text("ip_discovery_command")
    if text is not None and command is not None:
        raise _problem("ip_discovery_command", "--ip beside it", "only one of the two")
    if command is not None:
        done = subprocess.run(
            ["/bin/sh", "-c", command], capture_output=True, text=True, check=False
        )
        text = done.stdout.strip()
    if text is None:
        text = socket.gethostbyname(socket.gethostname())
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise _problem("ip", repr(text), "an IPv4 address") from None


def own_hostname(flags: Flags, address: str) -> str:
    """`--hostname`, or the name that the address has, or the address itself."""
    given = flags.text("hostname")
    if given is not None:
        return given
    if not flags.boolean("hostname_lookup"):
        return address
    try:
        return socket.gethostbyaddr(address)[0]
    except OSError:
        return address


def min_allocatable(text: str) -> tuple[Mapping[str, int], ...]:
    """Alternatives of ``cpus:0.01|mem:32``: thousandths by resource name."""
    where = "flag --min_allocatable_resources"
    parsed = (parse_resources(part, where=where) for part in text.split("|") if part.strip())
    return tuple({name: r.thousandths(name) for name in r.names()} for r in parsed)


def role_weights(text: str | None, allowed_roles: frozenset[str]) -> dict[str, float]:
    """Weights by role of ``role=weight,role=weight``.

    Raises:
        InvalidInput: not of that form, not a role that is allowed, or not above 0.
    """
    weights: dict[str, float] = {}
    for entry in filter(None, (text or "").split(",")):
        role, equals, number = entry.partition("=")
        try:
            weights[role] = float(number)
        except ValueError:
            equals = ""
        if not equals or weight_fault(role, weights[role], allowed_roles) is not None:
            wanted = "role=weight,role=weight with weights above 0"
            raise _problem("weights", repr(entry), wanted)
    return weights


def removal_interval(text: str | None) -> float:
    """Seconds between two removals from ``1/20mins``; 0 without a limit.

    Raises:
        InvalidInput: not of that form.
    """
    if text is None:
        return 0.0
    permits, _, per = text.partition("/")
    try:
        return duration(per) / int(permits)
    except (ValueError, ZeroDivisionError):
        wanted = "number/duration, such as 1/20mins"
        raise _problem("agent_removal_rate_limit", repr(text), wanted) from None


def _registry_in_memory(flags: Flags) -> bool:
    registry = flags.required("registry")
    if registry not in {"replicated_log", "in_memory"}:
        raise _problem("registry", repr(registry), "replicated_log or in_memory")
    if registry == "replicated_log" and not flags.is_set("work_dir"):
        raise _problem("work_dir", "nothing", "a directory, for the registry")
    if flags.is_set("zk") and registry == "replicated_log" and not flags.is_set("quorum"):
        raise _problem("quorum", "nothing", "a number, when --zk is given")
    return registry == "in_memory"


def read_options(arguments: Sequence[str], environment: Mapping[str, str]) -> MasterOptions:
    """Options from flags.

    Raises:
        InvalidInput: a flag is wrong or not supported.
    """
    flags = parse_flags(MASTER_FLAGS, arguments, environment)
    acls = acls_of(flags)
    bind = own_address(flags)
    address = flags.text("advertise_ip") or bind
    domain = flags.text("domain")
    credentials = flags.text("credentials")
    authenticates = [
        name for name in MASTER_AUTHENTICATION if flags.boolean(name) and credentials is None
    ]
    if authenticates:
        raise _problem("credentials", "nothing", f"a file, for --{authenticates[0]}")
    work_dir = flags.text("work_dir")
    roles = flags.text("roles")
    allowed_roles = frozenset(roles.split(",")) if roles else frozenset()
    excluded = flags.text("fair_sharing_excluded_resource_names")
    whitelist = flags.text("whitelist")
    port = flags.integer("port")
    return MasterOptions(
        flags=flags if acls is None else flags.showing("acls", acls.text()),
        bind=bind,
        address=address,
        port=port,
        advertise_port=int(flags.text("advertise_port") or port),
        hostname=own_hostname(flags, address),
        domain=decode(domain, DomainInfo) if domain is not None else None,
        work_dir=Path(work_dir) if work_dir is not None else None,
        in_memory=_registry_in_memory(flags),
        zk=flags.text("zk"),
        zk_session_timeout=flags.seconds("zk_session_timeout"),
        cluster=flags.text("cluster"),
        roles=allowed_roles,
        agent_ping_timeout=flags.seconds("agent_ping_timeout"),
        max_agent_ping_timeouts=flags.integer("max_agent_ping_timeouts"),
        agent_reregister_timeout=flags.seconds("agent_reregister_timeout"),
        removal_interval=removal_interval(flags.text("agent_removal_rate_limit")),
        allocation_interval=flags.seconds("allocation_interval"),
        offer_timeout=flags.seconds("offer_timeout") if flags.is_set("offer_timeout") else None,
        min_allocatable=min_allocatable(flags.required("min_allocatable_resources")),
        fair_sharing_excluded=frozenset(excluded.split(",")) if excluded else frozenset(),
        filter_gpu_resources=flags.boolean("filter_gpu_resources"),
        pattern_limits=PatternLimits(
            flags.bytes("offer_constraints_re2_max_mem"),
            flags.integer("offer_constraints_re2_max_program_size"),
        ),
        agent_recovery_factor=float(flags.required("allocator_agent_recovery_factor")),
        allocator_recovery_timeout=flags.seconds("allocator_recovery_timeout"),
        weights=role_weights(flags.text("weights"), allowed_roles),
        whitelist=Path(whitelist) if whitelist not in {None, "*"} else None,
        max_completed_frameworks=flags.integer("max_completed_frameworks"),
        max_operator_streams=flags.integer("max_operator_event_stream_subscribers"),
        max_completed_tasks=flags.integer("max_completed_tasks_per_framework"),
        max_unreachable_tasks=flags.integer("max_unreachable_tasks_per_framework"),
        registry_max_agent_age=flags.seconds("registry_max_agent_age"),
        registry_max_agent_count=flags.integer("registry_max_agent_count"),
        registry_store_timeout=flags.seconds("registry_store_timeout"),
        require_agent_domain=flags.boolean("require_agent_domain"),
        root_submissions=flags.boolean("root_submissions"),
        authenticate_agents=flags.boolean("authenticate_agents"),
        authenticate_frameworks=flags.boolean("authenticate_http_frameworks"),
        authenticate_readonly=flags.boolean("authenticate_http_readonly"),
        authenticate_readwrite=flags.boolean("authenticate_http_readwrite"),
        credentials=read_credentials(credentials) if credentials is not None else {},
        acls=acls,
        tls=read_tls(environment),
    )


MASTER_AUTHENTICATION: Final = (
    "authenticate_agents",
    "authenticate_http_frameworks",
    "authenticate_http_readonly",
    "authenticate_http_readwrite",
)
"""Flags that need `--credentials`."""
