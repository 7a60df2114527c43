"""The options of one Kubernetes cluster: one YAML file, typed, with defaults.

Units: CPUs as a fraction of a core, memory and disk in mebibytes.
"""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from kubedcos.config.cidrs import (
    Address,
    Network,
    overlap_problems,
    service_size_problems,
    slice_problems,
)
from kubedcos.config.constraints import Constraints
from kubedcos.config.pools import NODE_POD, Node, Pool, PoolName, pod_name
from kubedcos.config.problems import problems_of
from kubedcos.config.section import Cpus, Mebibytes, RoleName, Section
from kubedcos.config.yaml_text import parse_mapping
from kubedcos.errors import InvalidInput, Problem

VERSIONS = ("1.36.3", "1.35.4", "1.34.4")
"""Kubernetes versions that the artefact manifest has."""

_NAME = r"^[a-z]([a-z0-9-]{0,22}[a-z0-9])?$"


def _version_text(value: object) -> object:
    # YAML reads 1.36 as a number; the answer should still name the versions.
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _known_version(value: str) -> str:
    if value not in VERSIONS:
        raise ValueError(f"one of {', '.join(VERSIONS)}")
    return value


def _dns_label(value: str) -> str:
    if not re.match(_NAME, value):
        raise ValueError(
            "1 to 24 lower-case letters, digits and hyphens, beginning with a letter, not ending "
            "with a hyphen: it becomes part of DNS names"
        )
    return value


