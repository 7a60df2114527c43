"""Obtains the artefacts that are missing: tries their sources in the configured order.

What is here and verified is never made again. A source that cannot give an artefact leaves it to
the next one; content with a wrong sum stops everything, because somebody should look.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kubedcos.artifacts import debian
from kubedcos.artifacts.download import Downloader, Unavailable, take_member
from kubedcos.artifacts.gobuild import GoToolchain
from kubedcos.artifacts.images import ImageFile, write_image
from kubedcos.artifacts.manifest import (
    DEFAULT_SOURCES,
    Artifact,
    DebianSource,
    GoSource,
    ImageSource,
    Manifest,
    MirrorSource,
    PythonSource,
    ReleaseSource,
    SourceKind,
)
from kubedcos.artifacts.progress import Progress, Silent
from kubedcos.artifacts.pyruntime import PythonTree
from kubedcos.artifacts.store import ChecksumMismatch, Record, Store, disk_errors, sha256_of
from kubedcos.artifacts.tarballs import Entry, stored_gzip, write_tar
from kubedcos.errors import KubedcosError


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a build run did.

    Attributes:
        records: every artefact that was asked for, in the manifest's order.
        made: labels of those that were not there before.
        compiled: whether Go's caches were filled for them.
    """

    records: tuple[Record, ...]
    made: tuple[str, ...]
    compiled: bool = False


