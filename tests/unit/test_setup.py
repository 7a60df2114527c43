"""`make setup` on machines that are not as it wants them says so before it does anything."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "scripts/setup.sh"


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder for PATH with what every system has; packages are said to be there already."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("cat", "cut", "date", "dirname", "getent", "grep", "id", "mkdir", "sh"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


def setup(tools: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(SETUP)],
        env={"PATH": str(tools), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_another_system_than_debian_is_named(tools: Path, tmp_path: Path) -> None:
    done = setup(tools, HOME=str(tmp_path))
    assert done.returncode == 2
    assert "found no apt-get; wanted Debian 12" in done.stderr


def test_without_a_home_the_users_own_is_taken(tools: Path) -> None:
    done = setup(tools)
    assert done.returncode == 2
    assert "HOME" not in done.stderr
