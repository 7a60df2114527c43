"""network/cni: containers are attached to networks by plugins, and detached at their end.

Everything that is needed for the end lies in the directory of the container before a plugin is
asked, as Mesos has it: ``ns`` (the network namespace, mounted), ``NETWORK/network.conf`` (what the
plugin was given), ``NETWORK/INTERFACE/network.info`` (what it answered).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubedcos.embedded.agent.durable import write_file
from kubedcos.embedded.agent.executor.kernel import (
    MNT_DETACH,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    unmount,
)
from kubedcos.embedded.agent.host_mounts import ensure_shared
from kubedcos.embedded.agent.isolators.cni_config import NetworkConfigs, network_config
from kubedcos.embedded.agent.isolators.cni_results import (
    NO_DNS,
    CniResult,
    DefaultDns,
    hosts_text,
    parse_result,
    reported,
    resolver_text,
)
from kubedcos.embedded.agent.isolators.preparation import ContainerRefused, Mount
from kubedcos.embedded.protojson import to_json
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import NetworkInfo

log = logging.getLogger("kubedcos.embedded.agent.cni")

ROOT: Final = "isolators/network/cni"
"""Below the runtime directory, or the work directory with `--network_cni_root_dir_persist`."""

_FILE_FLAGS: Final = MS_BIND | MS_NOEXEC | MS_NODEV | MS_NOSUID


class CniError(KubedcosError):
    """A container could not be detached."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A container's networks.

    Attributes:
        infos: what `container_status` tells of them.
        namespace: file that its network namespace is mounted on.
        hostname: of the container.
        mounts: its own /etc/hosts, /etc/hostname and /etc/resolv.conf.
    """

    infos: tuple[NetworkInfo, ...]
    namespace: str
    hostname: str
    mounts: tuple[Mount, ...]


class Networks:
    """The CNI networks of one agent.

    Without directories there are none, and every name is unknown.
    """

    def __init__(
        self,
        root: Path,
        config_dir: str | None,
        plugins_dir: str | None,
        dns: DefaultDns = NO_DNS,
    ) -> None:
        """See the flags.

        Args:
            root: where containers' directories are, see `ROOT`.
            config_dir: `--network_cni_config_dir`.
            plugins_dir: `--network_cni_plugins_dir`; several, separated by colons.
            dns: `--default_container_dns`.
        """
        self.root = root
        self.enabled = config_dir is not None and plugins_dir is not None
        self._plugins_dir = plugins_dir or ""
        self._dns = dns
        directory = Path(config_dir or "") if self.enabled else None
        self._configs = NetworkConfigs(directory, self._plugins_dir)
        self._attaching: dict[str, asyncio.Task[dict[str, CniResult]]] = {}

    def make_ready(self) -> None:
        """Make the root directory a shared mount, so that detaching reaches all containers."""
        if self.enabled:
            self.root.mkdir(parents=True, exist_ok=True)
            ensure_shared(self.root)
            self._configs.load()

    def config(self, name: str) -> dict[str, Any]:
        """The configuration of a network; raises ContainerRefused."""
        return self._configs.config(name)

    # Attaching

    async def attach(
        self, container_id: str, networks: Mapping[str, NetworkInfo], hostname: str | None
    ) -> Attached:
        """Give a container a network namespace and attach it to its networks.

        Args:
            container_id: new.
            networks: by name, in the order of their interfaces.
            hostname: of the container; its id when None.

        Raises:
            ContainerRefused: a plugin failed; what it did is undone by `detach`.
        """
        directory = self.root / container_id
        attaching = asyncio.create_task(self._attach_all(container_id, networks))
        self._attaching[container_id] = attaching
        # A plugin at work is waited for even when the launch is cancelled: see `detach`.
        results = await asyncio.shield(attaching)
        name = container_id if hostname is None else hostname
        write_file(directory / "hostname", name.encode(), 0o644)
        write_file(directory / "hosts", hosts_text(name, results.values()).encode(), 0o644)
        dns = self._dns.of(results)
        resolver = Path("/etc/resolv.conf")
        if dns.nameservers:
            resolver = directory / "resolv.conf"
            write_file(resolver, resolver_text(dns).encode(), 0o644)
        elif not resolver.exists():
            raise ContainerRefused("Cannot find host's /etc/resolv.conf")
        files = {
            "/etc/hosts": directory / "hosts",
            "/etc/hostname": directory / "hostname",
            "/etc/resolv.conf": resolver,
        }
        return Attached(
            tuple(reported(networks[each], result) for each, result in results.items()),
            str(directory / "ns"),
            name,
            tuple(Mount(str(source), target, _FILE_FLAGS) for target, source in files.items()),
        )

    async def _attach_all(
        self, container_id: str, networks: Mapping[str, NetworkInfo]
    ) -> dict[str, CniResult]:
        await self._make_namespace(container_id)
        results: dict[str, CniResult] = {}
        problems = []
        for index, (name, info) in enumerate(networks.items()):
            try:
                results[name] = await self._attach(container_id, name, f"eth{index}", info)
            except ContainerRefused as error:
                problems.append(str(error))
        if problems:
            raise ContainerRefused("\n".join(problems))
        return results

    async def _make_namespace(self, container_id: str) -> None:
        """A new network namespace with its loopback device up, mounted on the file ``ns``."""
        handle = self.root / container_id / "ns"
        handle.parent.mkdir(parents=True, exist_ok=True)
        handle.touch()
        command = ("unshare", f"--net={handle}", "ip", "link", "set", "dev", "lo", "up")
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, error = await process.communicate()
        if process.returncode != 0:
            text = "Failed to bring up the loopback interface in the new network namespace: "
            raise ContainerRefused(text + error.decode(errors="replace").strip())

    async def _attach(
        self, container_id: str, name: str, interface: str, info: NetworkInfo
    ) -> CniResult:
        config = self._config_with_args(name, info)
        plugin = self._configs.plugin(str(config["type"]))
        if plugin is None:
            raise ContainerRefused(
                f"Unable to find the plugin {config['type']} required to attach {container_id} to "
                f"network '{name}'"
            )
        directory = self.root / container_id / name
        (directory / interface).mkdir(parents=True, exist_ok=True)
        write_file(directory / "network.conf", json.dumps(config).encode())
        log.info("Attaching container %s to network '%s'", container_id, name)
        try:
            status, output, error = await self._run(plugin, "ADD", container_id, name, interface)
        except OSError as problem:
            text = f"Failed to execute the CNI plugin '{plugin}': {problem.strerror}"
            raise ContainerRefused(text) from problem
        if status != 0:
            raise ContainerRefused(
                f"The CNI plugin '{plugin}' failed to attach container {container_id} to CNI "
                f"network '{name}': stdout='{output}', stderr='{error}'"
            )
        try:
            result = parse_result(output)
        except ValueError as problem:
            text = f"Failed to parse the output of the CNI plugin '{plugin}': {problem}"
            raise ContainerRefused(text) from problem
        write_file(directory / interface / "network.info", output.encode())
        return result

    def _config_with_args(self, name: str, info: NetworkInfo) -> dict[str, Any]:
        """The plugin's input: the file, and what the framework wanted of the network."""
        config = self._configs.config(name)
        args = config.get("args", {})
        path = self._configs.paths[name]
        if not isinstance(args, dict):
            text = f"Invalid 'args' found in CNI network configuration file '{path}'"
            raise ContainerRefused(f"{text}: Found JSON value of wrong type")
        if "org.apache.mesos" in args:
            raise ContainerRefused(
                "'org.apache.mesos' in 'args' should not be set in CNI network configuration "
                "file. It is reserved by Mesos"
            )
        return config | {"args": args | {"org.apache.mesos": {"network_info": to_json(info)}}}

    async def _run(
        self, plugin: str, command: str, container_id: str, network: str, interface: str
    ) -> tuple[int, str, str]:
        """Run a plugin on the stored configuration; exit status, output and error text."""
        directory = self.root / container_id
        environment = {
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container_id,
            "CNI_PATH": self._plugins_dir,
            "CNI_IFNAME": interface,
            "PATH": os.environ.get("PATH", os.defpath),
        }
        handle = directory / "ns"
        # After a boot the file is no namespace any more; a plugin then frees what it can.
        if command == "ADD" or _is_namespace(handle):
            environment["CNI_NETNS"] = str(handle)
        # A plugin dies with the agent: what it left is cleared by the next one, undisturbed.
        words = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv") else ()
        with (directory / network / "network.conf").open("rb") as config:
            process = await asyncio.create_subprocess_exec(
                *(*words, plugin),
                stdin=config,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        output, error = await process.communicate()
        status = process.returncode
        assert status is not None
        return status, output.decode(errors="replace"), error.decode(errors="replace")

    # Detaching

    async def detach(self, container_id: str) -> None:
        """Detach a container and remove all that is kept about its networks; again if need be.

        Raises:
            CniError: a plugin failed; its network is kept for the next attempt.
        """
        attaching = self._attaching.pop(container_id, None)
        if attaching is not None:
            await asyncio.gather(attaching, return_exceptions=True)
        directory = self.root / container_id
        if not directory.is_dir():
            return
        problems = []
        for config in sorted(directory.glob("*/network.conf")):
            for interface in sorted(path.name for path in config.parent.iterdir() if path.is_dir()):
                problem = await self._detach(container_id, config, interface)
                if problem is not None:
                    problems.append(problem)
        if problems:
            raise CniError("\n".join(problems))
        handle = directory / "ns"
        if _is_namespace(handle):
            try:
                unmount(str(handle), MNT_DETACH)
            except OSError as error:
                text = f"Failed to unmount the network namespace handle '{handle}'"
                raise CniError(f"{text}: {error.strerror}") from error
        shutil.rmtree(directory)

    async def _detach(self, container_id: str, config: Path, interface: str) -> str | None:
        """Let a plugin detach an interface; what went wrong, or None."""
        network = config.parent.name
        try:
            kind = network_config(network, config).get("type")
        except ContainerRefused as error:
            return f"Failed to parse CNI network configuration file: '{config}': {error}"
        plugin = self._configs.plugin(str(kind))
        if plugin is None:
            return (
                f"Unable to find the plugin {kind} required to detach {container_id} to network "
                f"'{network}'"
            )
        log.info("Detaching container %s from network '%s'", container_id, network)
        try:
            status, output, errors = await self._run(
                plugin, "DEL", container_id, network, interface
            )
        except OSError as problem:
            return f"Failed to execute the CNI plugin '{plugin}': {problem.strerror}"
        if status != 0:
            return (
                f"The CNI plugin '{plugin}' failed to detach container {container_id} from CNI "
                f"network '{network}': stdout='{output}', stderr='{errors}'"
            )
        shutil.rmtree(config.parent / interface)
        return None

    # Recovery

    def containers(self) -> set[str]:
        """Ids of all containers about whose networks something is kept."""
        if not self.enabled or not self.root.is_dir():
            return set()
        return {path.name for path in self.root.iterdir()}

    def recovered(
        self, container_id: str, networks: Mapping[str, NetworkInfo]
    ) -> tuple[NetworkInfo, ...]:
        """What an earlier agent was told of a container's networks."""
        found = []
        for index, (name, info) in enumerate(networks.items()):
            path = self.root / container_id / name / f"eth{index}" / "network.info"
            try:
                found.append(reported(info, parse_result(path.read_bytes())))
            except (OSError, ValueError):
                continue
        return tuple(found)


def _is_namespace(path: Path) -> bool:
    """Whether a namespace is mounted on the file."""
    try:
        return path.stat().st_dev == Path("/proc/self/ns/net").stat().st_dev
    except OSError:
        return False
