"""All isolators of an agent, asked in Mesos' order about one container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubedcos.embedded.agent.isolators import (
    capabilities,
    container_volumes,
    namespaces,
)
from kubedcos.embedded.agent.isolators.cni import Networks
from kubedcos.embedded.agent.isolators.cni_config import wanted_networks
from kubedcos.embedded.agent.isolators.names import effective
from kubedcos.embedded.agent.isolators.preparation import ContainerRefused, Preparation, Wish
from kubedcos.embedded.agent.isolators.unsupported import unsupported
from kubedcos.embedded.flags import Flags


@dataclass(frozen=True, slots=True)
class Isolators:
    """What an agent's flags say about isolation; see the flags of these names.

    Attributes:
        names: of its isolators.
        linux_launcher: whether containers may have namespaces.
        creatable: directories below which missing host paths are made; None for nowhere.
    """

    names: frozenset[str]
    linux_launcher: bool = False
    creatable: tuple[str, ...] | None = None
    effective_capabilities: tuple[str, ...] | None = None
    bounding_capabilities: tuple[str, ...] | None = None
    share_pid: bool = True
    share_ipc: bool = True
    shm_size: int | None = None

    @classmethod
    def of_flags(
        cls,
        flags: Flags,
        launcher: str,
        *,
        effective_capabilities: tuple[str, ...] | None,
        bounding_capabilities: tuple[str, ...] | None,
    ) -> Isolators:
        """From checked flags."""
        created = flags.text("host_path_volume_force_creation")
        return cls(
            effective(flags.required("isolation")),
            launcher == "linux",
            None if created is None else tuple(created.split(":")),
            effective_capabilities,
            bounding_capabilities,
            not flags.boolean("disallow_sharing_agent_pid_namespace"),
            not flags.boolean("disallow_sharing_agent_ipc_namespace"),
            flags.bytes("default_container_shm_size")
            if flags.is_set("default_container_shm_size")
            else None,
        )

    def prepare(self, wish: Wish, networks: Networks) -> Preparation:
        """Everything but the networks' plugins; makes mount points, links and missing host paths.

        Args:
            wish: what the container wants.
            networks: of the agent; only asked which there are.

        Raises:
            ContainerRefused: with Mesos' text.
        """
        made, container = Preparation(), wish.container
        if container is not None and (fault := unsupported(container, self.names)):
            raise ContainerRefused(fault)
        if "filesystem/linux" in self.names:
            made.namespaces.add("mnt")
        if "posix/rlimits" in self.names and container is not None and container.rlimit_info:
            made.rlimits = container.rlimit_info.rlimits
        if "linux/capabilities" in self.names:
            capabilities.prepare(
                *(made, wish),
                effective=self.effective_capabilities,
                bounding=self.bounding_capabilities,
            )
        made.no_new_privileges = "linux/nnp" in self.names
        if "namespaces/ipc" in self.names:
            namespaces.prepare_ipc(
                made, wish, sharing_allowed=self.share_ipc, shm_size=self.shm_size
            )
        # A nested container shares its executor's.
        if "namespaces/pid" in self.names and not wish.nested:
            namespaces.prepare_pid(made, wish, sharing_allowed=self.share_pid)
        container_volumes.prepare(made, wish, self.names, self.creatable)
        if container is not None and "network/cni" in self.names:
            self._prepare_networks(made, wish, networks)
        if made.namespaces and not self.linux_launcher:
            raise ContainerRefused(
                "Failed to fork: Subprocess launcher does not support cloning namespaces"
            )
        return made

    @staticmethod
    def _prepare_networks(made: Preparation, wish: Wish, networks: Networks) -> None:
        assert wish.container is not None
        wanted = wanted_networks(wish.container.network_infos, networks.config)
        if wanted:
            made.networks = wanted
            made.hostname = wish.container.hostname
            made.namespaces |= {"mnt", "uts"}


def enclosure_of(made: Preparation, attached: Any) -> dict[str, Any]:
    """`Preparation.enclosure` with what the networks add; `attached` is None without any."""
    found = made.enclosure()
    if attached is not None:
        found["network_namespace"] = attached.namespace
        found["hostname"] = attached.hostname
        files = [
            {"source": m.source, "target": m.target, "kind": "", "flags": m.flags, "options": ""}
            for m in attached.mounts
        ]
        found["mounts"] = files + found["mounts"]
        # Mesos marks everything a slave for such containers: no mount of theirs gets out.
        found["shared_mounts"] = []
    return found
