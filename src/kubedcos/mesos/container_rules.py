"""Mesos' rules for a ContainerInfo, which master and agent both check; texts are its own. Pure."""

from __future__ import annotations

from typing import Final

from kubedcos.mesos.container_messages import ContainerInfo, Volume

_PARTS: Final = {
    "DOCKER_VOLUME": ("docker_volume", "DOCKER_VOLUME"),
    "HOST_PATH": ("host_path", "HOST_PATH"),
    "SANDBOX_PATH": ("sandbox_path", "SANDBOX_PATH"),
    "SECRET": ("secret", "SECRET"),
    "CSI_VOLUME": ("csi_volume", "CSI"),
}


def volume_fault(volume: Volume) -> str | None:
    """What is wrong with a volume, or None."""
    given = [part for part in (volume.host_path, volume.image, volume.source) if part is not None]
    if len(given) != 1:
        return "Only one of them should be set: 'host_path', 'image' and 'source'"
    source = volume.source
    if source is None:
        return None
    if source.type not in _PARTS:
        return "'source.type' is unknown"
    field, word = _PARTS[source.type]
    if getattr(source, field) is None:
        return f"'source.{field}' is not set for {word} volume"
    if source.csi_volume is not None and source.csi_volume.static_provisioning is None:
        return "'source.csi_volume.static_provisioning' is not set for CSI volume"
    return None


def container_fault(container: ContainerInfo) -> str | None:
    """What is wrong with a container, or None."""
    for volume in container.volumes:
        if fault := volume_fault(volume):
            return f"Invalid volume: {fault}"
    if container.type == "DOCKER":
        if container.docker is None:
            return "DockerInfo 'docker' is not set for DOCKER typed ContainerInfo"
        if any(parameter.key == "name" for parameter in container.docker.parameters):
            return "Parameter in DockerInfo must not be 'name'"
    return None
