"""This package and its dependencies as one archive that runs from any folder of a host.

Two parts with two rhythms: the wheels (`artifacts/python/requirements.txt`, each with its sum)
are installed and compiled once and kept in the cache; the package's own source is laid over them,
which takes seconds. The archive is named by the content of both, so that what did not change is
never built again, and no sum can stand in the manifest: the index of the site carries it.
"""

from __future__ import annotations

import compileall
import gzip
import hashlib
import py_compile
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kubedcos.artifacts.gobuild import pip_settings
from kubedcos.artifacts.programs import environment, run
from kubedcos.artifacts.sources import PythonSource
from kubedcos.artifacts.store import Store, disk_errors
from kubedcos.artifacts.tarballs import Entry, write_tar

FORMAT = "2"
"""Raised when the tree's shape changes, so that old ones are not taken for new ones."""

WHEEL_PLATFORMS = tuple(
    f"manylinux{glibc}_x86_64" for glibc in ("_2_36", "_2_34", "_2_28", "_2_17", "2014")
)
"""What Debian 12's C library (2.36) can load."""

LAUNCHERS = {
    "kubedcos": "kubedcos.cli.main",
    "mesos-master": "kubedcos.embedded.master",
    "mesos-agent": "kubedcos.embedded.agent",
    "mesos-cni-port-mapper": "kubedcos.embedded.agent.port_mapper",
    "mesos-dns": "kubedcos.embedded.mesos_dns",
}
"""Program -> module run as ``__main__``."""

MESOS_LINKS = {
    "mesos/sbin/mesos-master": "../../bin/mesos-master",
    "mesos/sbin/mesos-agent": "../../bin/mesos-agent",
    "mesos/libexec/mesos/mesos-cni-port-mapper": "../../../bin/mesos-cni-port-mapper",
}
"""Where a prefix of Apache Mesos has its programs -> ours."""

_LAUNCHER = """\
#!/usr/bin/python3 -IB
import os, runpy, sys

tree = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, os.path.join(tree, "lib"))
{body}"""

_RUN_ONE = """\
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""

_RUN_ANY = """\
if len(sys.argv) < 3 or sys.argv[1] != "-m":
    sys.exit("usage: kubedcos-python -m MODULE [ARGUMENT...]")
del sys.argv[:2]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def launchers() -> dict[str, bytes]:
    """The programs of the tree's ``bin`` by name.

    Python runs isolated (-I): neither the caller's environment nor the folder it stands in can
    slip a module in. `kubedcos-python -m MODULE` runs any module of the tree.
    """
    texts = {
        name: _LAUNCHER.format(body=_RUN_ONE.format(module=module))
        for name, module in LAUNCHERS.items()
    }
    texts["kubedcos-python"] = _LAUNCHER.format(body=_RUN_ANY)
    return {name: text.encode() for name, text in texts.items()}


def target_options(python: str) -> list[str]:
    """Options that make pip choose wheels for the hosts instead of for this machine."""
    digits = python.replace(".", "")
    return [
        "--only-binary=:all:",
        "--implementation=cp",
        f"--python-version={python}",
        *(f"--platform={platform}" for platform in WHEEL_PLATFORMS),
        *(f"--abi={abi}" for abi in (f"cp{digits}", "abi3", "none")),
    ]


@dataclass(frozen=True, slots=True)
class PythonTree:
    """Builds the tree.

    Attributes:
        source: the manifest's settings.
        requirements: file of pinned wheels.
        package: folder of the package's source.
        extra: folders that go along below ``share/kubedcos``, such as ``templates``.
        cache: folder for the installed wheels.
        store: locks and unfinished files.
    """

    source: PythonSource
    requirements: Path
    package: Path
    extra: tuple[Path, ...]
    cache: Path
    store: Store

    def fingerprint(self) -> str:
        """Hash of everything that the archive is made from."""
        digest = hashlib.sha256(self._wheels_fingerprint().encode())
        for path, name in self._own_files():
            digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()

    def build(self, target: Path, work: Path, on_wait: Callable[[], None] | None = None) -> None:
        """Write the archive to `target`.

        Args:
            target: a file to be made.
            work: an empty folder.
            on_wait: called when another run is installing the wheels.

        Raises:
            ProgramFailed: pip cannot install the wheels.
        """
        wheels = self.install_wheels(on_wait)
        own = work / "own"
        for path, name in self._own_files():
            copy = own / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        if (own / "lib").is_dir():
            self._compile(own / "lib")
        entries = [Entry(f"bin/{name}", text, mode=0o755) for name, text in launchers().items()]
        entries += [Entry(name, link=target) for name, target in MESOS_LINKS.items()]
        entries += _tree_entries(wheels, "lib/")
        entries += _tree_entries(own, "")
        # Level 1: the network inside a site is faster than a better ratio.
        with (
            disk_errors(target.parent),
            target.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as stream,
        ):
            write_tar(stream, entries)

    def install_wheels(self, on_wait: Callable[[], None] | None = None) -> Path:
        """The folder with the installed and compiled wheels, made when it is not there.

        Raises:
            ProgramFailed: pip cannot install them.
        """
        folder = self.cache / "python-deps" / self._wheels_fingerprint()[:16]
        if folder.exists():
            return folder
        with self.store.lock("python-deps", on_wait), self.store.work("python") as work:
            if folder.exists():
                return folder
            tree = work / "lib"
            with disk_errors(work):
                self._pip_install(tree, work)
                shutil.rmtree(tree / "bin", ignore_errors=True)
                self._compile(tree)
                folder.parent.mkdir(parents=True, exist_ok=True)
                tree.replace(folder)
        return folder

    def _pip_install(self, tree: Path, work: Path) -> None:
        run(
            [
                *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"),
                *("--require-hashes", *target_options(self.source.python)),
                *("--target", tree, "--requirement", self.requirements),
            ],
            what="installing the wheels of the hosts' Python tree",
            cwd=work,
            env=environment(pip_settings(), PIP_ROOT_USER_ACTION="ignore"),
        )

    def _compile(self, tree: Path) -> None:
        """Compile for the hosts' Python; hosts never write below /opt, and times do not count."""
        if f"{sys.version_info.major}.{sys.version_info.minor}" != self.source.python:
            return  # byte code of another Python would only be dead weight
        compileall.compile_dir(
            tree,
            quiet=2,
            stripdir=str(tree),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            workers=0,
        )

    def _wheels_fingerprint(self) -> str:
        this = f"{sys.version_info.major}.{sys.version_info.minor}"
        compiled = this == self.source.python
        head = f"{FORMAT}\0{self.source.python}\0{compiled}\0".encode()
        shims = b"\0".join(launchers().values())
        return hashlib.sha256(head + shims + self.requirements.read_bytes()).hexdigest()

    def _own_files(self) -> Iterable[tuple[Path, str]]:
        roots = [(self.package, f"lib/{self.package.name}")]
        roots += [(folder, f"share/kubedcos/{folder.name}") for folder in self.extra]
        for root, prefix in roots:
            for path in sorted(root.rglob("*")) if root.is_dir() else ():
                if path.is_file() and "__pycache__" not in path.parts:
                    yield path, f"{prefix}/{path.relative_to(root)}"


def _tree_entries(root: Path, prefix: str) -> list[Entry]:
    return [
        Entry(
            prefix + str(path.relative_to(root)),
            path,
            mode=0o755 if path.suffix == ".so" else 0o644,
        )
        for path in sorted(root.rglob("*"))
        if path.is_file()
    ]
