"""Which isolators an agent has: what `--isolation` names, and what Mesos adds to it. Pure."""

from __future__ import annotations

from typing import Final

from kubedcos.embedded.flags import Flags

HONOURED: Final = {
    "posix/cpu": "",
    "posix/mem": "",
    "posix/rlimits": "`rlimit_info`",
    "cgroups/cpu": "CPU shares, and a hard limit with --cgroups_enable_cfs",
    "cgroups/mem": "memory limit, with --cgroups_limit_swap (v1) that of memory and swap",
    "cgroups/pids": "a cgroup of that controller, as in Mesos without a limit",
    "cgroups/all": "cgroups/cpu, cgroups/mem and cgroups/pids",
    "disk/du": "usage of sandboxes and volumes, and its limit (--enforce_container_disk_quota)",
    "filesystem/posix": "persistent volumes as links; volumes in ContainerInfo are refused",
    "filesystem/linux": "a mount namespace for each container, persistent volumes as mounts",
    "volume/host_path": "HOST_PATH volumes; always with filesystem/linux",
    "volume/sandbox_path": "SANDBOX_PATH volumes; always with filesystem/linux",
    "linux/capabilities": "`linux_info.effective_capabilities`, `bounding_capabilities`",
    "linux/nnp": "no new privileges",
    "namespaces/pid": "a PID namespace for each container, unless `share_pid_namespace`",
    "namespaces/ipc": "an IPC namespace for each container, and its own /dev/shm if PRIVATE",
    "network/cni": "networks by name; always there unless another network isolator is named",
}
"""Isolators that are honoured, and what they do."""

ON_DEMAND: Final = frozenset(
    {
        "docker/runtime",
        "docker/volume",
        "appc/runtime",
        "volume/image",
        "volume/secret",
        "volume/csi",
        "linux/seccomp",
        "environment_secret",
        "gpu/nvidia",
    }
)
"""Isolators that only act when a task asks for their feature; such a task is refused."""

_OLD_NAMES: Final = {
    "process": ("posix/cpu", "posix/mem"),
    "cgroups": ("cgroups/cpu", "cgroups/mem"),
    "posix/disk": ("disk/du",),
}


def listed(text: str) -> tuple[str, ...]:
    """The names in the flag's text, old ones replaced by what they mean now."""
    names = (name.strip() for name in text.split(",") if name.strip())
    return tuple(new for name in names for new in _OLD_NAMES.get(name, (name,)))


def unknown(text: str) -> list[str]:
    """Names that the embedded agent does not have."""
    return sorted({*listed(text)} - HONOURED.keys() - ON_DEMAND)


def effective(text: str) -> frozenset[str]:
    """All isolators of an agent whose `--isolation` is `text`, those included that Mesos adds."""
    names = set(listed(text)) | {"environment_secret"}
    if not any(name.startswith("filesystem/") for name in names):
        names.add("filesystem/posix")
    if not any(name.startswith("network/") for name in names):
        names.add("network/cni")
    if "filesystem/linux" in names:
        names |= {"volume/image", "volume/host_path", "volume/sandbox_path"}
    return frozenset(names)


def fault(flags: Flags, launcher: str, *, root: bool) -> str | None:
    """Why Mesos would not start with these flags, in its words; None when it would.

    Args:
        flags: of the agent.
        launcher: ``linux`` or ``posix``.
        root: whether the agent runs as root.
    """
    text = flags.required("isolation")
    words = [name.strip() for name in text.split(",") if name.strip()]
    if len(words) != len(set(words)):
        shown = ", ".join(words)
        return f"Duplicate entries found in --isolation flag '{{ {shown} }}'"
    names = effective(text)
    if len([name for name in names if name.startswith("filesystem/")]) > 1:
        return "Using multiple filesystem isolators simultaneously is disallowed"
    for name in _IN_ORDER:
        if name in names and (problem := _isolator_fault(name, names, launcher, root=root)):
            return f"Failed to create isolator '{name}': {problem}"
    return None


_IN_ORDER: Final = (
    *("filesystem/linux", "linux/capabilities", "namespaces/ipc", "namespaces/pid"),
    "volume/host_path",
)


def _isolator_fault(name: str, names: frozenset[str], launcher: str, *, root: bool) -> str | None:
    linux = "filesystem/linux" in names
    faults: dict[str, tuple[tuple[bool, str], ...]] = {
        "filesystem/linux": (
            (not root, "'filesystem/linux' isolator requires root privileges"),
            (launcher != "linux", "'filesystem/linux' isolator requires 'linux' launcher"),
        ),
        "linux/capabilities": (
            (not root, "Linux capabilities isolator requires root permissions"),
        ),
        "namespaces/ipc": (
            (not root, "The IPC namespace isolator requires root permissions"),
            (
                launcher != "linux",
                "The 'linux' launcher must be used to enable the IPC namespace",
            ),
            (not linux, "'filesystem/linux' must be used to enable IPC namespace"),
        ),
        "namespaces/pid": (
            (not root, "The pid namespace isolator requires root permissions"),
            (launcher != "linux", "'linux' launcher must be used to enable pid namespace"),
            (not linux, "'filesystem/linux' must be used to enable pid namespace"),
        ),
        "volume/host_path": (
            (launcher != "linux", "'linux' launcher must be used"),
            (not linux, "'filesystem/linux' isolator must be used"),
        ),
    }
    return next((text for wrong, text in faults[name] if wrong), None)
