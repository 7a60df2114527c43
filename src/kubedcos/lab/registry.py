"""Image archives into the bootstrap host's registry, under the names that the archives give them.

The containerd mirrors of the nodes ask the registry for a reference without its registry host, so
``registry.k8s.io/pause:3.10.1`` is stored as ``pause:3.10.1``.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kubedcos.errors import InvalidInput, Problem
from kubedcos.lab.program import Runner, run

_REFERENCE_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
PUSH_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Pushed:
    """An image that the registry has now."""

    reference: str
    registry: str
    repository: str
    tag: str
    digest: str


@dataclass(frozen=True, slots=True)
class Archived:
    """An image in an archive: its full name, and how skopeo is told which one is meant."""

    reference: str
    source: str


def push(
    archive: Path, registry: str, *, inside: Sequence[str] = (), runner: Runner = run
) -> list[Pushed]:
    """Copy every named image of `archive` to `registry` (``address:port``, plain HTTP).

    Args:
        archive: what `podman save`, `docker save` or skopeo wrote.
        registry: where to.
        inside: a program and its arguments that run skopeo elsewhere, such as in the network of
            the registry's own host: it lets nobody else write.
        runner: runs programs.

    Raises:
        InvalidInput: the archive is no image archive, or names no image.
        ProgramFailed: in skopeo's words.
    """
    pushed = []
    for image in images(archive):
        repository, tag = registry_path(image.reference)
        target = f"docker://{registry}/{repository}:{tag}"
        result = runner(
            [
                *inside,
                "skopeo",
                "copy",
                "--quiet",
                "--insecure-policy",
                "--dest-tls-verify=false",
                "--digestfile=/dev/stdout",
                image.source,
                target,
            ],
            timeout=PUSH_SECONDS,
        )
        pushed.append(Pushed(image.reference, registry, repository, tag, result.stdout.strip()))
    return pushed


def images(archive: Path) -> list[Archived]:
    """The named images of a docker-archive or oci-archive.

    Raises:
        InvalidInput: it cannot be read as either, or names no image.
    """
    try:
        with tarfile.open(archive) as tar:
            docker = _member(tar, "manifest.json")
            oci = _member(tar, "index.json")
    except (OSError, tarfile.TarError, ValueError) as error:
        raise InvalidInput([_problem(archive, f"{type(error).__name__}: {error}")]) from error
    found = []
    if isinstance(docker, list):
        found = [
            Archived(normal_reference(tag), f"docker-archive:{archive}:{tag}")
            for entry in docker
            for tag in entry.get("RepoTags") or []
        ]
    elif isinstance(oci, dict):
        for entry in oci.get("manifests", []):
            annotations = entry.get("annotations") or {}
            name = next((annotations[k] for k in _REFERENCE_ANNOTATIONS if k in annotations), "")
            inner = annotations.get("org.opencontainers.image.ref.name", "")
            if "/" in name or ":" in name:
                source = f"oci-archive:{archive}" + (f":{inner}" if inner else "")
                found.append(Archived(normal_reference(name), source))
    else:
        raise InvalidInput([_problem(archive, "neither manifest.json nor index.json in it")])
    if not found:
        raise InvalidInput([_problem(archive, "images without a name")])
    return found


def normal_reference(reference: str) -> str:
    """A reference with registry and tag written out, as containerd understands it.

    Raises:
        InvalidInput: it is pinned by digest, which an archive cannot keep through a copy.
    """
    if "@" in reference:
        raise InvalidInput(
            [Problem("image", reference, "a name with a tag", id="image-reference-digest")]
        )
    host, slash, rest = reference.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host = "docker.io"
        rest = reference if slash else f"library/{reference}"
    if ":" not in rest.rsplit("/", 1)[-1]:
        rest = f"{rest}:latest"
    return f"{host}/{rest}"


def registry_path(reference: str) -> tuple[str, str]:
    """Repository and tag of a normal reference in a registry that mirrors its host."""
    _, rest = reference.split("/", 1)
    repository, tag = rest.rsplit(":", 1)
    return repository, tag


def _member(tar: tarfile.TarFile, name: str) -> object:
    """A JSON member of the archive; none when it is not there."""
    for spelling in (name, f"./{name}"):
        try:
            file = tar.extractfile(spelling)
        except KeyError:
            continue
        if file is not None:
            parsed: object = json.load(file)
            return parsed
    return None


def _problem(archive: Path, seen: str) -> Problem:
    return Problem(
        str(archive),
        seen,
        "an archive of named images, as `podman save`, `docker save` or skopeo write it",
        id="image-archive",
    )
