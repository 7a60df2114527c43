"""Wire types of containers: volumes, networks, images and Linux' settings."""

from __future__ import annotations

from typing import Annotated, Final

from kubedcos.mesos.base_messages import (
    Empty,
    Labels,
    Message,
    Parameter,
    VolumeMode,
    enum_of,
)


class IPAddress(Message, frozen=True):
    """An address of a container."""

    protocol: Annotated[str, enum_of("IPv4", "IPv6")] | None = None
    ip_address: str | None = None


class PortMapping(Message, frozen=True):
    """A port of the host that leads to a port of the container."""

    host_port: int
    container_port: int
    protocol: str | None = None


class NetworkInfo(Message, frozen=True):
    """A network of a container; `name` is the CNI network."""

    ip_addresses: tuple[IPAddress, ...] = ()
    name: str | None = None
    groups: tuple[str, ...] = ()
    labels: Labels | None = None
    port_mappings: tuple[PortMapping, ...] = ()


class MountPropagation(Message, frozen=True):
    """Whether mounts made inside a volume are seen outside of the container, too."""

    mode: Annotated[str, enum_of("UNKNOWN", "HOST_TO_CONTAINER", "BIDIRECTIONAL")] | None = None


class HostPath(Message, frozen=True):
    """A file or directory of the host."""

    path: str
    mount_propagation: MountPropagation | None = None


class SandboxPath(Message, frozen=True):
    """A path in the sandbox of the container itself, or of its parent."""

    path: str
    type: Annotated[str, enum_of("UNKNOWN", "SELF", "PARENT")] | None = None


class CsiVolume(Message, frozen=True):
    """A volume of a CSI plugin; the embedded agent refuses it."""

    plugin_name: str
    static_provisioning: Empty | None = None


class VolumeSource(Message, frozen=True):
    """Where a volume comes from; the part named like the type is to be set."""

    type: (
        Annotated[
            str,
            enum_of(
                *("UNKNOWN", "DOCKER_VOLUME", "HOST_PATH", "SANDBOX_PATH", "SECRET", "CSI_VOLUME")
            ),
        ]
        | None
    ) = None
    docker_volume: Empty | None = None
    host_path: HostPath | None = None
    sandbox_path: SandboxPath | None = None
    secret: Empty | None = None
    csi_volume: CsiVolume | None = None


class Volume(Message, frozen=True):
    """A volume of a container: exactly one of `host_path`, `image` and `source`."""

    container_path: str
    mode: VolumeMode
    host_path: str | None = None
    image: Empty | None = None
    source: VolumeSource | None = None


class DockerImage(Message, frozen=True):
    """A Docker image by name."""

    name: str


class Image(Message, frozen=True):
    """An image for the Mesos containerizer."""

    type: Annotated[str, enum_of("APPC", "DOCKER")]
    docker: DockerImage | None = None
    appc: Empty | None = None
    cached: bool = True


class MesosInfo(Message, frozen=True):
    """Settings of the Mesos containerizer."""

    image: Image | None = None


class DockerInfo(Message, frozen=True):
    """Settings of the Docker containerizer."""

    image: str
    network: Annotated[str, enum_of("HOST", "BRIDGE", "NONE", "USER")] = "HOST"
    port_mappings: tuple[PortMapping, ...] = ()
    privileged: bool = False
    parameters: tuple[Parameter, ...] = ()
    force_pull_image: bool | None = None


CAPABILITIES: Final = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)
"""Linux' capabilities in the order of their numbers, from 0."""


class CapabilityInfo(Message, frozen=True):
    """A set of capabilities, by the names in `CAPABILITIES`."""

    capabilities: tuple[Annotated[str, enum_of("UNKNOWN", *CAPABILITIES)], ...] = ()


class LinuxInfo(Message, frozen=True):
    """Linux settings of a container. `capability_info` is the old name of the effective set."""

    capability_info: CapabilityInfo | None = None
    bounding_capabilities: CapabilityInfo | None = None
    effective_capabilities: CapabilityInfo | None = None
    share_pid_namespace: bool | None = None
    seccomp: Empty | None = None
    ipc_mode: Annotated[str, enum_of("UNKNOWN", "PRIVATE", "SHARE_PARENT")] | None = None
    shm_size: int | None = None
    share_cgroups: bool = True


RLIMIT_TYPES: Final = (
    *("RLMT_AS", "RLMT_CORE", "RLMT_CPU", "RLMT_DATA", "RLMT_FSIZE", "RLMT_LOCKS", "RLMT_MEMLOCK"),
    *("RLMT_MSGQUEUE", "RLMT_NICE", "RLMT_NOFILE", "RLMT_NPROC", "RLMT_RSS", "RLMT_RTPRIO"),
    *("RLMT_RTTIME", "RLMT_SIGPENDING", "RLMT_STACK"),
)


class RLimit(Message, frozen=True):
    """A limit of the kernel for each process; without `hard` and `soft` it is unlimited."""

    type: Annotated[str, enum_of("UNKNOWN", *RLIMIT_TYPES)] | None = None
    hard: int | None = None
    soft: int | None = None


class RLimitInfo(Message, frozen=True):
    """The limits of a container's processes."""

    rlimits: tuple[RLimit, ...] = ()


class ContainerInfo(Message, frozen=True):
    """How a task or executor is contained."""

    type: Annotated[str, enum_of("DOCKER", "MESOS")]
    volumes: tuple[Volume, ...] = ()
    hostname: str | None = None
    docker: DockerInfo | None = None
    mesos: MesosInfo | None = None
    network_infos: tuple[NetworkInfo, ...] = ()
    linux_info: LinuxInfo | None = None
    rlimit_info: RLimitInfo | None = None
    tty_info: Empty | None = None
