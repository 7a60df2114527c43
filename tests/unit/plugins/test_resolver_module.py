"""The resolver module replaces only after an answer, and always knows the way back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., dict[str, Any]]
OURS = "# Managed by kubedcos (role dns)\nnameserver 10.0.0.11\n"
BEFORE = "nameserver 192.0.2.53\nnameserver 127.0.0.53\nsearch example.org\n"


@pytest.fixture
def resolver(run_module: Run, tmp_path: Path) -> Run:
    (tmp_path / "resolv.conf").write_text(BEFORE)

    def run(state: str, **more: Any) -> dict[str, Any]:
        return run_module(
            "kubedcos_resolver",
            state=state,
            path=str(tmp_path / "resolv.conf"),
            saved=str(tmp_path / "saved.json"),
            **{"content": OURS, "timeout": 0, **more},
        )

    return run


def test_servers_of_before_are_told_without_local_stubs(resolver: Run) -> None:
    found = resolver("read")
    assert found["nameservers"] == ["192.0.2.53"]
    assert found["search"] == ["example.org"]
    assert found["changed"] is False


def test_replaced_once_and_put_back(resolver: Run, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    assert resolver("present")["changed"] is True
    assert path.read_text() == OURS
    assert resolver("present")["changed"] is False
    read = resolver("read")
    assert read["nameservers"] == ["192.0.2.53"]
    assert read["text"] == OURS
    assert resolver("absent")["changed"] is True
    assert path.read_text() == BEFORE
    assert resolver("absent")["changed"] is False


def test_a_link_comes_back_as_a_link(resolver: Run, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    (tmp_path / "stub").write_text(BEFORE)
    path.unlink()
    path.symlink_to("stub")
    # Nobody is to take what a link points at for a file that he may keep.
    assert resolver("read")["text"] == ""
    resolver("present")
    assert not path.is_symlink()
    assert (tmp_path / "stub").read_text() == BEFORE
    resolver("absent")
    assert path.is_symlink()
    assert str(path.readlink()) == "stub"


def test_a_server_that_does_not_answer_changes_nothing(resolver: Run, tmp_path: Path) -> None:
    # Nothing listens at this address of the loopback network.
    result = resolver("present", servers=["127.93.117.201"])
    assert result["failed"] is True
    assert "does not answer" in result["msg"]
    assert (tmp_path / "resolv.conf").read_text() == BEFORE


def test_a_later_rewrite_becomes_what_was_before(resolver: Run, tmp_path: Path) -> None:
    resolver("present")
    (tmp_path / "resolv.conf").write_text("nameserver 198.51.100.1\n")
    assert resolver("read")["nameservers"] == ["198.51.100.1"]
    resolver("present")
    resolver("absent")
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 198.51.100.1\n"


def test_check_mode_writes_nothing(resolver: Run, tmp_path: Path) -> None:
    assert resolver("present", check=True)["changed"] is True
    assert (tmp_path / "resolv.conf").read_text() == BEFORE
    assert not (tmp_path / "saved.json").exists()


def test_text_without_our_mark_is_refused(resolver: Run, tmp_path: Path) -> None:
    assert resolver("present", content="nameserver 10.0.0.11\n")["failed"] is True
    assert (tmp_path / "resolv.conf").read_text() == BEFORE
