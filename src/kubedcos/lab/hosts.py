"""One host of the lab: how its container is made, what is written into it, when it is up."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kubedcos.errors import KubedcosError
from kubedcos.lab import keys
from kubedcos.lab.engine import HASH_LABEL, HOST_LABEL, LAB_LABEL, Podman
from kubedcos.lab.program import ProgramFailed
from kubedcos.lab.spec import HostSpec, LabSpec

START_SECONDS = 90.0
# Read by `podman create` instead of the machine's containers.conf, whose limits win over --ulimit.
CONFIGURATION = "[containers]\ndefault_ulimits = []\n"
SYSTEMD_MOUNTS = ("/run:rw,exec,mode=755", "/run/lock", "/tmp:mode=1777")  # noqa: S108  a host's
HOST_KEY = "etc/ssh/ssh_host_ed25519_key"


class HostDidNotStart(KubedcosError):
    """A host was started and did not come up in time, or came up with failed units."""


MODULES = Path("/lib/modules")


def create_arguments(
    spec: LabSpec, host: HostSpec, image: str, *, modules: Path = MODULES
) -> list[str]:
    """Arguments of `podman create` for `host`; pure but for a look at `modules`."""
    arguments = _arguments(spec, host, image, modules)
    return ["create", f"--label={HASH_LABEL}={_identity(arguments)}", *arguments]


def made_from(spec: LabSpec, host: HostSpec, image: str, *, modules: Path = MODULES) -> str:
    """Identity of everything that a host is made from; another one means: make it anew."""
    return _identity(_arguments(spec, host, image, modules))


def _identity(arguments: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(arguments).encode()).hexdigest()[:16]


def _arguments(spec: LabSpec, host: HostSpec, image: str, modules: Path) -> list[str]:
    arguments = [
        f"--name={host.container}",
        f"--hostname={host.name}",
        f"--label={LAB_LABEL}={spec.name}",
        f"--label={HOST_LABEL}={host.name}",
        "--privileged",
        # The machine's clock is not a host's to set.
        "--cap-drop=SYS_TIME",
        # Podman's own systemd mode gives every host the machine's name=systemd hierarchy on cgroup
        # v1, where their systemds tidy away each other's cgroups; these four lines replace it.
        "--systemd=false",
        *(f"--tmpfs={mount}" for mount in SYSTEMD_MOUNTS),
        "--env=container=podman",
        "--stop-signal=SIGRTMIN+3",
        # With the machine's namespace all hosts would share one /kubepods.
        "--cgroupns=private",
        # Podman raises limits otherwise, which needs CAP_SYS_RESOURCE; see CONFIGURATION.
        "--ulimit=host",
        "--pids-limit=-1",
        f"--network={host.network}:ip={host.address}",
        # The resolver and the names are a host's own files, as roles expect them.
        "--no-hosts",
        "--dns=none",
        "--log-driver=k8s-file",
        "--stop-timeout=10",
    ]
    arguments += [f"--volume={path}" for path in spec.volumes]
    if modules.is_dir():
        arguments.append(f"--volume={modules}:{modules}:ro")
    return [*arguments, image, "/sbin/init"]


def write_files(
    root: Path, host: HostSpec, *, operator_key: str, host_key: bytes, nameservers: Sequence[str]
) -> None:
    """Give the host below `root` its names, its resolver and its keys, before its first start."""
    (root / "etc/hosts").write_text(
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        f"{host.address} {host.name}\n"
    )
    (root / "etc/resolv.conf").write_text(
        "".join(f"nameserver {address}\n" for address in nameservers)
    )
    keys.write_private(root / HOST_KEY, host_key)
    (root / f"{HOST_KEY}.pub").write_text(f"{keys.public_half(host_key)}\n")
    keys.write_private(root / "root/.ssh/authorized_keys", f"{operator_key}\n".encode())


def create(
    podman: Podman,
    spec: LabSpec,
    host: HostSpec,
    image: str,
    *,
    configuration: Path,
    operator_key: str,
    nameservers: Sequence[str],
) -> None:
    """Make the container of `host` and write its files; it does not run yet.

    Raises:
        ProgramFailed: in podman's words.
    """
    podman(
        *create_arguments(spec, host, image), environment={"CONTAINERS_CONF": str(configuration)}
    )
    root = Path(podman("mount", host.container).stdout.strip())
    try:
        write_files(
            root,
            host,
            operator_key=operator_key,
            host_key=keys.new_key(),
            nameservers=nameservers,
        )
    finally:
        podman("umount", host.container, check=False)


def start(podman: Podman, host: HostSpec) -> None:
    """Start the container of `host`.

    Raises:
        ProgramFailed: in podman's words; with what helps where they do not say it.
    """
    try:
        podman("start", host.container)
    except ProgramFailed as error:
        if "is already allocated to container" not in error.reason:
            raise
        raise ProgramFailed(
            error.argv,
            f"{error.reason}. Podman keeps the address for a container whose start was killed; "
            "another lab_name frees it, and so does a reboot",
            status=error.status,
        ) from error


def host_key(podman: Podman, host: HostSpec) -> str:
    """The host's public key, read through podman and not over the network."""
    return podman("exec", host.container, "cat", f"/{HOST_KEY}.pub").stdout.strip()


