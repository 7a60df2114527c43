from pathlib import Path
from typing import Any

import msgspec
import pytest

from kubedcos.embedded.agent import volumes
from kubedcos.embedded.agent.paths import Layout
from kubedcos.embedded.agent.volumes import VolumeError
from kubedcos.mesos.messages import Resource


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "work", tmp_path / "run")


def volume(name: str = "v1", source: dict[str, Any] | None = None, path: str = "data") -> Resource:
    disk: dict[str, Any] = {
        "persistence": {"id": name},
        "volume": {"mode": "RW", "container_path": path},
    }
    if source is not None:
        disk["source"] = source
    return msgspec.convert(
        {
            "name": "disk",
            "type": "SCALAR",
            "scalar": {"value": 64},
            "reservations": [{"type": "DYNAMIC", "role": "kubernetes/etcd"}],
            "disk": disk,
        },
        Resource,
    )


def test_made_linked_and_erased(layout: Layout, tmp_path: Path) -> None:
    one, two = volume("v1"), volume("v2", path="deep/er")
    volumes.apply(layout, [], [one, two])
    directory = layout.work_dir / "volumes/roles/kubernetes etcd/v1"
    assert directory.is_dir()
    sandbox = tmp_path / "sandbox"
    sandbox.mkdir()
    volumes.give(layout, sandbox, [one, two], None, mounted=False)
    (sandbox / "data/file").write_text("kept")
    assert (directory / "file").read_text() == "kept"
    assert (sandbox / "deep/er").is_dir()
    volumes.apply(layout, [one, two], [two])
    assert not directory.exists()
    assert (sandbox / "deep/er").is_dir()


def test_data_outlives_a_list_that_names_it_again(layout: Layout) -> None:
    one = volume()
    volumes.apply(layout, [], [one])
    (volumes.volume_directory(layout, one) / "file").write_text("kept")
    volumes.apply(layout, [one], [one])
    assert (volumes.volume_directory(layout, one) / "file").exists()


def test_path_and_mount_disks(layout: Layout, tmp_path: Path) -> None:
    path = volume("v1", {"type": "PATH", "path": {"root": f"{tmp_path}/p"}})
    mount = volume("v2", {"type": "MOUNT", "mount": {"root": f"{tmp_path}/m"}})
    volumes.apply(layout, [], [path, mount])
    assert (tmp_path / "p/volumes/roles/kubernetes etcd/v1").is_dir()
    (tmp_path / "m/sub").mkdir()
    (tmp_path / "m/sub/file").touch()
    volumes.apply(layout, [path, mount], [])
    assert not (tmp_path / "p/volumes/roles/kubernetes etcd/v1").exists()
    assert list((tmp_path / "m").iterdir()) == []


def test_other_disks_are_refused(layout: Layout) -> None:
    with pytest.raises(VolumeError, match="BLOCK"):
        volumes.make(layout, volume(source={"type": "BLOCK"}))


@pytest.mark.parametrize("path", ["/data", "../data", "a/../../b"])
def test_a_container_path_stays_in_the_sandbox(layout: Layout, tmp_path: Path, path: str) -> None:
    one = volume(path=path)
    volumes.make(layout, one)
    with pytest.raises(VolumeError, match="within the sandbox"):
        volumes.give(layout, tmp_path, [one], None, mounted=False)


def test_a_volume_that_was_lost_is_told(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match="does not exist"):
        volumes.give(layout, tmp_path, [volume()], None, mounted=False)


def test_a_place_that_is_taken_is_told(layout: Layout, tmp_path: Path) -> None:
    volumes.make(layout, volume())
    (tmp_path / "data").touch()
    with pytest.raises(VolumeError, match="Failed to symlink"):
        volumes.give(layout, tmp_path, [volume()], None, mounted=False)
