"""The artefact manifest: every binary, archive and image, with its licence, sums and sources.

The file groups what is released together into components, so that a version stands in one place;
`Manifest.artifacts` expands it to one flat `Artifact` per name and version. Everything here is
pure: reading the file is the only effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from kubedcos.artifacts.sources import ImageSource, PythonSource, Source, SourceKind, Strict
from kubedcos.config.problems import problems_of
from kubedcos.config.yaml_text import parse_mapping, read_mapping
from kubedcos.errors import InvalidInput, Problem

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


class _ArtifactEntry(Strict):
    name: Name
    filename: str = "{name}"
    package: str = ""
    packages: Mapping[str, str] = Field(default_factory=dict)
    sha256: Mapping[str, Mapping[SourceKind, Sha256]] = Field(default_factory=dict)


class _VersionEntry(Strict):
    date: str = ""


class _Component(Strict):
    name: Name
    licence: str
    homepage: str = ""
    platform: str = "linux/amd64"
    choice: bool = False
    versions: Mapping[str, _VersionEntry]
    sources: tuple[Source, ...]
    artifacts: tuple[_ArtifactEntry, ...]


class Toolchain(Strict):
    """The Go toolchain, a wheel.

    Attributes:
        package: its name in the Python package index.
        sha256: sum of the wheel.
    """

    package: str
    version: str
    filename: str
    sha256: Sha256


class _Document(Strict):
    schema_: Literal[1] = Field(alias="schema")
    toolchain: Toolchain
    sets: Mapping[str, Mapping[str, str]]
    components: tuple[_Component, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artefact of one version.

    Attributes:
        kind: ``binary``, ``archive`` (of several binaries), ``image`` or ``python``.
        sums: accepted SHA-256 by source; a release's is that of the file as published.
        package: Go package of a binary; `packages` those of an archive by file name.
        choice: only wanted when its component's version is chosen, as with Kubernetes.
    """

    name: str
    version: str
    platform: str
    licence: str
    homepage: str
    component: str
    kind: str
    filename: str
    sources: tuple[Source, ...]
    sums: Mapping[SourceKind, str]
    package: str = ""
    packages: Mapping[str, str] | None = None
    choice: bool = False

    @property
    def label(self) -> str:
        """Name and version for people."""
        return f"{self.name} {self.version}"

    @property
    def sha256(self) -> str:
        """The SHA-256 that everybody has who builds it; empty for what is never the same twice."""
        for kind in (SourceKind.GO, SourceKind.IMAGE, SourceKind.DEBIAN):
            if kind in self.sums:
                return self.sums[kind]
        return ""

    @property
    def reference(self) -> str:
        """Image reference; empty for what is no image."""
        for source in self.sources:
            if isinstance(source, ImageSource):
                return source.reference
        return ""

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the artefacts that it is made from."""
        return tuple(
            sorted(
                {
                    value
                    for source in self.sources
                    if isinstance(source, ImageSource)
                    for value in source.files.values()
                    if not value.startswith("@")
                }
            )
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole manifest, expanded.

    Attributes:
        path: the file; module files and image files lie in ``artifacts/`` beside it.
        sets: named choices, such as ``lab`` -> ``{"kubernetes": "1.36.3"}``.
    """

    path: Path
    toolchain: Toolchain
    sets: Mapping[str, Mapping[str, str]]
    all: tuple[Artifact, ...]

    @property
    def data(self) -> Path:
        """Folder of the module files, wheel pins and image files."""
        return self.path.parent / "artifacts"

    def versions(self, component: str) -> tuple[str, ...]:
        """Versions of a component, in the order of the file."""
        return tuple(dict.fromkeys(a.version for a in self.all if a.component == component))

    def chosen(self, choice: Mapping[str, str]) -> tuple[Artifact, ...]:
        """All artefacts that belong to a choice of versions, needed ones before their users.

        Args:
            choice: component -> version, for components of which only one version is wanted.

        Raises:
            InvalidInput: a component or version is not in the manifest.
        """
        problems = [
            Problem(
                where=f"artefact choice: {component}",
                seen=version,
                wanted="one of " + (", ".join(self.versions(component)) or "the components"),
                id="unknown-version",
            )
            for component, version in choice.items()
            if version not in self.versions(component)
        ]
        missing = {a.component for a in self.all if a.choice} - set(choice)
        problems += [
            Problem(f"artefact choice: {component}", "nothing", "a version", id="unknown-version")
            for component in sorted(missing)
        ]
        if problems:
            raise InvalidInput(problems)
        return tuple(a for a in self.all if not a.choice or choice[a.component] == a.version)

    def choice(self, set_name: str = "lab", kubernetes: str | None = None) -> Mapping[str, str]:
        """The choice called `set_name`, with another Kubernetes version when one is given.

        Raises:
            InvalidInput: there is no such set.
        """
        if set_name not in self.sets:
            raise InvalidInput(
                [
                    Problem(
                        "--for",
                        set_name,
                        "one of " + ", ".join(sorted(self.sets)),
                        id="unknown-artifact-set",
                    )
                ]
            )
        choice = dict(self.sets[set_name])
        if kubernetes:
            choice["kubernetes"] = kubernetes
        return choice

    def with_needs(
        self, wanted: Iterable[Artifact], among: Iterable[Artifact]
    ) -> tuple[Artifact, ...]:
        """`wanted` and what it is made from, in the order of `among`."""
        names = {a.name for a in wanted}
        pool = tuple(among)
        for artifact in reversed(pool):
            if artifact.name in names:
                names.update(artifact.needs)
        return tuple(a for a in pool if a.name in names)


