"""What is sealed opens with the same key, under the same name, and unaltered; or not at all."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.errors import InvalidInput
from kubedcos.state.seal import Seal, read_seal
from kubedcos.state.store import StateError

SEAL = Seal(b"0123456789abcdef0123456789abcdef")


@given(st.text(max_size=40), st.binary(max_size=200))
def test_what_was_closed_opens(name: str, value: bytes) -> None:
    sealed = SEAL.close(name, value)
    assert SEAL.open(name, sealed) == value
    assert value not in sealed or len(value) < 4


def test_what_an_earlier_version_sealed_opens() -> None:
    sealed = base64.b64decode("AUPgXot3a4UlxYaPZ/JpyqsF/vKCVBiVoY7O21NWq9PEiA==")
    assert SEAL.open("k8s/ca", sealed) == b"a key"


def test_a_key_is_just_long_enough_and_a_line_end_is_none_of_it(tmp_path: Path) -> None:
    path = tmp_path / "seal"
    path.write_text("0123456789abcdef0123456789abcdef\n")
    path.chmod(0o600)
    sealed = read_seal(path, "settings: state.seal_file").close("k8s/ca", b"a key")
    assert SEAL.open("k8s/ca", sealed) == b"a key"


@given(st.data())
def test_whatever_is_altered_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(SEAL.close("k8s/ca", b"a key"))
    at = data.draw(st.integers(0, len(sealed) - 1))
    sealed[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(StateError, match="secret k8s/ca does not open"):
        SEAL.open("k8s/ca", bytes(sealed))


@given(st.binary(max_size=30))
def test_what_was_never_sealed_does_not_open(value: bytes) -> None:
    with pytest.raises(StateError):
        SEAL.open("k8s/ca", value)


def test_another_name_and_another_key_do_not_open() -> None:
    sealed = SEAL.close("k8s/grant-a", b"right")
    with pytest.raises(StateError):
        SEAL.open("k8s/grant-b", sealed)
    with pytest.raises(StateError, match="the key file must be the same on all masters"):
        Seal(b"fedcba9876543210fedcba9876543210").open("k8s/grant-a", sealed)


@pytest.mark.parametrize(
    ("text", "mode", "id_"),
    [("x" * 31, 0o600, "secret-short"), ("x" * 40, 0o640, "secret-mode"), (None, 0, "secret-file")],
)
def test_a_key_that_is_not_safe_is_refused(
    tmp_path: Path, text: str | None, mode: int, id_: str
) -> None:
    path = tmp_path / "seal"
    if text is not None:
        path.write_text(text)
        path.chmod(mode)
    with pytest.raises(InvalidInput) as refused:
        read_seal(path, "settings: state.seal_file")
    assert refused.value.problems[0].id == id_
    assert text is None or text not in str(refused.value)
