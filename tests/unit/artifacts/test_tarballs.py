"""Archives depend on nothing but their content."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.artifacts.tarballs import STORED_BLOCK, Entry, stored_gzip, write_tar


def tar(entries: list[Entry], *, folders: bool = True) -> bytes:
    stream = io.BytesIO()
    write_tar(stream, entries, folders=folders)
    return stream.getvalue()


def test_order_time_and_owner_do_not_matter(tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.write_bytes(b"same")
    first = tar([Entry("b", one), Entry("a/x", b"1", mode=0o755)])
    os.utime(one, (1, 1))
    one.chmod(0o600)
    second = tar([Entry("a/x", b"1", mode=0o755), Entry("b", one)])
    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == ["a", "a/x", "b"]
        assert {info.mtime for info in archive} == {0}
        assert {(info.uid, info.uname) for info in archive} == {(0, "")}


def test_links_and_long_names() -> None:
    long = "d" * 120 + "/file"
    with tarfile.open(
        fileobj=io.BytesIO(tar([Entry(long, b"x"), Entry("l", link="t")]))
    ) as archive:
        content = archive.extractfile(long)
        assert content is not None
        assert content.read() == b"x"
        assert archive.getmember("l").linkname == "t"


def test_folders_can_be_left_out() -> None:
    with tarfile.open(fileobj=io.BytesIO(tar([Entry("a/b", b"")], folders=False))) as archive:
        assert archive.getnames() == ["a/b"]


@given(st.binary(max_size=300))
def test_stored_gzip_unpacks_to_what_went_in(data: bytes) -> None:
    assert gzip.decompress(stored_gzip(data)) == data


@pytest.mark.parametrize("size", [0, 1, STORED_BLOCK - 1, STORED_BLOCK, STORED_BLOCK + 1, 200_000])
def test_stored_gzip_at_the_edges_of_its_blocks(size: int) -> None:
    data = bytes(size % 251 for _ in range(size))
    packed = stored_gzip(data)
    assert gzip.decompress(packed) == data
    assert len(packed) <= size + 18 + 5 * (size // STORED_BLOCK + 1)
