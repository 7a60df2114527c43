"""Looks at the stored files again, byte by byte."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from kubedcos.artifacts.manifest import Artifact
from kubedcos.artifacts.store import Record, Store, sha256_of


class Verdict(StrEnum):
    """What a look at an artefact found."""

    VERIFIED = "verified"
    MISSING = "missing"
    SPOILT = "spoilt"


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict on one artefact.

    Attributes:
        wanted: the sum that it should have; empty where nothing is known about it yet.
        seen: the sum that it has; empty when it is missing.
    """

    artifact: Artifact
    verdict: Verdict
    wanted: str
    seen: str


def verify(
    store: Store,
    artifacts: Iterable[Artifact],
    present: Callable[[Artifact], Record | None],
) -> list[Finding]:
    """Hash every artefact again.

    A spoilt one is forgotten, so that the next build makes it anew.

    Args:
        store: where they are.
        artifacts: which.
        present: gives the record of an artefact that is here as the manifest wants it.
    """
    findings = []
    for artifact in artifacts:
        noted = store.noted(artifact)
        file = store.file(noted) if noted else None
        if noted is None or file is None or not file.is_file():
            record = present(artifact)
            verdict = Verdict.VERIFIED if record else Verdict.MISSING
            sha256 = record.sha256 if record else ""
            findings.append(Finding(artifact, verdict, sha256 or artifact.sha256, sha256))
            continue
        seen = sha256_of(file)
        if seen != noted.sha256:
            store.forget(artifact)
            findings.append(Finding(artifact, Verdict.SPOILT, noted.sha256, seen))
        elif present(artifact) is None:
            findings.append(Finding(artifact, Verdict.MISSING, artifact.sha256, seen))
        else:
            findings.append(Finding(artifact, Verdict.VERIFIED, noted.sha256, seen))
    return findings
