"""`mesos-cni-port-mapper`: a CNI plugin that lets another attach, and maps ports of the host.

As Mesos' plugin of that name: its configuration names a `chain` of the nat table, perhaps devices
that are not mapped (`excludeDevices`), and the other plugin (`delegate`); the mappings come from
the task by ``args.org.apache.mesos.network_info``. Rules carry the container's id as a comment, by
which DEL finds them. Standard library only.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

CNI_VERSION: Final = "0.3.0"
BAD_ARGS: Final = 101
DELEGATE_FAILED: Final = 102
MAPPING_FAILED: Final = 103
UNSUPPORTED: Final = 104

Json = dict[str, Any]


class PluginError(Exception):
    """What the runtime is told: a code and a text."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(text)


class PortMapper:
    """One call of the plugin."""

    def __init__(self, config: Json, environment: Mapping[str, str]) -> None:
        """Check configuration and environment; raises PluginError."""
        self.environment = environment
        self.command = self._variable("COMMAND")
        self.container_id = self._variable("CONTAINERID")
        if self.command != "DEL":
            self._variable("NETNS", " for non-'DEL' command")
        self._variable("IFNAME")
        path = self._variable("PATH")
        name, self.chain = _field(config, "name"), _field(config, "chain")
        self.excluded = config.get("excludeDevices", [])
        if not isinstance(self.excluded, list) or not all(
            isinstance(device, str) for device in self.excluded
        ):
            raise PluginError(
                BAD_ARGS,
                "Failed to parse 'excludeDevices' list. The excluded device needs to be a string",
            )
        args = config.get("args", {"org.apache.mesos": {"network_info": {}}})
        self.mappings = _mappings(args)
        delegate = config.get("delegate")
        if not isinstance(delegate, dict):
            raise PluginError(BAD_ARGS, "Failed to get the required field 'delegate'Not found")
        kind = delegate.get("type")
        if not isinstance(kind, str):
            raise PluginError(BAD_ARGS, "Failed to get the delegate plugin 'type'Not found")
        plugin = shutil.which(kind, path=path)
        if plugin is None:
            text = f"Could not find the delegate plugin '{kind}' in '{path}'"
            raise PluginError(BAD_ARGS, text)
        self.plugin = plugin
        self.delegate_config = delegate | {"name": name, "args": args}

    def _variable(self, name: str, more: str = "") -> str:
        value = self.environment.get(f"CNI_{name}")
        if value is None:
            text = f"Unable to find environment variable 'CNI_{name}'{more}"
            raise PluginError(BAD_ARGS, text)
        return value

    def execute(self) -> str:
        """Carry the call out; what goes to stdout. Raises PluginError."""
        if self.command == "ADD":
            return self._add()
        if self.command == "DEL":
            # Rules first: the address may belong to another container once the delegate is done.
            self._remove_rules()
            self._delegate()
            return ""
        raise PluginError(UNSUPPORTED, f"Unsupported command: {self.command}")

    def _add(self) -> str:
        output = self._delegate()
        try:
            result = json.loads(output)
            address = str(ipaddress.IPv4Interface(result["ip4"]["ip"]).ip)
        except (ValueError, TypeError, KeyError) as error:
            text = f"Delegate CNI plugin '{self.plugin}' did not return an IPv4 address"
            raise PluginError(DELEGATE_FAILED, text) from error
        if self.mappings:
            self._make_chain()
        for mapping in self.mappings:
            rule = self._rule(address, mapping)
            if self._iptables("-C", *rule) is None and self._iptables("-A", *rule) is None:
                raise PluginError(MAPPING_FAILED, "Failed to add DNAT rule with tag")
        return output

    def _rule(self, address: str, mapping: Json) -> list[str]:
        protocol = str(mapping.get("protocol", "tcp")).lower()
        devices = [word for device in self.excluded for word in ("!", "-i", device)]
        return [
            *(self.chain, *devices, "-p", protocol, "-m", protocol),
            *("--dport", str(mapping["host_port"]), "-j", "DNAT"),
            *("--to-destination", f"{address}:{mapping['container_port']}"),
            *("-m", "comment", "--comment", f"container_id: {self.container_id}"),
        ]

    def _make_chain(self) -> None:
        """The chain, and the jumps to it for packets to this host, from outside and from inside."""
        if self._iptables("-n", "--list", self.chain) is not None:
            return
        local = ("-m", "addrtype", "--dst-type", "LOCAL", "-j", self.chain)
        self._iptables("-N", self.chain)
        self._iptables("-A", "PREROUTING", *local)
        self._iptables("-A", "OUTPUT", "!", "-d", "127.0.0.0/8", *local)

    def _remove_rules(self) -> None:
        listed = self._iptables("-S", self.chain)
        for line in (listed or "").splitlines():
            words = shlex.split(line)
            if f"container_id: {self.container_id}" in words:
                words[0] = "-D"
                if self._iptables(*words) is None:
                    text = "Unable to remove iptables DNAT rules: Unable to delete DNAT rules"
                    raise PluginError(MAPPING_FAILED, text)

    def _iptables(self, *words: str) -> str | None:
        """Output of iptables on the nat table; None when it failed."""
        done = subprocess.run(
            ["iptables", "-w", "-t", "nat", *words], capture_output=True, text=True, check=False
        )
        sys.stderr.write(done.stderr)
        return done.stdout if done.returncode == 0 else None

    def _delegate(self) -> str:
        """Output of the other plugin; raises PluginError."""
        try:
            done = subprocess.run(
                [self.plugin],
                input=json.dumps(self.delegate_config),
                capture_output=True,
                text=True,
                check=False,
                env=dict(self.environment),
            )
        except OSError as error:
            text = f"Failed to exec the delegate CNI plugin '{self.plugin}' subprocess: {error}"
            raise PluginError(DELEGATE_FAILED, text) from error
        sys.stderr.write(done.stderr)
        if done.returncode != 0:
            raise PluginError(
                DELEGATE_FAILED,
                f"Could not execute the delegate plugin '{self.plugin}' for {self.command} "
                f"command: The delegate CNI plugin '{self.plugin}' return status "
                f"{done.returncode}. Could not attach/detach container: {done.stdout}",
            )
        return done.stdout


def _field(config: Json, name: str) -> str:
    value = config.get(name)
    if not isinstance(value, str):
        raise PluginError(BAD_ARGS, f"Failed to get the required field '{name}': Not found")
    return value


def _mappings(args: Any) -> list[Json]:
    place = "args"
    for name in ("org.apache.mesos", "network_info"):
        place += f"{{{name}}}"
        args = args.get(name) if isinstance(args, dict) else None
        if not isinstance(args, dict):
            raise PluginError(BAD_ARGS, f"Failed to get the field '{place}': Not found")
    mappings: list[Json] = args.get("port_mappings", [])
    return mappings


def main() -> int:
    """The plugin: configuration on stdin, answer or error on stdout; its exit status."""
    try:
        try:
            config = json.load(sys.stdin)
        except ValueError as error:
            raise PluginError(BAD_ARGS, str(error)) from error
        answer = PortMapper(config, os.environ).execute()
    except PluginError as error:
        told = {"cniVersion": CNI_VERSION, "code": error.code, "msg": str(error)}
        sys.stdout.write(json.dumps(told))
        return 1
    sys.stdout.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main())
