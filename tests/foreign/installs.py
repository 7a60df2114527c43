"""Published packages, installed with pinned versions into the cache, each set in its own folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CACHE = Path("~/.cache/kubedcos/foreign").expanduser()
PATIENCE = 900.0
"""Seconds that an installation may take; only the first one takes any."""


def _installed(name: str, pins: list[Path], install: Callable[[Path], None]) -> Path:
    """The folder of a set, installed unless these very pins were before; safe side by side."""
    digest = hashlib.sha256("".join(path.read_text() for path in pins).encode()).hexdigest()[:12]
    folder = CACHE / f"{name}-{digest}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder / ".complete"
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            for path in pins:
                shutil.copy(path, folder)
            install(folder)
            complete.touch()
    return folder


def _run(*command: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    if done.returncode:
        pytest.fail(f"{command[0]} failed in {cwd}:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")


def python_with(name: str) -> Path:
    """The interpreter of an environment with `requirements-NAME.txt` and nothing else."""

    def install(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", folder / "env", cwd=folder)
        options = ("--quiet", "--no-deps", "--disable-pip-version-check")
        requirements = folder / f"requirements-{name}.txt"
        pip = (folder / "env/bin/python", "-m", "pip", "install")
        _run(*pip, *options, "--requirement", requirements, cwd=folder)

    folder = _installed(name, [HERE / f"requirements-{name}.txt"], install)
    return folder / "env/bin/python"


def npm_packages() -> Path:
    """The folder whose `node_modules` holds what `npm/package-lock.json` names; or skip."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")

    def install(folder: Path) -> None:
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", cwd=folder)

    return _installed("npm", [HERE / "npm/package.json", HERE / "npm/package-lock.json"], install)


def telegraf_reader() -> Path:
    """A program around Telegraf's input plugin for Mesos, built from the pinned module; or skip."""
    if shutil.which("go") is None:
        pytest.skip("Go is not installed")

    def install(folder: Path) -> None:
        environment = os.environ | {"GOFLAGS": "-mod=readonly", "CGO_ENABLED": "0"}
        command = ["nice", "go", "build", "-trimpath", "-o", "reader", "."]
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            pytest.fail(f"go build failed:\n{done.stderr[-4000:]}")

    pins = [HERE / "telegraf" / name for name in ("go.mod", "go.sum", "main.go")]
    return _installed("telegraf", pins, install) / "reader"
