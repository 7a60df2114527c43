"""Inventories that can not be read are refused with the place, before Ansible is asked."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from kubedcos.errors import ExitCode, InvalidInput
from kubedcos.lab import inventory


def never(*_: Any, **__: Any) -> subprocess.CompletedProcess[str]:
    raise AssertionError("a program was run")


def test_a_broken_file_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "hosts.yml").write_text("all:\n  hosts: [m1\n")
    with pytest.raises(InvalidInput, match=r"hosts\.yml:3:1: found ") as caught:
        inventory.load(tmp_path, runner=never)
    assert caught.value.exit_code == ExitCode.USAGE


def test_an_inventory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="nosuch: found nothing"):
        inventory.load(tmp_path / "nosuch", runner=never)
