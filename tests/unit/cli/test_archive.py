"""The archive for a supporter has what is needed, and none of the secrets planted in any source."""

from __future__ import annotations

import base64
import json
import stat
import tarfile
from pathlib import Path

import pytest

from kubedcos.cli.archive import local, members, write
from kubedcos.errors import InvalidInput

KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49\n-----END PRIVATE KEY-----"
TOKEN = "operator-token-of-this-machine"
PLANTED = {
    "key": KEY,
    "token": "Bearer 7f3a9c0d1e2b4a5f",
    "password": "password: correct-horse-battery",
    "kubeconfig": f"client-key-data: {base64.b64encode(KEY.encode()).decode()}",
    "own": TOKEN,
}
TRACES = (
    "MIGHAgEAMBMG",
    "7f3a9c0d1e2b4a5f",
    "correct-horse-battery",
    base64.b64encode(KEY.encode()).decode()[40:80],
    TOKEN,
)


def planted() -> str:
    return "\n".join(["before", *PLANTED.values(), "after"])


def everything() -> dict[str, str]:
    """The files of an archive made of sources that all hold every planted secret."""
    cluster = {
        part: {"note": planted(), "nested": [{"more": planted(), "password": "pw"}]}
        for part in (
            *("options", "plans", "pods", "tasks", "agents", "reservations", "interruptions"),
            *("actions", "certificates", "state_bytes", "health", "something-new"),
        )
    }
    support = {
        "version": "1",
        "settings": {"mesos": {"secret": "pw", "note": planted()}},
        "log": [planted()],
        "clusters": [
            {**cluster, "name": "k1", "outputs": {"etcd-0-server.stderr": planted()}},
            {**cluster, "name": "../../etc", "outputs": {"../../passwd": planted()}},
        ],
    }
    return members(
        findings=[{"id": "api", "seen": planted()}],
        local={**local("lab", ["https://user:secret-login@10.0.0.1:8443"]), "error": planted()},
        support=support,
        metrics=planted(),
        preflight=planted(),
        known=[TOKEN],
    )


def test_planted_secrets_are_in_no_file() -> None:
    files = everything()
    assert len(files) > 25
    for name, text in files.items():
        for trace in (*TRACES, "secret-login"):
            assert trace not in text, (name, trace)
    for name in files:
        if name != "README.txt" and not name.startswith("clusters/"):
            assert "[redacted]" in files[name], name
    assert "before" in files["clusters/k1/outputs/etcd-0-server.stderr"]


def test_names_stay_within_the_archive() -> None:
    for name in everything():
        parts = Path(name).parts
        assert ".." not in parts
        assert not name.startswith("/")


def test_the_file_is_its_owners_alone_and_never_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "support.tar.gz"
    write(path, everything())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as archive:
        names = archive.getnames()
        assert "support/findings.json" in names
        found = archive.extractfile("support/findings.json")
        assert found is not None
        assert json.loads(found.read())[0]["id"] == "api"
    with pytest.raises(InvalidInput, match="a new file"):
        write(path, {})


def test_without_a_scheduler_there_are_findings_still() -> None:
    files = members(
        findings=[], local=local("", ()), support=None, metrics="", preflight="", known=()
    )
    assert set(files) == {"README.txt", "findings.json", "local.json"}
