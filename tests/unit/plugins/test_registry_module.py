"""The image module, run as Ansible runs it, against a registry of this test."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

Run = Callable[..., dict[str, Any]]


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry(ThreadingHTTPServer):
    """The part of the distribution API that a push needs, in memory."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, code: int, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"] or 0))

    def do_HEAD(self) -> None:
        kind, key = self.path.split("/")[-2:]
        if kind == "blobs":
            self.answer(200 if key in self.server.blobs else 404)
        elif (content := self.server.manifests.get(self.path)) is not None:
            self.answer(200, Docker_Content_Digest=digest_of(content))
        else:
            self.answer(404)

    def do_POST(self) -> None:
        self.body()
        self.answer(202, Location=f"{self.path}1?state=x")

    def do_PUT(self) -> None:
        content = self.body()
        if "/manifests/" in self.path:
            self.server.manifests[self.path] = content
        else:
            key = parse_qs(urlsplit(self.path).query)["digest"][0]
            if digest_of(content) != key:
                self.answer(400)
                return
            self.server.blobs[key] = content
            self.server.uploads += 1
        self.answer(201)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def image(tmp_path: Path) -> dict[str, str]:
    return make_image(tmp_path / "pause.tar")


def make_image(path: Path, reference: str = "registry.k8s.io/pause:3.10.1") -> dict[str, str]:
    config, layer = b'{"os":"linux"}', b"a layer"
    manifest = json.dumps(
        {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {"digest": digest_of(config), "size": len(config)},
            "layers": [{"digest": digest_of(layer), "size": len(layer)}],
        }
    ).encode()
    with tarfile.open(path, "w") as archive:
        for content in (config, layer, manifest):
            name = digest_of(content).removeprefix("sha256:")
            member = tarfile.TarInfo(f"blobs/sha256/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return {"reference": reference, "archive": str(path), "digest": digest_of(manifest)}


def test_image_is_pushed_under_its_name_without_host_and_then_left_alone(
    run_module: Run, registry: Registry, image: dict[str, str]
) -> None:
    first = run_module("kubedcos_registry", url=registry.url, images=[image])
    assert first["pushed"] == ["registry.k8s.io/pause:3.10.1"]
    assert digest_of(registry.manifests["/v2/pause/manifests/3.10.1"]) == image["digest"]
    assert b"a layer" in registry.blobs.values()
    second = run_module("kubedcos_registry", url=registry.url, images=[image])
    assert second["changed"] is False
    assert registry.uploads == 2


def test_blobs_that_are_there_are_not_sent_again(
    run_module: Run, registry: Registry, image: dict[str, str]
) -> None:
    registry.blobs[digest_of(b"a layer")] = b"a layer"
    assert run_module("kubedcos_registry", url=registry.url, images=[image])["changed"] is True
    assert registry.uploads == 1


def test_check_mode_says_what_is_missing_even_without_a_registry(
    run_module: Run, registry: Registry, image: dict[str, str]
) -> None:
    result = run_module("kubedcos_registry", url=registry.url, images=[image], check=True)
    assert result["pushed"] == [image["reference"]]
    assert registry.manifests == {}
    absent = run_module("kubedcos_registry", url="http://127.0.0.1:1", images=[image], check=True)
    assert absent["changed"] is True


def test_image_of_docker_hub_without_folder_is_of_its_library(
    run_module: Run, registry: Registry, tmp_path: Path
) -> None:
    short = make_image(tmp_path / "a.tar", "busybox:1")
    run_module("kubedcos_registry", url=registry.url, images=[short])
    assert list(registry.manifests) == ["/v2/library/busybox/manifests/1"]


def test_archive_with_another_image_is_refused_with_its_name(
    run_module: Run, registry: Registry, image: dict[str, str]
) -> None:
    wrong = image | {"digest": digest_of(b"something else")}
    result = run_module("kubedcos_registry", url=registry.url, images=[wrong])
    assert image["archive"] in result["msg"]
    assert wrong["digest"] in result["msg"]
    assert registry.manifests == {}
