"""The hosts' Python tree runs isolated from any folder and is named by what it is made of."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from kubedcos.artifacts.pyruntime import LAUNCHERS, PythonTree, launchers
from kubedcos.artifacts.sources import PythonSource, SourceKind
from kubedcos.artifacts.store import Store

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def tree(tmp_path: Path, store: Store) -> PythonTree:
    package = tmp_path / "src" / "kubedcos"
    (package / "cli").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "cli" / "__init__.py").write_text("")
    (package / "cli" / "main.py").write_text(
        "import sys\n"
        "if __name__ == '__main__':\n"
        "    print(__file__, *sys.argv[1:], sys.flags.isolated)\n"
    )
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "x.j2").write_text("x")
    (tmp_path / "requirements.txt").write_text("# none\n")
    return PythonTree(
        source=PythonSource(kind=SourceKind.PYTHON, requirements="requirements.txt", python=PYTHON),
        requirements=tmp_path / "requirements.txt",
        package=package,
        extra=(tmp_path / "templates", tmp_path / "missing"),
        cache=tmp_path / "cache",
        store=store,
    )


def with_wheels(tree: PythonTree) -> None:
    """Put installed wheels in place: what pip does needs a package index."""
    folder = tree.cache / "python-deps" / tree._wheels_fingerprint()[:16]
    folder.mkdir(parents=True)
    (folder / "wheel.py").write_text("x = 1\n")


def built(tree: PythonTree, folder: Path) -> Path:
    (folder / "work").mkdir(parents=True)
    tree.build(folder / "tree.tar.gz", folder / "work")
    with tarfile.open(folder / "tree.tar.gz") as tar:
        tar.extractall(folder / "tree", filter="data")
    return folder / "tree"


def test_it_runs_from_any_folder_whatever_the_caller_has_set(
    tree: PythonTree, tmp_path: Path
) -> None:
    with_wheels(tree)
    root = built(tree, tmp_path / "a")
    (tmp_path / "a" / "current").symlink_to(root)
    (tmp_path / "evil" / "kubedcos").mkdir(parents=True)
    (tmp_path / "evil" / "kubedcos" / "__init__.py").write_text("raise SystemExit('evil')")
    program = tmp_path / "a" / "current" / "bin" / "kubedcos"
    answer = subprocess.run(
        [sys.executable, "-IB", program, "plan", "show"],
        cwd=tmp_path / "evil",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "evil")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout == f"{root}/lib/kubedcos/cli/main.py plan show 1\n"


def test_any_module_can_be_run(tree: PythonTree, tmp_path: Path) -> None:
    with_wheels(tree)
    program = built(tree, tmp_path / "a") / "bin" / "kubedcos-python"
    command = [sys.executable, "-I", program]
    answer = subprocess.run(
        [*command, "-m", "kubedcos.cli.main", "x"], capture_output=True, text=True, check=True
    )
    assert answer.stdout.endswith("main.py x 1\n")
    wrong = subprocess.run(command, capture_output=True, text=True, check=False)
    assert wrong.returncode == 1
    assert "usage: kubedcos-python -m MODULE" in wrong.stderr


@pytest.mark.parametrize(
    ("place", "module"),
    [
        ("sbin/mesos-master", "kubedcos.embedded.master"),
        ("sbin/mesos-agent", "kubedcos.embedded.agent"),
        ("libexec/mesos/mesos-cni-port-mapper", "kubedcos.embedded.agent.port_mapper"),
    ],
)
def test_mesos_is_where_a_prefix_of_apache_mesos_has_it(
    tree: PythonTree, tmp_path: Path, place: str, module: str
) -> None:
    with_wheels(tree)
    root = built(tree, tmp_path / "a")
    stand_in = root / "lib" / f"{module.replace('.', '/')}.py"
    stand_in.parent.mkdir(parents=True, exist_ok=True)
    stand_in.write_text("import sys\nprint('runs', *sys.argv[1:])\n")
    (tmp_path / "current").symlink_to(root)
    program = tmp_path / "current" / "mesos" / place
    answer = subprocess.run(
        [sys.executable, "-I", program, "--version"], capture_output=True, text=True, check=True
    )
    assert answer.stdout == "runs --version\n"


def test_launchers_use_the_hosts_python_isolated() -> None:
    for name, text in launchers().items():
        assert text.startswith(b"#!/usr/bin/python3 -I"), name
        compile(text, name, "exec")
    assert set(LAUNCHERS) < set(launchers())


def test_the_same_twice(tree: PythonTree, tmp_path: Path) -> None:
    with_wheels(tree)
    built(tree, tmp_path / "a")
    built(tree, tmp_path / "b")
    first, second = ((tmp_path / n / "tree.tar.gz").read_bytes() for n in ("a", "b"))
    assert first == second


def test_byte_code_is_not_checked_against_times(tree: PythonTree, tmp_path: Path) -> None:
    with_wheels(tree)
    root = built(tree, tmp_path / "a")
    pyc = next((root / "lib" / "kubedcos" / "cli" / "__pycache__").glob("main.*.pyc"))
    assert pyc.read_bytes()[4:8] == b"\x01\0\0\0"  # PEP 552: hash-based, unchecked
    assert str(tmp_path).encode() not in pyc.read_bytes()


def test_the_fingerprint_follows_source_templates_and_wheels(tree: PythonTree) -> None:
    seen = {tree.fingerprint()}
    assert tree.fingerprint() in seen
    for path in (
        tree.package / "cli" / "main.py",
        tree.extra[0] / "x.j2",
        tree.requirements,
    ):
        path.write_text(path.read_text() + "# changed\n")
        assert tree.fingerprint() not in seen
        seen.add(tree.fingerprint())


def test_byte_code_of_the_checkout_does_not_count(tree: PythonTree) -> None:
    before = tree.fingerprint()
    (tree.package / "__pycache__").mkdir()
    (tree.package / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert tree.fingerprint() == before
