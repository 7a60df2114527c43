"""Making a lab, looking at it, taking it away. A second `up` changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kubedcos.errors import InvalidInput, KubedcosError, NotYetComplete, Problem
from kubedcos.lab import hosts, image, keys, loops, machine, network
from kubedcos.lab.engine import HASH_LABEL, HOST_LABEL, LAB_LABEL, Podman, label, strays
from kubedcos.lab.program import ProgramFailed
from kubedcos.lab.spec import HostSpec, LabSpec

Tell = Callable[[str], None]
_T = TypeVar("_T")
_R = TypeVar("_R")
STRAY_SECONDS = 60.0
REMOVALS = 5
_UNDER_WAY = ("did not die within timeout", "container state improper")
_RESOLVERS = (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf"))


@dataclass(frozen=True, slots=True)
class HostStatus:
    """What is seen of one host.

    Attributes:
        state: podman's word for the container, or ``absent``.
        ssh: whether sshd answers.
    """

    name: str
    address: str
    region: str
    zone: str
    container: str
    state: str
    ssh: bool

    @property
    def up(self) -> bool:
        """Whether Ansible can reach it."""
        return self.ssh and self.state == "running"


@dataclass(slots=True)
class Changes:
    """What was done, by kind; nothing at all when a command had nothing to do."""

    done: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.done)


def cache_root() -> Path:
    """Where kubedcos keeps what it can make again."""
    return Path.home() / ".cache" / "kubedcos"


def lab_directory(name: str) -> Path:
    """Where a lab's key and known hosts are; inventories name the same place."""
    return cache_root() / "lab" / name


def up(spec: LabSpec, podman: Podman, *, tell: Tell) -> Changes:
    """Have every host of `spec` running and reachable by SSH.

    Two runs at once wait for each other.

    Raises:
        InvalidInput: a name or subnet is taken, or the running lab was made from other settings;
            nothing was changed.
        KubedcosError: a program failed or a host did not start.
    """
    with _alone(spec.name):
        _await_strays([host.container for host in spec.hosts])
        return _up(spec, podman, tell)


def image_of(spec: LabSpec, podman: Podman, *, tell: Tell) -> str:
    """Have podman know the image of the hosts of `spec`, and return its name there.

    Raises:
        ProgramFailed: mmdebstrap or podman failed.
    """
    made = image.recipe(spec.image)
    image.ensure(made, podman, cache_root() / "images", tell=tell)
    return made.reference


def refuse_conflicts(spec: LabSpec, podman: Podman) -> dict[str, Mapping[str, Any]]:
    """Look whether `up` could make the lab; changes nothing.

    Returns:
        The containers of the lab that are there, by host.

    Raises:
        InvalidInput: a name or subnet is taken, or the running lab was made from other settings.
    """
    containers = podman.containers()
    problems = network.conflicts(
        spec, networks=podman.networks(), containers=containers, routes=network.routes()
    )
    own = {
        label(container, HOST_LABEL): container
        for container in containers
        if label(container, LAB_LABEL) == spec.name
    }
    problems += _made_otherwise(spec, own, image.recipe(spec.image).reference)
    if problems:
        raise InvalidInput(problems)
    return own


