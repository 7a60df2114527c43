"""What the playbooks make of an inventory for the roles."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kubedcos.api.settings import DaemonSettings

ROOT = Path(__file__).parents[2]
Play = Callable[..., dict[str, Any]]


def builds(play: Play, *cases: dict[str, Any]) -> list[str]:
    """What masters and agents are told is installed; another text restarts them."""
    extra = ("-e", json.dumps({"cases": cases}))
    answer = play(ROOT / "inventories/sample", "mesos_builds.yml", *extra)
    return [result["msg"] for result in answer["results"]]


def test_schedulers_know_how_patient_the_masters_are_with_agents(play: Play) -> None:
    cases = [
        {},
        {"mesos_master_agent_ping_timeout": "20secs"},
        {"mesos_master_extra_flags": ["--max_agent_ping_timeouts=9"]},
    ]
    extra = ("-e", json.dumps({"cases": cases}))
    answer = play(ROOT / "inventories/sample", "scheduler_settings.yml", *extra)
    found = [DaemonSettings.model_validate(result["msg"]) for result in answer["results"]]
    assert [settings.mesos.agent_lost_seconds for settings in found] == [120, 150, 180]


def test_packages_that_come_later_restart_mesos(play: Play) -> None:
    archive = {"mesos_distribution": "archive", "mesos_archive_sha256": "5a" * 32}
    bare, one, two, turned, package, pinned = builds(
        play,
        archive,
        {**archive, "mesos_archive_packages": ["libsvn1"]},
        {**archive, "mesos_archive_packages": ["libsvn1", "libsasl2-modules"]},
        {**archive, "mesos_archive_packages": ["libsasl2-modules", "libsvn1"]},
        {"mesos_distribution": "package"},
        {"mesos_distribution": "package", "mesos_package_names": ["mesos=1.11.0"]},
    )
    assert bare == "5a" * 32
    assert len({bare, one, two}) == 3
    assert turned == two
    assert package != pinned
