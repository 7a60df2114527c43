"""The form of stored documents: its version, and the way from each version to the next.

Every store keeps the version beside the documents and reads no other one. A store that finds an
older version takes each step of `MIGRATIONS` in turn, all or nothing; one that finds a newer
version refuses to start: it would not understand what it changes.

A field that is added with a default needs no step: records are read leniently. A step is needed
where a field changes its meaning, its name or its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from kubedcos.state.migrations import http_checks
from kubedcos.state.store import Change, StateError

Documents = Mapping[tuple[str, str], bytes]
"""Documents of one cluster by kind and key."""

Migration = Callable[[Documents], Sequence[Change]]
"""From the documents of one cluster to the changes that bring them to the next version. Pure."""

MIGRATIONS: Final[tuple[Migration, ...]] = (http_checks,)
"""Step number n leads from version n + 1 to n + 2."""


def newest(migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """The version that this program writes."""
    return 1 + len(migrations)


def steps_from(
    version: int, where: str, migrations: Sequence[Migration] = MIGRATIONS
) -> Sequence[Migration]:
    """The steps that lead from `version` to the newest.

    Args:
        version: as found.
        where: the store, for the error.
        migrations: all steps.

    Raises:
        StateError: the version is newer, or none at all.
    """
    wanted = newest(migrations)
    if not 1 <= version <= wanted:
        raise StateError(
            f"{where}: schema version {version}; this kubedcos reads 1 to {wanted}. Start the"
            " version that wrote it, or restore a backup."
        )
    return migrations[version - 1 :]


def migrated(documents: Documents, steps: Sequence[Migration]) -> list[Change]:
    """The changes that all steps together make to the documents of one cluster."""
    now = dict(documents)
    changed: dict[tuple[str, str], Change] = {}
    for step in steps:
        for change in step(now):
            where = (change.kind, change.key)
            changed[where] = change
            if change.value is None:
                now.pop(where, None)
            else:
                now[where] = change.value
    return list(changed.values())