def _up(spec: LabSpec, podman: Podman, tell: Tell) -> Changes:
    started = time.monotonic()
    changes = Changes()
    made = image.recipe(spec.image)
    own = refuse_conflicts(spec, podman)
    if len(own) < len(spec.hosts) and image.ensure(
        made, podman, cache_root() / "images", tell=tell
    ):
        changes.done.append(f"image {made.reference}")
    machine.remember()
    changes.done += machine.raise_limits(tell=tell)
    changes.done += [f"network {name}" for name in network.ensure(spec, podman)]
    directory = lab_directory(spec.name)
    operator_key = keys.operator_key(directory)
    configuration = directory / "containers.conf"
    configuration.write_text(hosts.CONFIGURATION)
    nameservers = hosts.nameservers(
        {str(path): path.read_text() for path in _RESOLVERS if path.is_file()}
    )

    states = {name: str(container.get("State", "")) for name, container in own.items()}
    # One that was made and never started may lack its files: an earlier run was interrupted.
    missing = [host for host in spec.hosts if states.get(host.name, "created") == "created"]
    asleep = [host for host in spec.hosts if host not in missing and states[host.name] != "running"]

    def begin(host: HostSpec) -> None:
        if host.name in own and host in missing:
            podman("rm", "--force", "--volumes", host.container)
        if host in missing:
            hosts.create(
                podman,
                spec,
                host,
                made.reference,
                configuration=configuration,
                operator_key=operator_key,
                nameservers=nameservers,
            )
        if host in missing or host in asleep:
            hosts.start(podman, host)
        elif hosts.ssh_answers(host):
            # It has been up before; five questions to podman take a second.
            return
        hosts.wait_until_up(podman, host)

    if missing or asleep:
        tell(f"starting {len(missing) + len(asleep)} hosts")
    _each(spec.hosts, begin)
    changes.done += [f"host {host.name}" for host in (*missing, *asleep)]
    _write_known_hosts(spec, podman, directory)
    if missing:
        _check_names(spec, podman, missing[0], nameservers, tell)
    changes.seconds = time.monotonic() - started
    return changes


def down(name: str, podman: Podman, *, tell: Tell) -> Changes:
    """Remove every container, volume, network and rule of the lab `name`, and nothing else.

    The lab's key stays in the cache. When no lab is left, the machine's settings are as before
    the first one.
    """
    with _alone(name):
        return _down(name, podman, tell)


def _await_strays(containers: Sequence[str]) -> None:
    """Wait for what a killed run has left under way.

    Raises:
        NotYetComplete: it takes too long.
    """
    deadline = time.monotonic() + STRAY_SECONDS
    while found := strays(containers):
        if time.monotonic() >= deadline:
            numbers = ", ".join(map(str, found))
            raise NotYetComplete(f"podman is still at work for an earlier run: process {numbers}")
        time.sleep(0.2)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Keep other runs for the same lab out."""
    directory = lab_directory(name)
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with image.locked(directory / "lock"):
        yield


def _down(name: str, podman: Podman, tell: Tell) -> Changes:
    started = time.monotonic()
    changes = Changes()
    own = [c for c in podman.containers() if label(c, LAB_LABEL) == name]
    _await_strays([str(container["Names"][0]) for container in own])
    devices = loops.attached(_trees(podman, own))
    if own:
        tell(f"removing {len(own)} hosts")
    _each(
        [str(container["Names"][0]) for container in own],
        lambda container: remove(podman, container),
    )
    changes.done += [f"host {label(container, HOST_LABEL)}" for container in own]
    changes.done += [f"loop device {device}" for device in loops.detach(devices)]
    changes.done += [f"network {removed}" for removed in network.remove(name, podman)]
    remaining = podman.containers()
    if not any(label(container, LAB_LABEL) for container in remaining):
        changes.done += _remove_images(podman)
        changes.done += machine.restore(
            others_need_network=any(c.get("State") == "running" for c in remaining), tell=tell
        )
    (lab_directory(name) / keys.KNOWN_HOSTS_FILE).unlink(missing_ok=True)
    changes.seconds = time.monotonic() - started
    return changes


def remove(podman: Podman, container: str) -> None:
    """Remove a container with its volumes, however long its many processes take to end.

    Podman gives them ten seconds after it has killed them; a busy machine needs more. It also
    fails when the container ends between its question and its signal.
    """
    for attempt in range(1, REMOVALS + 1):
        try:
            podman("rm", "--force", "--ignore", "--time=2", "--volumes", container)
        except ProgramFailed as error:
            under_way = any(words in error.reason for words in _UNDER_WAY)
            if attempt == REMOVALS or not under_way:
                raise
        else:
            return


def status(spec: LabSpec, podman: Podman) -> list[HostStatus]:
    """What is seen of each host of `spec`."""
    states = {
        label(container, HOST_LABEL): str(container.get("State", ""))
        for container in podman.containers()
        if label(container, LAB_LABEL) == spec.name
    }

    def look(host: HostSpec) -> HostStatus:
        state = states.get(host.name, "absent")
        return HostStatus(
            host.name,
            str(host.address),
            host.region,
            host.zone,
            host.container,
            state,
            state == "running" and hosts.ssh_answers(host),
        )

    return _each(spec.hosts, look)


def _made_otherwise(
    spec: LabSpec, own: Mapping[str, Mapping[str, Any]], image_name: str
) -> list[Problem]:
    """Hosts that run but were made from other settings than `spec` has now."""
    problems = []
    for host in spec.hosts:
        container = own.get(host.name)
        if container is not None and label(container, HASH_LABEL) != hosts.made_from(
            spec, host, image_name
        ):
            problems.append(
                Problem(
                    f"host {host.name}",
                    "a container made from other settings (address, image, volumes or podman's)",
                    "the settings of the inventory",
                    id="lab-host-changed",
                    fix="Run `kubedcos lab down`, then `kubedcos lab up`",
                )
            )
    strangers = sorted(set(own) - {host.name for host in spec.hosts})
    problems += [
        Problem(
            f"host {name}",
            "a container of this lab",
            "only hosts that the inventory has",
            id="lab-host-left",
            fix="Run `kubedcos lab down`, then `kubedcos lab up`",
        )
        for name in strangers
    ]
    return problems


def _write_known_hosts(spec: LabSpec, podman: Podman, directory: Path) -> None:
    path = directory / keys.KNOWN_HOSTS_FILE
    known = path.read_text() if path.exists() else ""
    if all(f"{host.address},{host.name} " in known for host in spec.hosts):
        return
    found = _each(spec.hosts, lambda host: (host, hosts.host_key(podman, host)))
    path.write_text(keys.known_hosts(found))


def _check_names(
    spec: LabSpec, podman: Podman, host: HostSpec, nameservers: Sequence[str], tell: Tell
) -> None:
    """Take nameservers away that do not answer the lab's hosts: each would cost a timeout."""
    good = [text for text in nameservers if hosts.nameserver_answers(podman, host, text)]
    if len(good) == len(nameservers):
        return
    tell(
        "nameservers of this machine do not answer the lab's hosts: "
        + ", ".join(set(nameservers) - set(good))
    )
    content = "".join(f"nameserver {address}\n" for address in good)
    _each(
        spec.hosts,
        lambda each: podman(
            "exec", "--interactive", each.container, "tee", "/etc/resolv.conf", stdin=content
        ),
    )


