"""What an operator may change of the service that a drill runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kubedcos.model.service import PodSpec, RecoverySpec, ServiceSpec

from .faults import Setting, Update
from .stage import service


@dataclass(frozen=True, slots=True)
class Options:
    """One configuration.

    Attributes:
        nodes: how many Kubernetes nodes there are to be.
        grown: it has become highly available: three members of etcd and three API servers.
        pods: by name of a pod that was ever changed, how often, and whether it is larger now.
    """

    nodes: int
    pods: Mapping[str, tuple[int, bool]] = field(default_factory=dict)
    grown: bool = False

    def after(self, update: Update) -> Options:
        """The configuration after an update."""
        times = {name: self.pods.get(name, (0, False))[0] for name in update.pods}
        pods = {name: (count + 1, update.larger) for name, count in times.items()}
        nodes = self.nodes if update.nodes is None else update.nodes
        return Options(nodes, {**self.pods, **pods}, self.grown or update.grows)


def service_of(setting: Setting, past: Sequence[Options]) -> ServiceSpec:
    """The service that the last of all configurations so far asks for.

    What was launched with an earlier one is outdated where its pod's options were other ones.
    """
    options = past[-1]
    members, servers = (3, 3) if options.grown else (setting.etcd, 1)
    spec = service(options.nodes, members, servers)
    outdated = {
        (number, pod.name, task.name): f"options of {pod.name} have changed"
        for number, earlier in enumerate(past[:-1], 1)
        for pod in spec.pods
        if earlier.pods.get(pod.name) != options.pods.get(pod.name)
        for task in pod.tasks
    }
    pods = tuple(_pod(pod, setting, options) for pod in spec.pods)
    return replace(spec, pods=pods, target=len(past), outdated=outdated)


def _pod(pod: PodSpec, setting: Setting, options: Options) -> PodSpec:
    """With limits for recovery as a cluster has them, at the pace of the setting."""
    recovery = RecoverySpec(
        replace_after=setting.replace_after, gap=30.0, quorum=pod.name == "etcd"
    )
    _, larger = options.pods.get(pod.name, (0, False))
    first, *others = pod.tasks
    if larger:
        first = replace(first, cpus=first.cpus + 0.25, mem_mb=first.mem_mb + 128)
    emptied = pod.name == "kube-node"
    return replace(pod, recovery=recovery, tasks=(first, *others), emptied=emptied)