def _host_port(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError("HOST:PORT, such as 10.0.0.1:5050")
    return value


def _http_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError("a URL that begins with http:// or https://")
    return value.rstrip("/")


Version = Annotated[str, BeforeValidator(_version_text), AfterValidator(_known_version)]
Name = Annotated[str, AfterValidator(_dns_label)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Url = Annotated[str, AfterValidator(_http_url)]


CONTROL_PLANE = ("etcd", "apiserver", "controller_manager", "scheduler")
"""Sections of the parts of the control plane."""


def _three_of_each(data: dict[str, Any]) -> dict[str, Any]:
    """With high availability counts of 1 are 3, so that nobody has to know both."""
    if data.get("high_availability") is not True:
        return data
    return {**data, **{name: _raised(data.get(name)) for name in CONTROL_PLANE}}


def _raised(section: Any) -> Any:
    """A section of the control plane in a cluster that is highly available."""
    if section is None or (isinstance(section, dict) and section.get("count", 1) == 1):
        return {**(section or {}), "count": 3}
    return section


class Etcd(Section):
    """etcd, which keeps the cluster's state."""

    count: Literal[1, 3, 5] = 1
    """Members; with `high_availability` 3 or 5."""
    cpus: Cpus = 0.2
    """Cores that Mesos grants it; it may use idle ones besides."""
    mem_mb: Mebibytes = 256
    """MiB of memory that Mesos grants it."""
    disk_mb: Annotated[int, Field(ge=512)] = 1024
    """MiB of its persistent volume; half may hold data, the rest is for log and snapshots."""
    disk: Literal["ROOT", "PATH", "MOUNT"] = "ROOT"
    """Kind of Mesos disk that the volume lies on."""


class ApiServer(Section):
    """kube-apiserver."""

    count: Literal[1, 3] = 1
    """API servers; with `high_availability` 3."""
    cpus: Cpus = 0.5
    """Cores that Mesos grants it; it may use idle ones besides."""
    mem_mb: Mebibytes = 768
    """MiB of memory that Mesos grants it."""
    always_pull_images: bool = False
    """Check the registry at each container start. The registry then has to answer always."""


class ControllerManager(Section):
    """kube-controller-manager."""

    count: Literal[1, 3] = 1
    """Controller managers, one of which leads; with `high_availability` 3."""
    cpus: Cpus = 0.2
    """Cores that Mesos grants it; it may use idle ones besides."""
    mem_mb: Mebibytes = 256
    """MiB of memory that Mesos grants it."""


class Scheduler(Section):
    """kube-scheduler."""

    count: Literal[1, 3] = 1
    """Schedulers, one of which leads; with `high_availability` 3."""
    cpus: Cpus = 0.1
    """Cores that Mesos grants it; it may use idle ones besides."""
    mem_mb: Mebibytes = 128
    """MiB of memory that Mesos grants it."""


class NetworkOptions(Section):
    """Addresses. All networks must be apart from each other."""

    overlay: Annotated[str, Field(min_length=1, max_length=13)] = "kubernetes"
    """Name of the overlay that Kubernetes pods are in."""
    pod_cidr: Network = "10.244.0.0/16"
    """The overlay's subnet."""
    node_prefix: Annotated[int, Field(ge=16, le=29)] = 24
    """Prefix of a host's slice of the overlay."""
    cni_conf_dir: str = ""
    """Where hosts have the overlay's CNI configuration; default /etc/kubedcos/cni/OVERLAY."""
    service_cidr: Network = "10.96.0.0/16"
    """Addresses of Services."""
    cluster_domain: Literal["cluster.local"] = "cluster.local"
    """Domain of the names of Services."""
    node_dns: Address = "169.254.20.10"
    """Address at which each node's own CoreDNS answers its pods."""
    host_dns: Address = "127.0.0.1"
    """Where a host's resolver answers for everything that is not the cluster's."""
    other_cidrs: dict[str, Network] = {}  # noqa: RUF012  pydantic copies it
    """Networks of hosts, VTEPs and other overlays by name, to check that nothing overlaps."""


class Placement(Section):
    """Where components run: Marathon's constraints for each class, and short forms for nodes.

    A constraint that looks at other instances of its pod by `@region` or `@zone` takes the place of
    the spreading that is the default; one on `@region` for a part of the control plane takes the
    place of the cluster's own region.
    """

    etcd: Constraints = ()
    """Constraints on the agents of etcd, which is otherwise spread over zones."""
    control_plane: Constraints = ()
    """Constraints on the agents of the other parts of the control plane; likewise."""
    nodes: Constraints = ()
    """Constraints on the agents of nodes, for pools that have none of their own."""
    regions: tuple[str, ...] = ()
    """Regions that nodes may be in; empty means all."""
    spread_by: Literal["region", "zone", ""] = "region"
    """Spread nodes over these, in proportion to the agents that could hold one."""
    node_attributes: dict[str, str] = {}  # noqa: RUF012  pydantic copies it
    """Attributes that the agents of nodes must have."""
    control_plane_attributes: dict[str, str] = {}  # noqa: RUF012  pydantic copies it
    """Attributes that the agents of control plane components must have."""


class Mesos(Section):
    """How to reach Mesos."""

    masters: tuple[HostPort, ...] = ()
    """Masters as HOST:PORT; empty: as the framework scheduler is configured."""
    agent_port: Annotated[int, Field(ge=1, le=65535)] = 5051
    """Port of the agents' HTTP API."""
    domain: str = "mesos"
    """Mesos-DNS' domain."""


class Artifacts(Section):
    """Where binaries and images come from."""

    url: Url = "http://bootstrap.kubedcos:8080"
    """The artefact server."""
    sandbox_image: str = "registry.k8s.io/pause:3.10.1"
    """Image that holds a pod's namespaces."""
    dns_image: str = "registry.k8s.io/coredns/coredns:v1.14.7"
    """Image of the cluster's own CoreDNS."""
    metrics_server_image: str = "registry.k8s.io/metrics-server/metrics-server:v0.9.0"
    """Image of metrics-server."""
    demo_image: str = "docker.io/kubedcos/web:1"
    """Image of the demonstration."""


class Addons(Section):
    """What is installed in the cluster once it has nodes."""

    dns_replicas: Annotated[int, Field(ge=1, le=20)] = 2
    """Pods of the cluster's own CoreDNS."""
    metrics_server: bool = True
    """Whether metrics-server is installed."""


class ReplaceAfter(Section):
    """Seconds for which an agent may be out of reach before what ran there is replaced."""

    etcd: Annotated[int, Field(ge=1)] = 1200
    """Seconds that a member of etcd is waited for."""
    control_plane: Annotated[int, Field(ge=1)] = 1200
    """Seconds that kube-apiserver, kube-controller-manager and kube-scheduler are waited for."""
    node: Annotated[int, Field(ge=1)] = 1200
    """Seconds that a node is waited for."""


class Recovery(Section):
    """When and how fast lost or leaving pod instances are replaced elsewhere."""

    replace_after: ReplaceAfter = ReplaceAfter()
    max_concurrent_replacements: Annotated[int, Field(ge=1)] = 1
    """Nodes that are replaced at the same time; of other classes it is one."""
    min_gap: Annotated[int, Field(ge=0)] = 60
    """Least seconds between the beginnings of two replacements of a class."""
    drain_timeout: Annotated[int, Field(ge=0)] = 300
    """Seconds after which a node goes or restarts although budgets or slow pods hold it."""
    maintenance_lead: Annotated[int, Field(ge=0)] = 3600
    """Seconds before planned maintenance of an agent at which it is vacated."""


class Update(Section):
    """How changes are rolled out."""

    nodes_at_once: Annotated[int, Field(ge=1, le=100)] = 1
    """Nodes that an update may restart at the same time."""


class ClusterOptions(Section):
    """One Kubernetes cluster, which is one Mesos framework."""

    name: Name = "kubernetes"
    """Name of the cluster and of its Mesos framework."""
    version: Version = VERSIONS[0]
    """Kubernetes version."""
    role: RoleName = ""
    """Mesos role; default: the cluster's name."""
    high_availability: bool = False
    """Whether the control plane outlives the loss of an agent: three members of etcd (or five), and
    three of each other part. What says 1 then counts as 3."""
    region: str = ""
    """Mesos region of the control plane; default: the masters'."""
    etcd: Etcd = Etcd()
    apiserver: ApiServer = ApiServer()
    controller_manager: ControllerManager = ControllerManager()
    scheduler: Scheduler = Scheduler()
    node: Node = Node()
    node_pools: dict[PoolName, Pool] = {}  # noqa: RUF012  pydantic copies it
    """Further pools of nodes by name; see the section of that name."""
    network: NetworkOptions = NetworkOptions()
    placement: Placement = Placement()
    mesos: Mesos = Mesos()
    artifacts: Artifacts = Artifacts()
    addons: Addons = Addons()
    recovery: Recovery = Recovery()
    update: Update = Update()

    @property
    def mesos_role(self) -> str:
        """The Mesos role to subscribe with."""
        return self.role or self.name

    @property
    def pools(self) -> dict[str, Pool]:
        """All node pools by the name of their pod, the default one first."""
        named = {pod_name(name): pool for name, pool in self.node_pools.items()}
        return {NODE_POD: self.node, **named}

    @property
    def node_count(self) -> int:
        """Nodes of all pools."""
        return sum(pool.count for pool in self.pools.values())

    @property
    def cni_conf_dir(self) -> str:
        """Where hosts have the overlay's CNI configuration."""
        return self.network.cni_conf_dir or f"/etc/kubedcos/cni/{self.network.overlay}"

    @property
    def api_service_address(self) -> str:
        """Address of the Service ``kubernetes``: the first of the service network."""
        return str(IPv4Network(self.network.service_cidr)[1])

    @property
    def dns_service_address(self) -> str:
        """Address of the cluster's DNS Service: the tenth of the service network."""
        return str(IPv4Network(self.network.service_cidr)[10])


def load(text: str, where: str) -> ClusterOptions:
    """Options from the text of a file.

    Args:
        text: YAML.
        where: the file's name, for errors.

    Raises:
        InvalidInput: with every problem found, each naming the key and what is allowed.
    """
    return validate(parse_mapping(text, where), where)


def validate(data: dict[str, Any], where: str) -> ClusterOptions:
    """Options from plain data; see `load`."""
    # Strict mode takes no list for a tuple from Python, but does from JSON, as YAML has them.
    try:
        text = json.dumps(_three_of_each(data), default=str)
    except (ValueError, RecursionError):
        raise InvalidInput(
            [Problem(where, "an alias of what it stands in", "plain values", id="option-value")]
        ) from None
    try:
        options = ClusterOptions.model_validate_json(text)
    except ValidationError as error:
        raise InvalidInput(problems_of(error, ClusterOptions, where)) from None
    if problems := _contradictions(options, where):
        raise InvalidInput(problems)
    return options


def json_schema() -> dict[str, Any]:
    """JSON Schema of the options file, for editors."""
    schema = ClusterOptions.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "kubedcos cluster options"
    schema["properties"]["version"]["enum"] = list(VERSIONS)
    return schema


def _contradictions(options: ClusterOptions, where: str) -> list[Problem]:
    network = options.network
    networks = {
        "network.pod_cidr": network.pod_cidr,
        "network.service_cidr": network.service_cidr,
        **{f"network.other_cidrs.{name}": cidr for name, cidr in network.other_cidrs.items()},
    }
    problems = _lonely_problems(options, where)
    problems += overlap_problems(networks, where)
    problems += service_size_problems(network.service_cidr, "network.service_cidr", where)
    problems += slice_problems(network.pod_cidr, network.node_prefix, options.node_count, where)
    if not options.node_count:
        wanted = "at least 1, or a pool in node_pools that has nodes"
        problems.append(Problem(f"{where}: node.count", "0", wanted, id="nodes-none"))
    problems += [
        Problem(
            f"{where}: network.node_dns",
            f"{network.node_dns}, which lies in {name} {cidr}",
            "an address outside all networks, such as 169.254.20.10",
            id="node-dns-address",
        )
        for name, cidr in networks.items()
        if IPv4Address(network.node_dns) in IPv4Network(cidr)
    ]
    return problems


def _lonely_problems(options: ClusterOptions, where: str) -> list[Problem]:
    """Several of one part of the control plane alone would not outlive anything."""
    if options.high_availability:
        return []
    counts = {name: getattr(options, name).count for name in CONTROL_PLANE}
    return [
        Problem(
            f"{where}: {name}.count",
            f"{count} without high_availability",
            "1, or high_availability: true, which makes it three of each",
            id="count-without-high-availability",
        )
        for name, count in counts.items()
        if count != 1
    ]