def _fill(text: str, values: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text)


def _filled_source(source: Source, values: Mapping[str, str]) -> Source:
    data: dict[str, Any] = source.model_dump()
    for key, value in data.items():
        if isinstance(value, str) and not isinstance(value, SourceKind):
            data[key] = _fill(value, values)
        elif isinstance(value, Mapping):
            data[key] = {k: _fill(v, values) for k, v in value.items()}
    return type(source).model_validate(data)


def _kind(entry: _ArtifactEntry, sources: tuple[Source, ...]) -> str:
    if any(isinstance(source, ImageSource) for source in sources):
        return "image"
    if any(isinstance(source, PythonSource) for source in sources):
        return "python"
    return "archive" if entry.packages else "binary"


def _expand(component: _Component) -> Iterable[Artifact]:
    for version, details in component.versions.items():
        major, _, rest = version.partition(".")
        for entry in component.artifacts:
            values = {
                "name": entry.name,
                "version": version,
                "major": major,
                "minor": rest.partition(".")[0],
                "date": details.date,
            }
            sources = tuple(_filled_source(source, values) for source in component.sources)
            yield Artifact(
                name=entry.name,
                version=version,
                platform=component.platform,
                licence=component.licence,
                homepage=component.homepage,
                component=component.name,
                kind=_kind(entry, sources),
                filename=_fill(entry.filename, values),
                sources=sources,
                sums=dict(entry.sha256.get(version, {})),
                package=entry.package,
                packages=entry.packages or None,
                choice=component.choice,
            )


def _consistency(path: Path, document: _Document, expanded: tuple[Artifact, ...]) -> list[Problem]:
    problems = []
    seen: set[tuple[str, str]] = set()
    names = {a.name for a in expanded}
    for artifact in expanded:
        if (artifact.name, artifact.version) in seen:
            problems.append(Problem(str(path), artifact.label, "each name and version once"))
        seen.add((artifact.name, artifact.version))
        problems += [
            Problem(f"{path}: {artifact.label}", need, "the name of an artefact above it")
            for need in artifact.needs
            if need not in names
        ]
    for name, choice in document.sets.items():
        problems += [
            Problem(f"{path}: sets.{name}", f"{key} {value}", "a version of the manifest")
            for key, value in choice.items()
            if value not in {a.version for a in expanded if a.component == key}
        ]
    return problems


def parse(text: str, path: Path) -> Manifest:
    """Read a manifest from its text.

    Args:
        text: YAML.
        path: where it stands, for messages and for the files beside it.

    Raises:
        InvalidInput: with every key that is wrong.
    """
    return _manifest(parse_mapping(text, str(path)), path)


def _manifest(raw: Mapping[str, Any], path: Path) -> Manifest:
    try:
        document = _Document.model_validate(raw)
    except ValidationError as error:
        raise InvalidInput(problems_of(error, _Document, str(path))) from None
    expanded = tuple(a for component in document.components for a in _expand(component))
    problems = _consistency(path, document, expanded)
    if problems:
        raise InvalidInput(problems)
    return Manifest(path, document.toolchain, document.sets, expanded)


def load(path: Path) -> Manifest:
    """Read the manifest at `path`.

    Raises:
        InvalidInput: the file is missing or wrong.
    """
    return _manifest(read_mapping(path), path)


def find(start: Path | None = None) -> Path:
    """The manifest of the checkout that `start` (default: this package) lies in.

    Raises:
        InvalidInput: there is none above it.
    """
    origin = (start or Path(__file__)).resolve()
    for folder in origin.parents:
        if (folder / "artifacts.yml").is_file():
            return folder / "artifacts.yml"
    raise InvalidInput(
        [Problem(str(origin), "no artifacts.yml above it", "a checkout, or --manifest FILE")]
    )
