"""RecordIO: the framing of Mesos' event streams.

A record is its length in bytes as decimal ASCII, one line feed, and that many bytes. Nothing
follows a record, and HTTP chunks have no relation to records.
"""

from __future__ import annotations

_MAX_DIGITS = 20  # of an unsigned 64-bit number


class RecordError(ValueError):
    """The stream is not RecordIO; nothing after this point can be trusted."""


def encode_record(payload: bytes) -> bytes:
    """One record."""
    return b"%d\n%b" % (len(payload), payload)


class RecordDecoder:
    """Cuts a stream of bytes, however split, into records.

    Args:
        limit: the longest record accepted, in bytes.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self._buffer = bytearray()
        self._limit = limit
        self._length: int | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes and return the records that are complete now.

        Raises:
            RecordError: a length is no number or beyond the limit.
        """
        self._buffer += data
        records = []
        while (record := self._next()) is not None:
            records.append(record)
        return records

    def _next(self) -> bytes | None:
        if self._length is None:
            end = self._buffer.find(b"\n", 0, _MAX_DIGITS + 1)
            if end < 0:
                if len(self._buffer) > _MAX_DIGITS:
                    raise RecordError(f"no length within {_MAX_DIGITS} bytes")
                return None
            digits = bytes(self._buffer[:end])
            if not digits.isdigit():
                raise RecordError(f"{digits!r} is not the length of a record")
            self._length = int(digits)
            if self._length > self._limit:
                raise RecordError(f"record of {self._length} bytes; at most {self._limit}")
            del self._buffer[: end + 1]
        if len(self._buffer) < self._length:
            return None
        record = bytes(self._buffer[: self._length])
        del self._buffer[: self._length]
        self._length = None
        return record
