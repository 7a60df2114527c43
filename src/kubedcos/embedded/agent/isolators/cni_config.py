"""Configurations of CNI networks: which there are, and what a plugin is given of them."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import msgspec

from kubedcos.embedded.agent.isolators.preparation import ContainerRefused
from kubedcos.mesos.messages import NetworkInfo

log = logging.getLogger("kubedcos.embedded.agent.cni")


class _Ipam(msgspec.Struct):
    type: str


class _NetworkConfig(msgspec.Struct):
    name: str
    type: str
    ipam: _Ipam | None = None


def start_fault(config_dir: str | None, plugins_dir: str | None, *, root: bool) -> str | None:
    """Why the isolator cannot be made from its flags, in Mesos' words; None when it can."""
    if config_dir is None and plugins_dir is None:
        return None
    if not root:
        return "The 'network/cni' isolator requires root permissions"
    for name, value in (("plugins", plugins_dir), ("config", config_dir)):
        if not value:
            return f"Missing required '--network_cni_{name}_dir' flag"
    assert config_dir is not None
    if not Path(config_dir).exists():
        return f"The CNI network configuration directory '{config_dir}' does not exist"
    return None


class NetworkConfigs:
    """The files of `--network_cni_config_dir`, read anew when a network is not known.

    Attributes:
        paths: by network; filled by `load`.
    """

    def __init__(self, directory: Path | None, plugins_dir: str) -> None:
        """See the flags; without a directory there are no networks."""
        self._directory = directory
        self._plugins_dir = plugins_dir
        self.paths: dict[str, Path] = {}

    def load(self) -> None:
        """Read the directory."""
        self.paths = self._load()

    def config(self, name: str) -> dict[str, Any]:
        """The configuration of a network, read anew; raises ContainerRefused."""
        if name in self.paths:
            try:
                return network_config(name, self.paths[name])
            except ContainerRefused as error:
                log.warning("Removing the network '%s' from cache: %s", name, error)
                del self.paths[name]
        if self._directory is not None:
            try:
                self.paths = self._load()
            except OSError as error:
                raise ContainerRefused(
                    "Encountered error while loading CNI config during a cache-miss for CNI "
                    f"network '{name}': Unable to list the CNI network configuration directory "
                    f"'{self._directory}': {error.strerror}"
                ) from error
            if name in self.paths:
                return network_config(name, self.paths[name])
        raise ContainerRefused(f"Unknown CNI network '{name}'")

    def _load(self) -> dict[str, Path]:
        """Networks whose configuration is whole and whose plugins are there; others are logged."""
        assert self._directory is not None
        found: dict[str, Path] = {}
        for path in sorted(self._directory.iterdir()):
            if path.is_dir():
                continue
            try:
                config = msgspec.json.decode(path.read_bytes(), type=_NetworkConfig)
            except (OSError, msgspec.DecodeError) as error:
                log.error("Failed to parse CNI network configuration file '%s': %s", path, error)
                continue
            if config.name in found:
                log.error(
                    "Skipping configuration file '%s' since network %s already exists",
                    *(path, config.name),
                )
                continue
            needed = (("CNI", config.type), ("IPAM", config.ipam.type if config.ipam else None))
            missing = [(kind, p) for kind, p in needed if p is not None and not self.plugin(p)]
            if missing:
                log.error(
                    "Skipping network '%s', from configuration file '%s', since we failed to find "
                    "%s plugin '%s' used by this network.",
                    *(config.name, path, *missing[0]),
                )
                continue
            found[config.name] = path
        return found

    def plugin(self, name: str) -> str | None:
        """Path of a plugin; None when no directory has it."""
        return shutil.which(name, path=self._plugins_dir)


def wanted_networks(infos: tuple[NetworkInfo, ...], config: Any) -> dict[str, NetworkInfo]:
    """Networks by name, in order; those without a name are the host's and left out.

    Args:
        infos: as asked for.
        config: `Networks.config`, which refuses unknown names.

    Raises:
        ContainerRefused: unknown, or asked for twice.
    """
    found: dict[str, NetworkInfo] = {}
    for info in infos:
        if info.name is None:
            continue
        config(info.name)
        if info.name in found:
            raise ContainerRefused(f"Attempted to join CNI network '{info.name}' multiple times")
        found[info.name] = info
    return found


def network_config(name: str, path: Path) -> dict[str, Any]:
    """A configuration file's content; raises ContainerRefused."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        text = f"Failed to read CNI network configuration file: '{path}': {error.strerror}"
        raise ContainerRefused(text) from error
    except ValueError as error:
        text = f"Failed to parse CNI network configuration file: '{path}': {error}"
        raise ContainerRefused(text) from error
    found = config.get("name") if isinstance(config, dict) else None
    if not isinstance(found, str):
        raise ContainerRefused(
            "Cannot determine the 'name' of the CNI network for this configuration '"
        )
    if found != name:
        raise ContainerRefused(
            f"The current CNI configuration network('{found}') does not match the network name: "
            f"'{name}'"
        )
    return dict(config)
