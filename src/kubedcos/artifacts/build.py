"""Obtains the artefacts that are missing: tries their sources in the configured order.

What is here and verified is never made again. A source that cannot give an artefact leaves it to
the next one; content with a wrong sum stops everything, because somebody should look.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kubedcos.artifacts.download import Downloader, Unavailable
from kubedcos.artifacts.gobuild import GoToolchain
from kubedcos.artifacts.manifest import Artifact, Manifest
from kubedcos.artifacts.obtain import Compiler, Obtainer, Records, group_label
from kubedcos.artifacts.programs import ProgramFailed, end_all
from kubedcos.artifacts.progress import Progress, Silent
from kubedcos.artifacts.sources import (
    DEFAULT_SOURCES,
    DebianSource,
    ImageSource,
    PythonSource,
    SourceKind,
)
from kubedcos.artifacts.store import Record, Store, sha256_of
from kubedcos.errors import KubedcosError

AT_ONCE: Final = 2
"""Components made at the same time: one compiles while the other downloads or links.

Linking Kubernetes takes over a gigabyte, so that more would not fit the smallest machine.
"""


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
    compiler: Compiler | None = None
    _obtainer: Obtainer = field(init=False)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.compiler = self.compiler or GoToolchain(
            self.manifest.toolchain, self.store, self.cache
        )
        self._obtainer = Obtainer(
            manifest=self.manifest,
            store=self.store,
            cache=self.cache,
            package=self.package,
            mirror=self.mirror,
            compiler=self.compiler,
            downloader=self.downloader,
            progress=self.progress,
        )

    def build(self, wanted: Iterable[Artifact]) -> Outcome:
        """Make every artefact of `wanted` available, several at the same time.

        The first failure ends what is under way; what is finished stays.

        Args:
            wanted: artefacts in the manifest's order, with all that they are made from.

        Raises:
            ChecksumMismatch: a source gave something else than the manifest promises.
            KubedcosError: no source could give an artefact; the text names each and its reason.
        """
        plan = tuple(wanted)
        names = {artifact.name for artifact in plan}
        records: dict[str, Record] = {}
        made: set[str] = set()
        waiting = list(_groups(plan))
        running: set[Future[list[str]]] = set()
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="artefacts") as pool:
            try:
                while waiting or running:
                    for group in tuple(waiting):
                        needs = {need for artifact in group for need in artifact.needs}
                        if (needs & names) - set(records):
                            continue
                        waiting.remove(group)
                        if missing := self._missing(group, records):
                            running.add(pool.submit(self._make, missing, plan, records))
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        made.update(future.result())
            except BaseException:
                self._end(running)
                raise
        compiled = any(
            artifact.label in made and records[artifact.name].source == SourceKind.GO
            for artifact in plan
        )
        labels = tuple(artifact.label for artifact in plan if artifact.label in made)
        return Outcome(tuple(records[a.name] for a in plan), labels, compiled)

    def _missing(self, group: Sequence[Artifact], records: dict[str, Record]) -> list[Artifact]:
        """Those that are not here; the records of the others are noted."""
        for artifact in group:
            if present := self.present(artifact, records):
                records[artifact.name] = present
        return [artifact for artifact in group if artifact.name not in records]

    def _end(self, running: Iterable[Future[list[str]]]) -> None:
        """Give up what is under way."""
        self._stopped.set()
        self.downloader.stop()
        left = {future for future in running if not future.cancel()}
        while left:
            end_all()
            left = wait(left, timeout=0.2).not_done

    def prune(self) -> int:
        """Remove Go's caches, unless a build is using them.

        Returns:
            Bytes freed.
        """
        assert self.compiler is not None
        return self.compiler.prune()

    def present(self, artifact: Artifact, records: Records | None = None) -> Record | None:
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

    def _accepts(self, artifact: Artifact, record: Record, records: Records | None) -> bool:
        source = SourceKind(record.source)
        for candidate in artifact.sources:
            if isinstance(candidate, PythonSource):
                return record.inputs == self._obtainer.tree(candidate).fingerprint()
            if isinstance(candidate, ImageSource):
                known = records if records is not None else self._recalled(artifact)
                return known is not None and record.inputs == self._obtainer.image_inputs(
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
    ) -> list[str]:
        """Obtain artefacts of one component and version, under the lock of that pair.

        Returns:
            Labels of those that were made here and not by another run meanwhile.
        """
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
            labels = [artifact.label for artifact in left]
            reasons: dict[str, list[str]] = {artifact.name: [] for artifact in left}
            for kind in self.sources:
                if left and not self._stopped.is_set():
                    left = self._try(kind, left, plan, records, reasons)
            for artifact in left:
                why = "".join(f"\n  {reason}" for reason in reasons[artifact.name])
                kinds = ", ".join(self.sources)
                raise KubedcosError(
                    f"{artifact.label}: no source could give it (tried: {kinds}){why}"
                )
            return labels

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
            label = batch[0].label if len(batch) == 1 else group_label(batch)
            first, last = numbers[batch[0].name], numbers[batch[-1].name]
            try:
                with self.progress.working(label, first, last, len(plan)):
                    for artifact, record in zip(
                        batch, self._obtainer.obtain(kind, batch, records), strict=True
                    ):
                        records[artifact.name] = record
            except (Unavailable, ProgramFailed) as reason:
                for artifact in batch:
                    reasons[artifact.name].append(f"{kind}: {reason}")
        return [a for a in left if a.name not in records]


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
