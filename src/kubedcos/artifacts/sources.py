"""Ways to obtain an artefact, as the manifest describes them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class SourceKind(StrEnum):
    """Ways to obtain an artefact."""

    RELEASE = "release"
    """A file that the project itself publishes; its bytes differ from our builds."""
    MIRROR = "mirror"
    """The site's own copy, laid out as `kubedcos artifacts export` writes it."""
    GO = "go"
    """Built from Go modules with the pinned toolchain; the same bytes on every machine."""
    DEBIAN = "debian"
    """One file of a Debian package, which apt checks against the archive's signature."""
    IMAGE = "image"
    """An image put together from other artefacts; the same bytes on every machine."""
    PYTHON = "python"
    """This package and its wheels; named by its content, so no sum can stand in the manifest."""


DEFAULT_SOURCES: tuple[SourceKind, ...] = (
    SourceKind.MIRROR,
    SourceKind.GO,
    SourceKind.DEBIAN,
    SourceKind.IMAGE,
    SourceKind.PYTHON,
)
"""Kinds used unless configured: everything but releases, so that all sites have the same sums."""


class Strict(BaseModel):
    """Refuses keys that it does not know, and does not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ReleaseSource(Strict):
    """A published file.

    Attributes:
        url: with the placeholders of the component.
        member: path inside the archive at `url`; empty when the file itself is the artefact.
    """

    kind: Literal[SourceKind.RELEASE]
    url: str
    member: str = ""


class MirrorSource(Strict):
    """The site's mirror, whose address is configuration, not part of the manifest."""

    kind: Literal[SourceKind.MIRROR]


class GoSource(Strict):
    """A Go build.

    Attributes:
        module: folder of ``artifacts/go`` with the `go.mod` and `go.sum` that pin every input.
        tags: Go build tags.
        stamps: variables set by the linker, such as the version.
    """

    kind: Literal[SourceKind.GO]
    module: str
    tags: tuple[str, ...] = ()
    stamps: Mapping[str, str] = Field(default_factory=dict)


class DebianSource(Strict):
    """A file of a Debian package.

    Attributes:
        package: its name.
        member: path of the file inside the package, without a leading slash.
    """

    kind: Literal[SourceKind.DEBIAN]
    package: str
    member: str


class ImageSource(Strict):
    """A container image of one layer.

    Attributes:
        reference: the name under which a node pulls it.
        files: path in the image -> artefact name, or ``@FILE`` below ``artifacts/images``.
        links: path in the image -> target of a symbolic link.
        entrypoint: command of the image.
        cmd: default arguments.
        user: ``uid:gid``.
        environment: variables of the image.
    """

    kind: Literal[SourceKind.IMAGE]
    reference: str
    files: Mapping[str, str]
    links: Mapping[str, str] = Field(default_factory=dict)
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...] = ()
    user: str = "65532:65532"
    environment: Mapping[str, str] = Field(default_factory=dict)


class PythonSource(Strict):
    """This package with its dependencies as a tree that runs from any folder.

    Attributes:
        requirements: file of pinned wheels below ``artifacts``.
        python: version of Python on the hosts.
    """

    kind: Literal[SourceKind.PYTHON]
    requirements: str
    python: str


Source = Annotated[
    ReleaseSource | MirrorSource | GoSource | DebianSource | ImageSource | PythonSource,
    Field(discriminator="kind"),
]
