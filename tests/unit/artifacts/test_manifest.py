"""The manifest refuses what is wrong and expands what is right; the shipped one is complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kubedcos
from kubedcos.artifacts.manifest import Manifest, find, load, parse
from kubedcos.artifacts.sources import GoSource, SourceKind
from kubedcos.errors import ExitCode, InvalidInput


def test_expands_placeholders_per_version(manifest: Manifest) -> None:
    kubelet = next(a for a in manifest.all if a.label == "kubelet 1.36.3")
    source = next(s for s in kubelet.sources if isinstance(s, GoSource))
    assert source.module == "kubernetes-1.36.3"
    assert source.stamps == {"date": "2026-07-22T18:07:38Z", "minor": "36"}


def test_only_the_chosen_version_is_wanted(manifest: Manifest) -> None:
    labels = [a.label for a in manifest.chosen(manifest.choice("lab", "1.35.4"))]
    assert "kubelet 1.35.4" in labels
    assert "kubelet 1.36.3" not in labels
    assert "etcd 3.6.16" in labels


def test_unknown_kubernetes_version_names_the_known_ones(manifest: Manifest) -> None:
    with pytest.raises(InvalidInput, match=r"found 1\.30\.0; wanted one of 1\.36\.3, 1\.35\.4"):
        manifest.chosen(manifest.choice("lab", "1.30.0"))


def test_a_component_of_choice_needs_one(manifest: Manifest) -> None:
    with pytest.raises(InvalidInput, match="kubernetes: found nothing; wanted a version"):
        manifest.chosen({})


def test_unknown_set_is_refused(manifest: Manifest) -> None:
    with pytest.raises(InvalidInput, match="found moon; wanted one of lab"):
        manifest.choice("moon")


def test_what_an_image_is_made_from_comes_along_and_before_it(manifest: Manifest) -> None:
    among = manifest.chosen(manifest.choice())
    wanted = [a for a in among if a.name == "image-etcd"]
    assert [a.name for a in manifest.with_needs(wanted, among)] == ["etcd", "image-etcd"]


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("licence: Apache-2.0", "license: Apache-2.0", "licence"),
        ("kind: mirror", "kind: carrier-pigeon", "sources"),
        ("schema: 1", "schema: 2", "schema"),
        ("etcd, /note", "zookeeper, /note", "image-etcd 1"),
        ("{kubernetes: 1.36.3}", "{kubernetes: 1.30.0}", "sets.lab"),
        ("name: etcdctl", "name: etcd", "artifacts.yml"),
    ],
)
def test_refuses_with_the_place(manifest_text: str, old: str, new: str, where: str) -> None:
    assert old in manifest_text
    with pytest.raises(InvalidInput) as caught:
        parse(manifest_text.replace(old, new, 1), Path("artifacts.yml"))
    assert where in str(caught.value)
    assert caught.value.exit_code is ExitCode.USAGE


def test_refuses_a_sum_that_is_none(manifest_text: str) -> None:
    broken = re.sub(r"(release: )[0-9a-f]{64}", r"\1abc", manifest_text, count=1)
    with pytest.raises(InvalidInput, match="release"):
        parse(broken, Path("artifacts.yml"))


def test_broken_yaml_names_the_line() -> None:
    with pytest.raises(InvalidInput, match=r"artifacts\.yml:2"):
        parse("schema: 1\n: : :\n  - [", Path("artifacts.yml"))


def test_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        load(tmp_path / "artifacts.yml")


@pytest.fixture(scope="module")
def shipped() -> Manifest:
    return load(find())


def test_every_shipped_artifact_of_the_lab_is_pinned(shipped: Manifest) -> None:
    unpinned = {a.label for a in shipped.chosen(shipped.choice()) if not a.sha256}
    assert unpinned == {f"kubedcos-runtime {kubedcos.__version__}"}


def test_shipped_versions_of_kubernetes_are_pinned(shipped: Manifest) -> None:
    assert shipped.versions("kubernetes") == ("1.36.3", "1.35.4", "1.34.4")
    missing = {a.label for a in shipped.all if a.component == "kubernetes" and not a.sha256}
    assert missing == set()


def test_shipped_go_builds_have_their_module_files(shipped: Manifest) -> None:
    for artifact in shipped.all:
        for source in artifact.sources:
            if not isinstance(source, GoSource):
                continue
            folder = shipped.data / "go" / source.module
            module = (folder / "go.mod").read_text()
            sums = (folder / "go.sum").read_text()
            assert f" v{artifact.version}" in module, artifact.label
            assert f" v{artifact.version} h1:" in sums, artifact.label
            for package in (artifact.packages or {"": artifact.package}).values():
                assert re.search(rf"^\t?(tool )?{re.escape(package)}$", module, re.MULTILINE)


def test_shipped_wheels_have_the_control_machines_versions(shipped: Manifest) -> None:
    root = shipped.path.parent
    constraints = set(
        re.findall(r"^[a-z0-9-]+==[^\s]+", (root / "constraints.txt").read_text(), re.MULTILINE)
    )
    wheels = re.findall(
        r"^([a-z0-9-]+==[^\s]+) --hash=sha256:[0-9a-f]{64}$",
        (shipped.data / "python" / "requirements.txt").read_text(),
        re.MULTILINE,
    )
    assert len(wheels) > 30
    assert set(wheels) <= constraints


def test_shipped_releases_without_a_sum_are_only_offered(shipped: Manifest) -> None:
    kubelet = next(a for a in shipped.all if a.label == "kubelet 1.36.3")
    assert kubelet.sums[SourceKind.RELEASE] != kubelet.sums[SourceKind.GO]
