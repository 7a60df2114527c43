import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubedcos.errors import InvalidInput
from kubedcos.lab.registry import images, normal_reference, push, registry_path


def archive(path: Path, **members: Any) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, document in members.items():
            data = json.dumps(document).encode()
            info = tarfile.TarInfo(name.replace("_json", ".json"))
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("written", "normal", "repository", "tag"),
    [
        ("registry.k8s.io/pause:3.10.1", "registry.k8s.io/pause:3.10.1", "pause", "3.10.1"),
        ("busybox", "docker.io/library/busybox:latest", "library/busybox", "latest"),
        ("kubedcos/web:1", "docker.io/kubedcos/web:1", "kubedcos/web", "1"),
        ("localhost/x:2", "localhost/x:2", "x", "2"),
        ("reg.example:5000/a/b", "reg.example:5000/a/b:latest", "a/b", "latest"),
    ],
)
def test_names_are_those_that_a_node_asks_a_mirror_for(
    written: str, normal: str, repository: str, tag: str
) -> None:
    assert normal_reference(written) == normal
    assert registry_path(normal) == (repository, tag)


def test_a_docker_archive_may_hold_several_images(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", manifest_json=[{"RepoTags": ["x:1", "y:2"]}])
    assert [image.reference for image in images(path)] == [
        "docker.io/library/x:1",
        "docker.io/library/y:2",
    ]
    assert images(path)[0].source == f"docker-archive:{path}:x:1"


def test_an_oci_archive_names_its_image_in_an_annotation(tmp_path: Path) -> None:
    annotation = {"org.opencontainers.image.ref.name": "registry.k8s.io/pause:3.10.1"}
    path = archive(tmp_path / "a.tar", index_json={"manifests": [{"annotations": annotation}]})
    assert [image.reference for image in images(path)] == ["registry.k8s.io/pause:3.10.1"]


@pytest.mark.parametrize(
    "members",
    [
        {"other_json": {}},
        {"manifest_json": [{"RepoTags": None}]},
        {"index_json": {"manifests": [{}]}},
    ],
)
def test_an_archive_without_named_images_is_refused(tmp_path: Path, members: Any) -> None:
    path = archive(tmp_path / "a.tar", **members)
    with pytest.raises(InvalidInput) as caught:
        images(path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_text("no archive")
    with pytest.raises(InvalidInput):
        images(path)
    with pytest.raises(InvalidInput):
        images(tmp_path / "missing.tar")


def test_each_image_is_copied_to_the_registry_under_its_own_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", manifest_json=[{"RepoTags": ["kubedcos/web:1"]}])
    ran: list[list[str]] = []

    def runner(argv: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        ran.append(list(argv))
        return subprocess.CompletedProcess(argv, 0, stdout="sha256:abc\n", stderr="")

    pushed = push(path, "10.1.0.10:5000", runner=runner)

    assert ran[0][-2:] == [
        f"docker-archive:{path}:kubedcos/web:1",
        "docker://10.1.0.10:5000/kubedcos/web:1",
    ]
    assert (pushed[0].reference, pushed[0].digest) == ("docker.io/kubedcos/web:1", "sha256:abc")
