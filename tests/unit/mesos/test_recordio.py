"""Framing of event streams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.mesos.recordio import RecordDecoder, RecordError, encode_record


@given(st.lists(st.binary(max_size=200)), st.integers(min_value=1, max_value=7))
def test_records_survive_any_cutting(payloads: list[bytes], size: int) -> None:
    stream = b"".join(map(encode_record, payloads))
    decoder, found = RecordDecoder(), []
    for start in range(0, len(stream), size):
        found += decoder.feed(stream[start : start + size])
    assert found == payloads


def test_the_length_counts_bytes_not_characters() -> None:
    assert encode_record("ä".encode()) == b"2\n\xc3\xa4"


@pytest.mark.parametrize("stream", [b"x\n", b"-1\n", b"\n{}", b"1" * 30, b"99999999999\n"])
def test_what_is_no_record_is_an_error(stream: bytes) -> None:
    with pytest.raises(RecordError):
        RecordDecoder().feed(stream)


def test_a_record_comes_when_it_is_whole() -> None:
    decoder = RecordDecoder()
    assert decoder.feed(b"5\nab") == []
    assert decoder.feed(b"cde") == [b"abcde"]
