"""A store that forgets: for tests and simulations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubedcos.state.store import Change


class MemoryStore:
    """Documents in dictionaries. It outlives the scheduler that writes to it, as a disk would."""

    def __init__(self) -> None:
        self._documents: dict[str, dict[tuple[str, str], bytes]] = {}

    def clusters(self) -> tuple[str, ...]:
        """Names of the clusters that have documents, sorted."""
        return tuple(sorted(name for name, found in self._documents.items() if found))

    def read(self, cluster: str, kind: str) -> Mapping[str, bytes]:
        """All documents of one kind by key."""
        found = self._documents.get(cluster, {})
        return {key: value for (of, key), value in sorted(found.items()) if of == kind}

    def write(self, cluster: str, changes: Sequence[Change]) -> None:
        """Carry out all changes."""
        found = dict(self._documents.get(cluster, {}))
        for change in changes:
            if change.value is None:
                found.pop((change.kind, change.key), None)
            else:
                found[change.kind, change.key] = change.value
        self._documents[cluster] = found

    def drop(self, cluster: str) -> None:
        """Remove every document of a cluster."""
        self._documents.pop(cluster, None)

    def close(self) -> None:
        """Nothing to release."""
