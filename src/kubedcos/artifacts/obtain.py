"""Gets artefacts from one kind of source, checks their sums, and puts them into the store."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubedcos.artifacts import debian
from kubedcos.artifacts.download import Downloader, Unavailable, take_member
from kubedcos.artifacts.images import ImageFile, manifest_digest, write_image
from kubedcos.artifacts.manifest import Artifact, Manifest
from kubedcos.artifacts.progress import Progress
from kubedcos.artifacts.pyruntime import PythonTree
from kubedcos.artifacts.sources import (
    DebianSource,
    GoSource,
    ImageSource,
    MirrorSource,
    PythonSource,
    ReleaseSource,
    SourceKind,
)
from kubedcos.artifacts.store import ChecksumMismatch, Record, Store, disk_errors, sha256_of
from kubedcos.artifacts.tarballs import Entry, stored_gzip, write_tar

Records = Mapping[str, Record]


class Compiler(Protocol):
    """What builds Go programs."""

    def build(
        self,
        source: GoSource,
        module: Path,
        packages: Sequence[str],
        out: Path,
        *,
        what: str,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Build `packages` of the module in the folder `module` into the folder `out`."""
        ...

    def prune(self) -> int:
        """Remove caches; returns the bytes freed."""
        ...


@dataclass(frozen=True, slots=True)
class Obtainer:
    """Gets artefacts, one source kind at a time.

    Attributes:
        mirror: base address of the site's mirror; empty for none.
        cache: folder for installed wheels.
        package: source folder of this package.
    """

    manifest: Manifest
    store: Store
    cache: Path
    package: Path
    mirror: str
    compiler: Compiler
    downloader: Downloader
    progress: Progress

    def obtain(self, kind: SourceKind, batch: Sequence[Artifact], records: Records) -> list[Record]:
        """Get artefacts of one component from its source of this kind.

        Args:
            kind: of source; each artefact has one.
            batch: one artefact, or for Go builds any number.
            records: what images may be made from.

        Raises:
            Unavailable: this source cannot give them now.
            ChecksumMismatch: it gave something else.
        """
        artifact = batch[0]
        source = next(source for source in artifact.sources if source.kind is kind)
        with self.store.work(artifact.name) as work, disk_errors(self.store.root):
            if isinstance(source, GoSource):
                return self._from_go(source, batch, work)
            if isinstance(source, MirrorSource):
                return [self._from_mirror(artifact, records, work)]
            if isinstance(source, ReleaseSource):
                return [self._from_release(source, artifact, work)]
            if isinstance(source, DebianSource):
                return [self._from_debian(source, artifact, work)]
            if isinstance(source, ImageSource):
                return [self._from_parts(source, artifact, records, work)]
            return [self._from_python(source, artifact, work)]

    def _from_go(self, source: GoSource, batch: Sequence[Artifact], work: Path) -> list[Record]:
        packages = {}
        for artifact in batch:
            for name, package in (artifact.packages or {artifact.name: artifact.package}).items():
                packages[artifact.name, name] = package
        self.compiler.build(
            source,
            self.manifest.data / "go" / source.module,
            sorted(packages.values()),
            work,
            what=f"building {group_label(batch)}",
            on_wait=lambda: self.progress.note(
                "waiting for the Go toolchain, which is being installed"
            ),
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

    def _from_mirror(self, artifact: Artifact, records: Records, work: Path) -> Record:
        sums = {k: s for k, s in artifact.sums.items() if k is not SourceKind.RELEASE}
        reason = Unavailable("the manifest has no sum to ask the mirror for")
        for kind, sha256 in sums.items():
            url = f"{self.mirror.rstrip('/')}/artifacts/sha256/{sha256}/{artifact.filename}"
            try:
                self.downloader.fetch(url, work / artifact.filename, sha256)
            except Unavailable as error:
                reason = error
                continue
            inputs = digest = ""
            for source in artifact.sources:
                if isinstance(source, ImageSource):
                    inputs = self.image_inputs(artifact, source, records)
                    digest = manifest_digest(work / artifact.filename)
            return self._keep(
                artifact, work / artifact.filename, kind, inputs=inputs, digest=digest
            )
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
        self, source: ImageSource, artifact: Artifact, records: Records, work: Path
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
        inputs = self.image_inputs(artifact, source, records)
        return self._keep(
            artifact, target, SourceKind.IMAGE, inputs=inputs, digest=digest, pinned=usual
        )

    def _usual(self, name: str) -> set[str]:
        return {a.sha256 for a in self.manifest.all if a.name == name}

    def _from_python(self, source: PythonSource, artifact: Artifact, work: Path) -> Record:
        tree = self.tree(source)
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

    def tree(self, source: PythonSource) -> PythonTree:
        """What builds the hosts' Python tree."""
        return PythonTree(
            source=source,
            requirements=self.manifest.data / source.requirements,
            package=self.package,
            extra=(self.manifest.path.parent / "templates",),
            cache=self.cache,
            store=self.store,
        )

    def image_inputs(self, artifact: Artifact, source: ImageSource, records: Records) -> str:
        """Fingerprint of an image's settings and parts."""
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


def group_label(batch: Sequence[Artifact]) -> str:
    """What to call artefacts that are made in one go."""
    if len(batch) == 1:
        return batch[0].label
    names = ", ".join(artifact.name for artifact in batch)
    return f"{batch[0].component} {batch[0].version} ({names})"
