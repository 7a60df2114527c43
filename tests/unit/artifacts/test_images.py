"""An image archive is an OCI layout with true digests, and what docker and podman load."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubedcos.artifacts.images import ImageFile, manifest_digest, write_image
from kubedcos.artifacts.sources import ImageSource, SourceKind
from kubedcos.errors import KubedcosError

SOURCE = ImageSource(
    kind=SourceKind.IMAGE,
    reference="registry.test/web:1",
    files={"/bin/web": "web"},
    links={"/bin/sh": "web"},
    entrypoint=("/bin/web",),
    cmd=("-p", "8080"),
    environment={"B": "2", "A": "1"},
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    program = tmp_path / "web"
    program.write_bytes(b"\x7fELF")
    write_image(SOURCE, "linux/amd64", (ImageFile("/bin/web", program, True),), tmp_path / "i.tar")
    return tmp_path / "i.tar"


def contents(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {i.name: tar.extractfile(i).read() for i in tar if i.isfile()}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    content = files["blobs/sha256/" + descriptor["digest"].removeprefix("sha256:")]
    assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
    assert len(content) == descriptor["size"]
    return content


def test_every_digest_is_true(archive: Path) -> None:
    files = contents(archive)
    descriptor = json.loads(files["index.json"])["manifests"][0]
    manifest = json.loads(blob(files, descriptor))
    config = json.loads(blob(files, manifest["config"]))
    layer = gzip.decompress(blob(files, manifest["layers"][0]))
    assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    assert manifest_digest(archive) == descriptor["digest"]
    assert descriptor["annotations"]["io.containerd.image.name"] == "registry.test/web:1"


def test_the_layer_has_the_files(archive: Path) -> None:
    files = contents(archive)
    docker = json.loads(files["manifest.json"])[0]
    layer = io.BytesIO(gzip.decompress(files[docker["Layers"][0]]))
    with tarfile.open(fileobj=layer) as tar:
        assert tar.getmember("bin/web").mode == 0o755
        assert tar.getmember("bin/sh").linkname == "web"
        assert tar.getmember("tmp").mode == 0o1777
        assert "etc/passwd" in tar.getnames()


def test_docker_and_oci_agree(archive: Path) -> None:
    files = contents(archive)
    docker = json.loads(files["manifest.json"])[0]
    assert docker["RepoTags"] == ["registry.test/web:1"]
    config = json.loads(files[docker["Config"]])
    assert config["config"]["Entrypoint"] == ["/bin/web"]
    assert config["config"]["Cmd"] == ["-p", "8080"]
    assert config["config"]["User"] == "65532:65532"
    assert config["config"]["Env"][1:] == ["A=1", "B=2"]
    assert (config["os"], config["architecture"]) == ("linux", "amd64")


def test_the_same_twice(archive: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "web").write_bytes(b"\x7fELF")
    files = (ImageFile("/bin/web", other / "web", True),)
    write_image(SOURCE, "linux/amd64", files, other / "i.tar")
    assert (other / "i.tar").read_bytes() == archive.read_bytes()


def test_what_is_no_archive_is_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar at all")
    with pytest.raises(KubedcosError, match=r"x\.tar is no image archive"):
        manifest_digest(tmp_path / "x.tar")