@dataclass
class Builder:
    """Makes artefacts of a manifest available in a store.

    Attributes:
        sources: source kinds to use, the preferred first.
        mirror: base address of the site's mirror; empty for none.
        cache: folder for toolchain, Go caches and installed wheels.
        package: source folder of this package.
    """

    manifest: Manifest
    store: Store
    cache: Path
    package: Path
    sources: Sequence[SourceKind] = DEFAULT_SOURCES
    mirror: str = ""
    progress: Progress = field(default_factory=Silent)
    downloader: Downloader = field(default_factory=Downloader)
    toolchain: GoToolchain | None = None

    def __post_init__(self) -> None:
        if self.toolchain is None:
            self.toolchain = GoToolchain(self.manifest.toolchain, self.store, self.cache)

    def build(self, wanted: Iterable[Artifact]) -> Outcome:
        """Make every artefact of `wanted` available.

        Args:
            wanted: artefacts in the manifest's order, with all that they are made from.

        Raises:
            ChecksumMismatch: a source gave something else than the manifest promises.
            KubedcosError: no source could give an artefact; the text names each and its reason.
        """
        plan = tuple(wanted)
        records: dict[str, Record] = {}
        made: list[str] = []
        for group in _groups(plan):
            for artifact in group:
                if present := self.present(artifact, records):
                    records[artifact.name] = present
            missing = [a for a in group if a.name not in records]
            if missing:
                self._make(missing, plan, records)
                made += [artifact.label for artifact in missing]
        compiled = any(
            artifact.label in made and records[artifact.name].source == SourceKind.GO
            for artifact in plan
        )
        return Outcome(tuple(records[a.name] for a in plan), tuple(made), compiled)

    def prune(self) -> int:
        """Remove Go's caches, unless a build is using them.

        Returns:
            Bytes freed.
        """
        assert self.toolchain is not None
        return self.toolchain.prune()

    def present(
        self, artifact: Artifact, records: dict[str, Record] | None = None
    ) -> Record | None:
        """The record of an artefact that is here and is what the manifest wants, else None.

        Args:
            artifact: which.
            records: the artefacts that an image is made from, when already known.
        """
        record = self.store.recall(artifact)
        if record and self._accepts(artifact, record, records):
            return record
        for kind, sha256 in artifact.sums.items():
            path = self.store.path(sha256, artifact.filename)
            if kind is not SourceKind.IMAGE and path.is_file() and sha256_of(path) == sha256:
                return self.store.remember(artifact, sha256, kind)
        return None

    def _accepts(
        self, artifact: Artifact, record: Record, records: dict[str, Record] | None
    ) -> bool:
        source = SourceKind(record.source)
        for candidate in artifact.sources:
            if isinstance(candidate, PythonSource):
                return record.inputs == self._tree(candidate).fingerprint()
            if isinstance(candidate, ImageSource):
                known = records if records is not None else self._recalled(artifact)
                return known is not None and record.inputs == self._image_inputs(
                    artifact, candidate, known
                )
        if source is SourceKind.RELEASE:
            return bool(record.inputs) and record.inputs == artifact.sums.get(source)
        if source is SourceKind.DEBIAN and record.inputs != artifact.version:
            return any(isinstance(candidate, DebianSource) for candidate in artifact.sources)
        return record.sha256 in artifact.sums.values()

    def _recalled(self, artifact: Artifact) -> dict[str, Record] | None:
        found = {}
        for other in self.manifest.all:
            if other.name in artifact.needs and not other.choice:
                record = self.store.recall(other)
                if record is None:
                    return None
                found[other.name] = record
        return found

    def _make(
        self, missing: list[Artifact], plan: Sequence[Artifact], records: dict[str, Record]
    ) -> None:
        """Obtain artefacts of one component and version, under the lock of that pair."""
        first = missing[0]
        name = f"{first.component}-{first.version}"
        with self.store.lock(
            name, lambda: self.progress.note(f"another run is making {name}; waiting for it")
        ):
            left = []
            for artifact in missing:
                if present := self.present(artifact, records):
                    records[artifact.name] = present
                else:
                    left.append(artifact)
            reasons: dict[str, list[str]] = {artifact.name: [] for artifact in left}
            for kind in self.sources:
                if left:
                    left = self._try(kind, left, plan, records, reasons)
            for artifact in left:
                why = "".join(f"\n  {reason}" for reason in reasons[artifact.name])
                kinds = ", ".join(self.sources)
                raise KubedcosError(
                    f"{artifact.label}: no source could give it (tried: {kinds}){why}"
                )

    def _try(
        self,
        kind: SourceKind,
        left: list[Artifact],
        plan: Sequence[Artifact],
        records: dict[str, Record],
        reasons: dict[str, list[str]],
    ) -> list[Artifact]:
        """Try one kind of source; returns those that are still missing."""
        having = [a for a in left if any(source.kind is kind for source in a.sources)]
        if not having:
            return left
        if kind is SourceKind.MIRROR and not self.mirror:
            for artifact in having:
                reasons[artifact.name].append("mirror: none is configured (--mirror ADDRESS)")
            return left
        numbers = {artifact.name: number for number, artifact in enumerate(plan, 1)}
        batches = [having] if kind is SourceKind.GO else [[artifact] for artifact in having]
        for batch in batches:
            label = batch[0].label if len(batch) == 1 else _group_label(batch)
            first, last = numbers[batch[0].name], numbers[batch[-1].name]
            try:
                with self.progress.working(label, first, last, len(plan)):
                    for artifact, record in zip(
                        batch, self._obtain(kind, batch, records), strict=True
                    ):
                        records[artifact.name] = record
            except Unavailable as reason:
                for artifact in batch:
                    reasons[artifact.name].append(f"{kind}: {reason}")
        return [a for a in left if a.name not in records]

    def _obtain(
        self, kind: SourceKind, batch: list[Artifact], records: dict[str, Record]
    ) -> list[Record]:
        artifact = batch[0]
        source = next(source for source in artifact.sources if source.kind is kind)
        with self.store.work(artifact.name) as work, disk_errors(self.store.root):
            if isinstance(source, GoSource):
                return self._from_go(source, batch, work)
            if isinstance(source, MirrorSource):
                return [self._from_mirror(artifact, work)]
            if isinstance(source, ReleaseSource):
                return [self._from_release(source, artifact, work)]
            if isinstance(source, DebianSource):
                return [self._from_debian(source, artifact, work)]
            if isinstance(source, ImageSource):
                return [self._from_parts(source, artifact, records, work)]
            return [self._from_python(source, artifact, work)]

    def _from_go(self, source: GoSource, batch: list[Artifact], work: Path) -> list[Record]:
        packages = {}
        for artifact in batch:
            for name, package in (artifact.packages or {artifact.name: artifact.package}).items():
                packages[artifact.name, name] = package
        assert self.toolchain is not None
        self.toolchain.build(
            source,
            self.manifest.data / "go" / source.module,
            sorted(packages.values()),
            work,
            what=f"building {_group_label(batch)}",
            on_wait=lambda: self.progress.note("another run is installing the Go toolchain"),
        )
        records = []
        for artifact in batch:
            built = {
                name: work / go_binary_name(package)
                for (owner, name), package in packages.items()
                if owner == artifact.name
            }
            if artifact.kind == "archive":
                file = work / artifact.filename
                plain = io.BytesIO()
                entries = [Entry(name, path, mode=0o755) for name, path in built.items()]
                write_tar(plain, entries, folders=False)
                file.write_bytes(stored_gzip(plain.getvalue()))
            else:
                file = next(iter(built.values()))
            records.append(self._keep(artifact, file, SourceKind.GO))
        return records

    def _from_mirror(self, artifact: Artifact, work: Path) -> Record:
        sums = {k: s for k, s in artifact.sums.items() if k is not SourceKind.RELEASE}
        reason = Unavailable("the manifest has no sum to ask the mirror for")
        for kind, sha256 in sums.items():
            url = f"{self.mirror.rstrip('/')}/artifacts/sha256/{sha256}/{artifact.filename}"
            try:
                self.downloader.fetch(url, work / artifact.filename, sha256)
            except Unavailable as error:
                reason = error
                continue
            return self._keep(artifact, work / artifact.filename, kind)
        raise reason

    def _from_release(self, source: ReleaseSource, artifact: Artifact, work: Path) -> Record:
        pinned = artifact.sums.get(SourceKind.RELEASE)
        if not pinned:
            raise Unavailable(f"{source.url}: the manifest has no sum for it; add it to use it")
        file = work / "download"
        self.downloader.fetch(source.url, file, pinned)
        if source.member:
            take_member(file, source.member, work / "member")
            file = work / "member"
        return self._keep(artifact, file, SourceKind.RELEASE, inputs=pinned, pinned=False)

    def _from_debian(self, source: DebianSource, artifact: Artifact, work: Path) -> Record:
        package = debian.download(source.package, artifact.version, work)
        debian.extract(package, source.member, work / "member")
        same = package.version == artifact.version
        if not same:
            self.progress.note(
                f"{artifact.name}: the archive has {package.version} instead of "
                f"{artifact.version}; verified by the archive's signature"
            )
        return self._keep(
            artifact, work / "member", SourceKind.DEBIAN, inputs=package.version, pinned=same
        )

    def _from_parts(
        self, source: ImageSource, artifact: Artifact, records: dict[str, Record], work: Path
    ) -> Record:
        files = []
        usual = True
        for path, part in source.files.items():
            if part.startswith("@"):
                content = self.manifest.data / "images" / part[1:]
                executable = content.suffix != ".txt"
            else:
                content = self.store.file(records[part])
                executable = True
                usual = usual and records[part].sha256 in self._usual(part)
            files.append(ImageFile(path, content, executable))
        target = work / "image.tar"
        digest = write_image(source, artifact.platform, tuple(files), target)
        inputs = self._image_inputs(artifact, source, records)
        return self._keep(
            artifact, target, SourceKind.IMAGE, inputs=inputs, digest=digest, pinned=usual
        )

    def _usual(self, name: str) -> set[str]:
        return {a.sha256 for a in self.manifest.all if a.name == name}

    def _from_python(self, source: PythonSource, artifact: Artifact, work: Path) -> Record:
        tree = self._tree(source)
        inputs = tree.fingerprint()
        target = work / "tree.tar.gz"
        tree.build(target, work, lambda: self.progress.note("another run installs the wheels"))
        stem, _, suffix = artifact.filename.partition(".tar")
        return self._keep(
            artifact,
            target,
            SourceKind.PYTHON,
            inputs=inputs,
            pinned=False,
            filename=f"{stem}-{inputs[:12]}.tar{suffix}",
        )

    def _tree(self, source: PythonSource) -> PythonTree:
        return PythonTree(
            source=source,
            requirements=self.manifest.data / source.requirements,
            package=self.package,
            extra=(self.manifest.path.parent / "templates",),
            cache=self.cache,
            store=self.store,
        )

    def _image_inputs(
        self, artifact: Artifact, source: ImageSource, records: dict[str, Record]
    ) -> str:
        parts = {}
        for part in source.files.values():
            if part.startswith("@"):
                parts[part] = sha256_of(self.manifest.data / "images" / part[1:])
            elif part in records:
                parts[part] = records[part].sha256
        settings = source.model_dump(mode="json")
        text = json.dumps([artifact.platform, settings, parts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _keep(
        self,
        artifact: Artifact,
        file: Path,
        kind: SourceKind,
        *,
        inputs: str = "",
        digest: str = "",
        pinned: bool = True,
        filename: str = "",
    ) -> Record:
        """Check the sum where one is pinned, and put the file into the store.

        Raises:
            ChecksumMismatch: it is not what the manifest promises.
        """
        seen = sha256_of(file)
        if pinned:
            wanted = artifact.sums.get(kind, "")
            if seen != wanted:
                raise ChecksumMismatch(
                    f"{artifact.label} from {kind}",
                    wanted or "(none in the manifest)",
                    seen,
                    f"nothing was kept; {self.manifest.path} says what it should be",
                )
        self.store.add(
            file, filename or artifact.filename, executable=artifact.kind == "binary", sha256=seen
        )
        return self.store.remember(
            artifact, seen, kind, inputs=inputs, digest=digest, filename=filename
        )


def go_binary_name(package: str) -> str:
    """What `go build -o FOLDER/` calls the program of a main package.

    The last part of the path, or the part before it where the last is a module's major version.
    """
    last = package.rpartition("/")[2]
    if last.startswith("v") and last[1:].isdigit():
        last = package.rpartition("/")[0].rpartition("/")[2]
    return last


def _groups(plan: Sequence[Artifact]) -> Iterable[list[Artifact]]:
    group: list[Artifact] = []
    for artifact in plan:
        if group and (group[-1].component, group[-1].version) != (
            artifact.component,
            artifact.version,
        ):
            yield group
            group = []
        group.append(artifact)
    if group:
        yield group


def _group_label(batch: Sequence[Artifact]) -> str:
    if len(batch) == 1:
        return batch[0].label
    names = ", ".join(artifact.name for artifact in batch)
    return f"{batch[0].component} {batch[0].version} ({names})"
