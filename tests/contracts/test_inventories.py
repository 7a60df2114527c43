"""Every inventory that we ship passes preflight's inventory checks; broken copies do not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
INVENTORIES = sorted(path.name for path in (ROOT / "inventories").iterdir() if path.is_dir())
Play = Callable[..., dict[str, Any]]


def findings(play: Play, inventory: Path, *extra: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = play(inventory, "inventory_findings.yml", *extra)["msg"]
    return found


@pytest.mark.parametrize("name", INVENTORIES)
def test_shipped_inventories_pass(play: Play, name: str) -> None:
    assert findings(play, ROOT / "inventories" / name) == []


def test_a_spoilt_copy_is_refused_with_everything_that_is_wrong(play: Play, tmp_path: Path) -> None:
    copy = tmp_path / "inventory"
    shutil.copytree(ROOT / "inventories/sample", copy)
    hosts = (copy / "hosts.yml").read_text()
    (copy / "hosts.yml").write_text(
        hosts.replace("host_index: 12", "host_index: 11", 1).replace("zone: madrid-2", "", 1)
    )
    mesos = copy / "group_vars/all/mesos.yml"
    mesos.write_text(mesos.read_text().replace("mesos_agent_cpus", "mesos_agent_cpu"))
    found = {item["id"]: item for item in findings(play, copy)}
    assert set(found) == {"host-index-duplicate", "host-zone-missing", "variable-unknown"}
    assert found["variable-unknown"]["fix"] == "Did you mean mesos_agent_cpus?"
    assert found["host-zone-missing"]["host"] == "host madrid-agent-3"


def test_a_misspelt_extra_variable_is_refused(play: Play) -> None:
    found = findings(play, ROOT / "inventories/sample", "-e", "mesos_distributon=archive")
    assert [item["fix"] for item in found] == ["Did you mean mesos_distribution?"]


def test_what_ssh_is_told_of_the_lab_lies_where_the_lab_is_made(
    play: Play, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lab goes by HOME; ssh takes a ~ for the home of the account, which may be another."""
    monkeypatch.setenv("HOME", str(tmp_path))
    told = play(ROOT / "inventories/lab", "lab_connection.yml")["msg"]
    made = tmp_path / ".cache/kubedcos/lab/kubedcos"
    assert f"UserKnownHostsFile={made}/known_hosts" in told
    assert told.endswith(f"-i {made}/id_ed25519")
