"""What a node's supervisor finds on the host and leaves behind there."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubedcos.kubernetes.launcher import node_cgroups, supervise_node

from .agent_programs import MOUNTINFO


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib/kubedcos/k", "xfs"), ("/var/lib/kubedcosx", "ext4"), ("/", "ext4")],
)
def test_the_filesystem_of_a_folder(monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    monkeypatch.setattr(supervise_node, "read", lambda _: MOUNTINFO)
    assert supervise_node.filesystem_of(path) == kind


def test_where_leases_are_is_read_from_the_overlays_configuration(tmp_path: Path) -> None:
    with pytest.raises(node_cgroups.Failure, match="is the overlay set up"):
        supervise_node.lease_stores(str(tmp_path))
    for ipam, stores in (
        ({"type": "host-local", "dataDir": "/x"}, ["/x"]),
        ({"type": "host-local"}, ["/var/lib/cni/networks"]),
    ):
        plugins = [{"type": "bridge", "ipam": ipam}, {"type": "portmap"}]
        (tmp_path / "10-k.conflist").write_text(json.dumps({"name": "k", "plugins": plugins}))
        assert supervise_node.lease_stores(str(tmp_path)) == stores


def test_a_node_gives_back_its_own_leases_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes, store = tmp_path / "notes", tmp_path / "store"
    (notes / "results").mkdir(parents=True)
    (store / "kubernetes").mkdir(parents=True)
    monkeypatch.setattr(supervise_node, "CNI_NOTES", str(notes))
    result = {"kind": "cniCacheV1", "networkName": "kubernetes", "containerId": "pod-1"}
    (notes / "results/kubernetes-pod-1-eth0").write_text(json.dumps(result))
    (notes / "results/half-written").write_text('{"kind": ')
    leases = {"10.0.0.2": "pod-1\r\neth0", "10.0.0.3": "another-node\r\neth0", "fd00::2": "pod-1"}
    for name, text in {**leases, "lock": "", "last_reserved_ip.0": "10.0.0.3"}.items():
        (store / "kubernetes" / name).write_text(text)
    supervise_node.return_leases([str(store)])
    left = sorted(path.name for path in (store / "kubernetes").iterdir())
    assert left == ["10.0.0.3", "last_reserved_ip.0", "lock"]
    assert not list((notes / "results").iterdir())


def test_a_program_that_ends_too_often_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise_node.time, "sleep", lambda _: None)
    program = supervise_node.Program("kubelet", ["/bin/false"])
    for _ in range(supervise_node.MOST_RESTARTS):
        program.child.wait(60)
        program.keep_running()
    program.child.wait(60)
    with pytest.raises(supervise_node.Failure, match="kubelet ended too often, last with status 1"):
        program.keep_running()
