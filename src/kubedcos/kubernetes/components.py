"""The shape of a cluster: pods, tasks and the order in which they are staged. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

from kubedcos.config import constraints
from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.constraints import Rows
from kubedcos.config.lineage import Lineage
from kubedcos.config.pools import NODE_POD, Pool
from kubedcos.kubernetes import addons, control_plane, etcd, node, node_network
from kubedcos.kubernetes.etcd_membership import PEER_PORT
from kubedcos.kubernetes.recipe import API_PORT, ETCD_PORT, NODE_API_PORT, Recipe
from kubedcos.model.constraint import REGION, STATIC, ZONE, Constraint
from kubedcos.model.service import (
    DiskKind,
    Goal,
    HealthCheckSpec,
    PhaseSpec,
    PlacementSpec,
    PlanSpec,
    PodSpec,
    PortSpec,
    RecoverySpec,
    ServiceSpec,
    StepSpec,
    Strategy,
    TaskSpec,
    VolumeSpec,
)

RECIPES: dict[str, Recipe] = {
    recipe.kind: recipe
    for recipe in (
        etcd.RECIPE,
        control_plane.API_SERVER,
        control_plane.CONTROLLER_MANAGER,
        control_plane.SCHEDULER,
        node.KUBELET,
        node_network.PROXY,
        node_network.DNS,
        *addons.RECIPES,
    )
}
"""How each kind of task is made."""

_STARTING = 420.0  # the launcher may wait 300 s for what a component needs


def service(options: ClusterOptions, lineage: Lineage | None = None) -> ServiceSpec:
    """All that the framework of a cluster runs.

    Args:
        options: the cluster's.
        lineage: configurations that it had, and numbers of its instances; None for a new one.
    """
    past = lineage or Lineage()
    pods = (
        _etcd(options),
        _api_server(options),
        _controller_manager(options),
        _scheduler(options),
        _addons("mandatory-addons", addons.MANDATORY, options),
        _addons("addons", addons.wanted(options), options),
    )
    nodes = tuple(_nodes(name, pool, options) for name, pool in options.pools.items())
    nodes = tuple(replace(pod, numbers=past.indices.get(pod.name, ())) for pod in nodes)
    phases = (
        _phase("etcd", Strategy.SERIAL, pods[0]),
        _phase("kube-apiserver", Strategy.PARALLEL, pods[1]),
        _phase("kube-controller-manager", Strategy.PARALLEL, pods[2]),
        _phase("kube-scheduler", Strategy.PARALLEL, pods[3]),
        _one_by_one("mandatory-addons", pods[4]),
        _phase("node", Strategy.PARALLEL, *nodes, at_once=options.update.nodes_at_once),
        _one_by_one("addons", pods[5]),
    )
    return ServiceSpec(
        name=options.name,
        role=options.mesos_role,
        pods=(*pods[:5], *nodes, pods[5]),
        plans=(PlanSpec("deploy", phases),),
        maintenance_lead=float(options.recovery.maintenance_lead),
        restore_command=f"kubedcos cluster restore {options.name}",
        target=past.target,
        outdated=_outdated((*pods, *nodes), options, past),
    )


def _outdated(
    pods: Iterable[PodSpec], options: ClusterOptions, past: Lineage
) -> dict[tuple[int, str, str], str]:
    return {
        (number, pod.name, task.name): reason
        for pod in pods
        for task in pod.tasks
        for number, reason in past.reasons(options, pod.name, task.name).items()
    }


# --- steps ---------------------------------------------------------------------------------------


def _step(pod: PodSpec, index: int, tasks: tuple[str, ...]) -> StepSpec:
    name = f"{pod.instance(index)}:[{', '.join(tasks)}]"
    return StepSpec(name=name, pod=pod.name, index=index, tasks=tasks)


def _phase(name: str, strategy: Strategy, *pods: PodSpec, at_once: int = 1) -> PhaseSpec:
    """All tasks of an instance start together."""
    steps = tuple(
        _step(pod, index, tuple(task.name for task in pod.tasks))
        for pod in pods
        for index in pod.indices
    )
    return PhaseSpec(name, strategy, steps, at_once)


def _one_by_one(name: str, pod: PodSpec) -> PhaseSpec:
    """The tasks of the one instance start one after the other."""
    steps = tuple(_step(pod, 0, (task.name,)) for task in pod.tasks)
    return PhaseSpec(name, Strategy.SERIAL, steps)


# --- pods ----------------------------------------------------------------------------------------

# What is granted is a share, as kubeadm's requests are, and no ceiling: under a quota of 0.2 CPU a
# program of Go takes seconds to start, and on cgroup v1 no pod below a kubelet's quota may have a
# greater one, although Kubernetes allows limits beyond a node's size.
_task = partial(TaskSpec, cpu_is_limit=False)


def _check(port: int, path: str, scheme: str = "http") -> HealthCheckSpec:
    """Whether a component lives, asked on its own host."""
    return HealthCheckSpec(
        port,
        path,
        scheme,
        grace_seconds=_STARTING,
        interval_seconds=15.0,
        timeout_seconds=12.0,
        consecutive_failures=6,
    )


def _recovery(
    options: ClusterOptions,
    replace_after: int,
    *,
    quorum: bool = False,
    group: str = "",
    most_at_once: int = 1,
) -> RecoverySpec:
    return RecoverySpec(
        quorum=quorum,
        group=group,
        replace_after=float(replace_after),
        most_at_once=most_at_once,
        gap=float(options.recovery.min_gap),
    )


def _control_plane_placement(options: ClusterOptions, rows: Rows) -> PlacementSpec:
    """In the cluster's region, else beside the masters: their loss stops staging anyway."""
    rules = constraints.read(rows)
    placed = any(rule.field == REGION for rule in rules)
    return PlacementSpec(
        regions=(options.region,) if options.region and not placed else (),
        local_region=not options.region and not placed,
        spread_by="" if _spreads(rules) else "zone",
        attributes=dict(options.placement.control_plane_attributes),
        rules=rules,
    )


