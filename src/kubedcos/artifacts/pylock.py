"""Writes the pins of the wheels that the hosts' Python tree is made of."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import tomllib
from pathlib import Path

from kubedcos.artifacts.gobuild import pip_settings
from kubedcos.artifacts.programs import environment, run
from kubedcos.artifacts.pyruntime import target_options

HEAD = """\
# The wheels of the hosts' Python tree (CPython {python}, x86-64, glibc), each with its SHA-256.
# Versions are those of constraints.txt; written by `kubedcos artifacts lock`.
"""


def write_lock(*, project: Path, constraints: Path, target: Path, python: str) -> bool:
    """Resolve the project's dependencies for the hosts and write one pinned wheel a line.

    Args:
        project: the ``pyproject.toml`` with the dependencies.
        constraints: versions that the control machine uses.
        target: the file to write.
        python: version of Python on the hosts.

    Returns:
        Whether the file changed.

    Raises:
        ProgramFailed: pip found no solution or no index.
    """
    needed = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    with tempfile.TemporaryDirectory(prefix="kubedcos-lock-") as folder:
        report = Path(folder) / "report.json"
        run(
            [
                *(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"),
                *("--ignore-installed", "--target", Path(folder) / "tree", "--report", report),
                *target_options(python),
                *("--constraint", constraints.resolve(), *needed),
            ],
            what="resolving the hosts' Python wheels",
            cwd=Path(folder),
            env=environment(pip_settings()),
        )
        text = HEAD.format(python=python) + _lines(json.loads(report.read_text("utf-8")))
    changed = not target.exists() or target.read_text(encoding="utf-8") != text
    if changed:
        target.write_text(text, encoding="utf-8")
    return changed


def _lines(report: dict[str, list[dict[str, dict[str, object]]]]) -> str:
    lines = []
    for item in report["install"]:
        name = re.sub(r"[-_.]+", "-", str(item["metadata"]["name"])).lower()
        archive = item["download_info"]["archive_info"]
        assert isinstance(archive, dict)
        lines.append(
            f"{name}=={item['metadata']['version']} --hash=sha256:{archive['hashes']['sha256']}\n"
        )
    return "".join(sorted(lines))
