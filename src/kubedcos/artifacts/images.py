"""Container images made without a container engine, the same bytes on every machine.

The archive is an OCI image layout and, by one more file, what `docker save` writes: containerd
imports it, podman and docker load it, crane and skopeo push it, and all see the same digest of
layer and configuration.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubedcos.artifacts.sources import ImageSource
from kubedcos.artifacts.tarballs import Entry, stored_gzip, write_tar
from kubedcos.errors import KubedcosError

CREATED = "1970-01-01T00:00:00Z"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"

PASSWD = b"root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/sbin/nologin\n"
GROUP = b"root:x:0:\nnonroot:x:65532:\n"


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file of an image.

    Attributes:
        path: where it stands in the image.
        content: the file that has it.
        executable: whether it may be run.
    """

    path: str
    content: Path
    executable: bool


def _json(data: Any) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }


def _layer(files: tuple[ImageFile, ...], links: Mapping[str, str]) -> bytes:
    entries = [
        Entry(file.path.lstrip("/"), file.content, mode=0o755 if file.executable else 0o644)
        for file in files
    ]
    entries += [Entry(path.lstrip("/"), link=target) for path, target in links.items()]
    entries += [
        Entry("etc/passwd", PASSWD),
        Entry("etc/group", GROUP),
        Entry("tmp", mode=0o1777),
    ]
    stream = io.BytesIO()
    write_tar(stream, entries)
    return stream.getvalue()


def write_image(
    source: ImageSource, platform: str, files: tuple[ImageFile, ...], target: Path
) -> str:
    """Write the archive of an image.

    Args:
        source: its settings.
        platform: such as ``linux/amd64``.
        files: what is in it.
        target: the archive.

    Returns:
        The digest of its manifest, as a registry will show it.
    """
    system, _, architecture = platform.partition("/")
    plain = _layer(files, source.links)
    layer = stored_gzip(plain)
    layer_descriptor = _descriptor(LAYER_TYPE, layer)
    config = _json(
        {
            "architecture": architecture,
            "os": system,
            "created": CREATED,
            "config": {
                "User": source.user,
                "Env": [
                    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    *(f"{key}={value}" for key, value in sorted(source.environment.items())),
                ],
                "Entrypoint": list(source.entrypoint),
                "Cmd": list(source.cmd),
                "WorkingDir": "/",
            },
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(plain).hexdigest()}"],
            },
            "history": [{"created": CREATED, "created_by": "kubedcos artifacts build"}],
        }
    )
    config_descriptor = _descriptor(CONFIG_TYPE, config)
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config_descriptor,
            "layers": [layer_descriptor],
        }
    )
    manifest_descriptor = _descriptor(MANIFEST_TYPE, manifest)
    index = {
        "schemaVersion": 2,
        "mediaType": INDEX_TYPE,
        "manifests": [
            {
                **manifest_descriptor,
                "platform": {"architecture": architecture, "os": system},
                "annotations": {
                    "io.containerd.image.name": source.reference,
                    "org.opencontainers.image.ref.name": source.reference.rpartition(":")[2],
                },
            }
        ],
    }
    docker = [
        {
            "Config": _blob(config_descriptor),
            "RepoTags": [source.reference],
            "Layers": [_blob(layer_descriptor)],
        }
    ]
    with target.open("wb") as stream:
        write_tar(
            stream,
            [
                Entry("oci-layout", _json({"imageLayoutVersion": "1.0.0"})),
                Entry("index.json", _json(index)),
                Entry("manifest.json", _json(docker)),
                Entry(_blob(layer_descriptor), layer),
                Entry(_blob(config_descriptor), config),
                Entry(_blob(manifest_descriptor), manifest),
            ],
        )
    return str(manifest_descriptor["digest"])


def manifest_digest(archive: Path) -> str:
    """The digest of the manifest in an archive that `write_image` wrote.

    Raises:
        KubedcosError: it is no such archive.
    """
    try:
        with tarfile.open(archive) as tar:
            content = tar.extractfile("index.json")
            return str(json.load(content)["manifests"][0]["digest"]) if content else ""
    except (tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise KubedcosError(f"{archive.name} is no image archive ({error})") from error


def _blob(descriptor: Mapping[str, Any]) -> str:
    return "blobs/sha256/" + str(descriptor["digest"]).removeprefix("sha256:")
