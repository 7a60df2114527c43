"""What the artefact server has, as its index says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from kubedcos.errors import InvalidInput, Problem


class Artifact(msgspec.Struct, frozen=True):
    """One file of the server; other fields of the index are not needed here."""

    name: str
    version: str
    filename: str
    sha256: str


class _Index(msgspec.Struct, frozen=True):
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True)
class ArtifactIndex:
    """Artefacts by name.

    Attributes:
        url: the server, without a slash at the end.
        artifacts: all that it has.
    """

    url: str
    artifacts: tuple[Artifact, ...]

    @classmethod
    def parse(cls, url: str, text: bytes | str) -> ArtifactIndex:
        """The index in `text`, the server's ``artifacts/index.json``.

        Raises:
            InvalidInput: it is none.
        """
        try:
            return cls(url, msgspec.json.decode(text, type=_Index).artifacts)
        except msgspec.DecodeError as error:
            problem = Problem(f"{url}/artifacts/index.json", str(error), "an index of artefacts")
            raise InvalidInput([problem]) from None

    def find(self, name: str, version: str = "") -> Artifact:
        """The artefact called `name`, in `version` if one is named.

        Raises:
            InvalidInput: the server has none, or several and no version was named.
        """
        of_name = [artifact for artifact in self.artifacts if artifact.name == name]
        found = [artifact for artifact in of_name if version in {"", artifact.version}]
        if len(found) == 1:
            return found[0]
        seen = ", ".join(artifact.version for artifact in of_name) or "nothing of that name"
        wanted = f"exactly one {name} {version}".rstrip()
        problem = Problem(f"{self.url}: {name}", seen, wanted, id="artifact-missing")
        raise InvalidInput([problem])

    def link(self, sha256: str, filename: str) -> str:
        """URL of a file by its sum."""
        return f"{self.url}/artifacts/sha256/{sha256}/{filename}"
