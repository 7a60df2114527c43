"""The inventory under test, with every value as Ansible itself would see it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.manager import VariableManager

from kubedcos.topology.addressplan import HostOverlay, plan_host
from kubedcos.topology.inventory import Inventory as Plan
from kubedcos.topology.inventory import read_inventory


@dataclass(frozen=True)
class Inventory:
    """What the inventory says.

    Attributes:
        variables: host → variables, templates filled in.
        groups: group → hosts.
    """

    variables: dict[str, dict[str, Any]] = field(repr=False)
    groups: dict[str, list[str]]

    def of(self, *groups: str) -> list[str]:
        """Hosts of any of the groups, sorted."""
        return sorted({host for group in groups for host in self.groups.get(group, [])})

    @property
    def agents(self) -> list[str]:
        return self.of("agents", "public_agents")

    @property
    def hosts(self) -> list[str]:
        """All hosts of the cluster."""
        return self.of("bootstrap", "masters", "zookeeper", "agents", "public_agents")

    @property
    def zookeepers(self) -> list[str]:
        return self.of("zookeeper") or self.of("masters")

    def get(self, name: str, default: Any = None) -> Any:
        """A variable that all hosts share."""
        return self.variables[self.hosts[0]].get(name, default)

    def address(self, host: str) -> str:
        return str(self.variables[host]["ansible_host"])

    def region(self, host: str) -> str:
        return str(self.variables[host]["region"])

    def zone(self, host: str) -> str:
        return str(self.variables[host]["zone"])

    def host_at(self, address: str) -> str:
        """The host that has the address or the name."""
        return next(h for h in self.variables if address in {h, self.address(h)})

    @property
    def regions(self) -> list[str]:
        return sorted({self.region(host) for host in self.hosts})

    @property
    def name(self) -> str:
        """Name of the cluster, which is also that of its context on the control machine."""
        return str(self.get("cluster_name", "kubedcos"))

    @property
    def kubernetes_clusters(self) -> list[str]:
        return [cluster.get("name", "kubernetes") for cluster in self.get("clusters") or []]

    @property
    def plan(self) -> Plan:
        """Input of the address plan."""
        return read_inventory(
            {
                "hosts": [
                    {
                        "name": host,
                        "address": self.address(host),
                        "index": self.variables[host]["host_index"],
                        "region": self.region(host),
                        "zone": self.zone(host),
                        "functions": [],
                    }
                    for host in self.hosts
                ],
                "overlays": self.get("overlays") or [],
                "underlay_mtu": self.get("underlay_mtu", 1500),
                "overlay_mtu": self.get("overlay_mtu") or None,
            }
        )

    def overlays(self, host: str) -> dict[str, HostOverlay]:
        """The overlays as they shall be on a host, by name."""
        return {item.overlay.name: item for item in plan_host(self.plan, host)}

    def region_pairs(self) -> list[tuple[str, str]]:
        """For each two regions, in both directions, one host here and another there."""
        pairs = []
        for here in self.regions:
            for there in self.regions:
                sender = next(h for h in self.hosts if self.region(h) == here)
                others = [h for h in self.hosts if self.region(h) == there and h != sender]
                pairs += [(sender, receiver) for receiver in others[-1:]]
        return pairs


def load(source: Path) -> Inventory:
    """Read the inventory as Ansible does.

    Raises:
        AnsibleError: it cannot be read.
    """
    if not source.exists():
        raise AnsibleError(f"no inventory {source}")
    init_plugin_loader()
    loader = DataLoader()
    manager = InventoryManager(loader=loader, sources=[str(source)])
    variables = VariableManager(loader=loader, inventory=manager)
    found: dict[str, dict[str, Any]] = {}
    for host in manager.get_hosts():
        raw = variables.get_vars(host=host, include_hostvars=False)
        templar = Templar(loader=loader, variables=raw)
        found[host.name] = {name: templar.template(value) for name, value in raw.items()}
    groups = {name: [str(h) for h in hosts] for name, hosts in manager.get_groups_dict().items()}
    return Inventory(found, groups)