def _spreads(rules: tuple[Constraint, ...]) -> bool:
    """Whether rules say themselves how instances lie to each other over regions and zones."""
    return any(rule.field in {REGION, ZONE} and rule.operator not in STATIC for rule in rules)


def _etcd(options: ClusterOptions) -> PodSpec:
    task = _task(
        name="peer",
        kind="etcd",
        cpus=options.etcd.cpus,
        mem_mb=options.etcd.mem_mb,
        disk_mb=256,
        ports=(
            PortSpec("client", ETCD_PORT),
            PortSpec("peer", PEER_PORT),
            PortSpec("metrics", etcd.METRICS_PORT),
        ),
        volumes=(
            VolumeSpec(etcd.VOLUME, etcd.VOLUME, options.etcd.disk_mb, DiskKind(options.etcd.disk)),
        ),
        health_check=_check(etcd.METRICS_PORT, "/livez"),
        kill_grace_seconds=15.0,
        discovery_name="{instance}",
        labels={"kubedcos/component": "etcd"},
    )
    return PodSpec(
        "etcd",
        options.etcd.count,
        (task,),
        _control_plane_placement(options, options.placement.etcd),
        _recovery(options, options.recovery.replace_after.etcd, quorum=True),
    )


def _api_server(options: ClusterOptions) -> PodSpec:
    task = _task(
        name="instance",
        kind="kube-apiserver",
        cpus=options.apiserver.cpus,
        mem_mb=options.apiserver.mem_mb,
        disk_mb=512,
        ports=(PortSpec("https", API_PORT),),
        health_check=_check(API_PORT, "/livez", "https"),
        kill_grace_seconds=30.0,
        discovery_name="apiserver",
        labels={"kubedcos/component": "kube-apiserver"},
    )
    return PodSpec(
        "kube-apiserver",
        options.apiserver.count,
        (task,),
        _control_plane_placement(options, options.placement.control_plane),
        _recovery(options, options.recovery.replace_after.control_plane),
    )


def _controller_manager(options: ClusterOptions) -> PodSpec:
    task = _task(
        name="instance",
        kind="kube-controller-manager",
        cpus=options.controller_manager.cpus,
        mem_mb=options.controller_manager.mem_mb,
        disk_mb=512,
        ports=(PortSpec("https", control_plane.CONTROLLER_MANAGER_PORT),),
        health_check=_check(control_plane.CONTROLLER_MANAGER_PORT, "/healthz", "https"),
        discovery_name="controller-manager",
        labels={"kubedcos/component": "kube-controller-manager"},
    )
    return PodSpec(
        "kube-controller-manager",
        options.controller_manager.count,
        (task,),
        _control_plane_placement(options, options.placement.control_plane),
        _recovery(options, options.recovery.replace_after.control_plane),
    )


