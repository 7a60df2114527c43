"""A store that forgets: for tests and simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubedcos.state.store import Change


class MemoryStore:
    """Documents in dictionaries. It outlives the scheduler that writes to it, as a disk would."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[str, dict[str, bytes]]] = {}

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that have documents, sorted."""
        return tuple(sorted(name for name, kinds in self._documents.items() if any(kinds.values())))

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        """All documents of one kind by key."""
        return dict(sorted(self._documents.get(cluster, {}).get(kind, {}).items()))

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        """Carry out all changes; none can fail."""
        kinds = self._documents.setdefault(cluster, {})
        for change in changes:
            found = kinds.setdefault(change.kind, {})
            if change.value is None:
                found.pop(change.key, None)
            else:
                found[change.key] = change.value

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster."""
        self._documents.pop(cluster, None)

    def close(self) -> None:
        """Nothing to release."""