def _trees(podman: Podman, own: Iterable[Mapping[str, Any]]) -> list[loops.Tree]:
    """Where the hosts' files lie on the machine: their volumes and the layers they wrote."""
    trees = []
    names = [str(container["Names"][0]) for container in own]
    if not names:
        return []
    for document in podman.json("container", "inspect", *names):
        volumes = [
            Path(mount["Source"])
            for mount in document.get("Mounts", [])
            if mount.get("Type") == "volume"
        ]
        trees += [loops.Tree(path, path) for path in volumes]
        layers = document.get("GraphDriver", {}).get("Data", {})
        if "UpperDir" in layers and "MergedDir" in layers:
            trees.append(loops.Tree(Path(layers["UpperDir"]), Path(layers["MergedDir"])))
    return trees


def _remove_images(podman: Podman) -> list[str]:
    """Remove host images from podman's store; the cache keeps the archive."""
    removed = []
    for entry in podman.json("images"):
        for name in entry.get("Names") or []:
            if str(name).startswith(f"{image.REPOSITORY}:"):
                podman("rmi", "--force", str(name))
                removed.append(f"image {name}")
    return removed


def _each(items: Iterable[_T], work: Callable[[_T], _R]) -> list[_R]:
    """Do `work` for all `items` at once; the first failure in their order is raised."""
    todo = list(items)
    if not todo:
        return []
    with ThreadPoolExecutor(max_workers=min(len(todo), 16)) as pool:
        futures = [pool.submit(work, item) for item in todo]
    errors = [error for future in futures if (error := future.exception()) is not None]
    ours = [error for error in errors if isinstance(error, KubedcosError)]
    for error in ours or errors:
        raise error
    return [future.result() for future in futures]