def _scheduler(options: ClusterOptions) -> PodSpec:
    task = _task(
        name="instance",
        kind="kube-scheduler",
        cpus=options.scheduler.cpus,
        mem_mb=options.scheduler.mem_mb,
        disk_mb=512,
        ports=(PortSpec("https", control_plane.SCHEDULER_PORT),),
        health_check=_check(control_plane.SCHEDULER_PORT, "/healthz", "https"),
        discovery_name="scheduler",
        labels={"kubedcos/component": "kube-scheduler"},
    )
    return PodSpec(
        "kube-scheduler",
        options.scheduler.count,
        (task,),
        _control_plane_placement(options, options.placement.control_plane),
        _recovery(options, options.recovery.replace_after.control_plane),
    )


def _nodes(name: str, pool: Pool, options: ClusterOptions) -> PodSpec:
    kubelet = _task(
        name="kubelet",
        kind="kubelet",
        cpus=pool.cpus,
        mem_mb=pool.mem_mb,
        disk_mb=pool.disk_mb,
        ports=(
            PortSpec("https", node.KUBELET_PORT),
            PortSpec("health", node.HEALTH_PORT),
            PortSpec("api", NODE_API_PORT),
        ),
        health_check=_check(node.HEALTH_PORT, "/healthz"),
        kill_grace_seconds=node.KILL_GRACE,
        labels={"kubedcos/component": "kubelet"},
    )
    proxy = _task(
        name="kube-proxy",
        kind="kube-proxy",
        cpus=pool.proxy.cpus,
        mem_mb=pool.proxy.mem_mb,
        disk_mb=256,
        ports=(
            PortSpec("health", node_network.PROXY_HEALTH_PORT),
            PortSpec("metrics", node_network.PROXY_METRICS_PORT),
        ),
        health_check=_check(node_network.PROXY_HEALTH_PORT, "/livez"),
        kill_grace_seconds=20.0,
        labels={"kubedcos/component": "kube-proxy"},
    )
    dns = _task(
        name="coredns",
        kind="coredns",
        cpus=pool.dns.cpus,
        mem_mb=pool.dns.mem_mb,
        disk_mb=256,
        ports=(
            PortSpec("ready", node_network.DNS_READY_PORT),
            PortSpec("health", node_network.DNS_HEALTH_PORT),
            PortSpec("metrics", node_network.DNS_METRICS_PORT),
        ),
        health_check=_check(node_network.DNS_HEALTH_PORT, "/health"),
        kill_grace_seconds=10.0,
        labels={"kubedcos/component": "coredns"},
    )
    rules = constraints.read(pool.placement or options.placement.nodes)
    placement = PlacementSpec(
        regions=options.placement.regions,
        unique_agent=True,
        # A host has one kubelet's ports, whichever pool its node is of.
        apart_from=tuple(other for other in options.pools if other != name),
        spread_by="" if _spreads(rules) else options.placement.spread_by,
        proportional=True,
        attributes=dict(options.placement.node_attributes),
        rules=rules,
    )
    recovery = _recovery(
        options,
        options.recovery.replace_after.node,
        group=NODE_POD,
        most_at_once=options.recovery.max_concurrent_replacements,
    )
    tasks = (kubelet, proxy, dns)
    return PodSpec(name, pool.count, tasks, placement, recovery, role=pool.role, emptied=True)


def _addons(pod: str, names: tuple[str, ...], options: ClusterOptions) -> PodSpec:
    tasks = tuple(
        _task(
            name=name,
            kind=f"{addons.KIND_PREFIX}{name}",
            cpus=0.1,
            mem_mb=128,
            disk_mb=128,
            goal=Goal.FINISHED,
            labels={"kubedcos/component": f"{addons.KIND_PREFIX}{name}"},
        )
        for name in names
    )
    placement = _control_plane_placement(options, options.placement.control_plane)
    recovery = _recovery(options, options.recovery.replace_after.control_plane)
    return PodSpec(pod, 1, tasks, placement, recovery)