def wait_until_up(
    podman: Podman,
    host: HostSpec,
    *,
    seconds: float = START_SECONDS,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Return when systemd has finished booting and sshd answers.

    Raises:
        HostDidNotStart: with the units that failed, or what it was still waiting for.
    """
    deadline = monotonic() + seconds
    state = ""
    while monotonic() < deadline:
        state = _boot_state(podman, host, timeout=max(1.0, deadline - monotonic()))
        if state in {"running", "degraded"}:
            break
        if not state:
            _refuse_ended(podman, host)
        sleep(0.2)
    if state == "degraded":
        failed = podman(
            "exec", host.container, "systemctl", "list-units", "--failed", "--plain", "--no-legend"
        ).stdout
        names = ", ".join(line.split()[0] for line in failed.splitlines() if line.strip())
        # A host that was up before may hold failed units of its own; roles deal with those.
        if not ssh_answers(host):
            raise HostDidNotStart(f"host {host.name}: failed units after its start: {names}")
    elif state != "running":
        raise HostDidNotStart(
            f"host {host.name}: systemd is {state or 'not there'} after {seconds:.0f} s; see "
            f"`podman logs {host.container}`"
        )
    while not ssh_answers(host):
        if monotonic() >= deadline:
            raise HostDidNotStart(f"host {host.name}: sshd does not answer on {host.address}:22")
        sleep(0.1)


def _refuse_ended(podman: Podman, host: HostSpec) -> None:
    """A container that ended will never come up; say what it said."""
    found = podman(
        "container", "inspect", "--format={{.State.Status}}", host.container, check=False
    ).stdout.strip()
    if found in {"exited", "stopped"}:
        said = podman("logs", "--tail=5", host.container, check=False)
        text = (said.stdout + said.stderr).strip() or "it said nothing"
        raise HostDidNotStart(f"host {host.name} ended right after its start: {text}")


def _boot_state(podman: Podman, host: HostSpec, *, timeout: float) -> str:
    try:
        answer = podman(
            "exec",
            host.container,
            "systemctl",
            "is-system-running",
            "--wait",
            check=False,
            timeout=timeout,
        )
    except ProgramFailed:
        return "starting"
    return answer.stdout.strip()


def ssh_answers(host: HostSpec, *, timeout: float = 1.0) -> bool:
    """Whether an SSH server greets on the host's address within `timeout` seconds."""
    try:
        with socket.create_connection((str(host.address), 22), timeout=timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(8).startswith(b"SSH-2.0")
    except OSError:
        return False


def nameserver_answers(podman: Podman, host: HostSpec, nameserver: str) -> bool:
    """Whether a nameserver of the machine answers a host of the lab."""
    query = (
        "import socket,sys;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.settimeout(2);"
        r"q=b'\x12\x34\x01\0\0\1\0\0\0\0\0\0\0\0\2\0\1';"
        "s.sendto(q,(sys.argv[1],53));s.recv(4096)"
    )
    for _ in range(2):
        answer = podman(
            "exec", host.container, "python3", "-c", query, nameserver, check=False, timeout=20
        )
        if answer.returncode == 0:
            return True
    return False


def nameservers(texts: Mapping[str, str]) -> list[str]:
    """Nameservers that containers may ask, from the contents of resolver files; pure.

    Args:
        texts: content by path, in order of preference. A loopback address is of no use inside a
            container, so the file of systemd-resolved with the real ones comes second.
    """
    for text in texts.values():
        found = [
            words[1]
            for line in text.splitlines()
            if len(words := line.split()) > 1
            and words[0] == "nameserver"
            and not words[1].startswith("127.")
            and ":" not in words[1]
        ]
        if found:
            return found[:3]
    return []
