"""Which files the fetcher's cache holds, and which must go when it is full. Pure.

An entry belongs to a user and a URI. It is pending while it is being downloaded and cannot be
evicted then, nor while a container reads it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Entry:
    """One cached file.

    Attributes:
        file_name: in the cache directory.
        size: bytes.
        readers: containers that are copying it, or waiting for it.
        ready: downloaded.
    """

    file_name: str
    size: int
    readers: int = 0
    ready: bool = False


@dataclass(slots=True)
class Cache:
    """The cache's table.

    Attributes:
        capacity: bytes that all files together may have.
    """

    capacity: int
    _entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    _number: int = 0

    @property
    def used(self) -> int:
        """Bytes of all entries, pending ones included."""
        return sum(entry.size for entry in self._entries.values())

    def find(self, user: str, uri: str) -> Entry | None:
        """The entry, which becomes the most recently used."""
        entry = self._entries.pop((user, uri), None)
        if entry is not None:
            self._entries[user, uri] = entry
        return entry

    def reserve(self, user: str, uri: str, base_name: str, size: int) -> tuple[Entry, list[str]]:
        """Make room and an entry for a file of `size` bytes.

        Returns:
            The entry, and the names of files to be deleted.

        Raises:
            ValueError: it does not fit, even without everything that may go.
        """
        free = self.capacity - self.used
        victims = []
        for key, entry in self._entries.items():
            if free >= size:
                break
            if entry.ready and not entry.readers:
                victims.append(key)
                free += entry.size
        if free < size:
            raise ValueError(f"{size} bytes do not fit into the fetcher cache")
        names = [self._entries.pop(key).file_name for key in victims]
        self._number += 1
        made = Entry(f"c{self._number}-{base_name}", size)
        self._entries[user, uri] = made
        return made, names

    def drop(self, user: str, uri: str) -> None:
        """Forget an entry whose download failed."""
        self._entries.pop((user, uri), None)
