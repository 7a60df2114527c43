"""The records made of a state, held to what Mesos-DNS made of the same state."""

from __future__ import annotations

import pytest
from tests.contracts.mesos_dns.recordings import lookup, read_recording, runs

from kubedcos.embedded.mesos_dns import config, records, zone


def in_any_order(table: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: sorted(values) for name, values in table.items()}


@pytest.mark.parametrize(("state", "run"), runs(lambda run: "axfr" in run))
def test_zone_equals_the_recorded_one(state: dict, run: dict) -> None:
    made = records.generate(state, config.parse(run["config"]), lookup)
    recorded = run["axfr"]["Records"]
    assert in_any_order(made.a) == in_any_order(recorded["As"])
    assert in_any_order(made.aaaa) == in_any_order(recorded["AAAAs"])
    assert in_any_order(made.srv) == in_any_order(recorded["SRVs"])


@pytest.mark.parametrize(("state", "run"), runs(lambda run: "axfr" in run))
def test_records_are_listed_under_the_task_that_made_them(state: dict, run: dict) -> None:
    made = records.generate(state, config.parse(run["config"]), lookup)
    recorded = {
        (framework["name"], task["id"]): sorted(
            (row["name"], row["host"], row["rtype"]) for row in task["records"] or ()
        )
        for framework in run["enumerate"]["frameworks"] or ()
        for task in framework["tasks"] or ()
    }
    listed = {
        (framework, task.id): sorted(task.rows)
        for framework, tasks in made.frameworks
        for task in tasks
    }
    assert listed == recorded


def test_names_that_dns_cannot_carry_stay_out_of_the_zone() -> None:
    recording = read_recording("zone-framework-names.json")
    settings = config.parse(recording["runs"][0]["config"])
    made = records.generate(recording["state"], settings, lookup)
    lines = zone.render(made, settings, 7).splitlines()
    owners = [line.split()[0] for line in lines[2:]]
    assert owners
    assert any(".." in name for name in made.a), "the recording has lost its unservable names"
    assert all(label for name in owners for label in name[:-1].split("."))
    assert max(len(label) for name in owners for label in name.split(".")) <= 63


@pytest.mark.parametrize(
    ("key", "value"),
    [("pid", ""), ("pid", None), ("pid", "slave(1)@10.0.0.1"), ("pid", "slave(1)@nowhere:5051")],
)
def test_state_with_a_bad_agent_is_refused_whole(key: str, value: object) -> None:
    state = {
        "leader": "master@10.20.0.1:5050",
        "slaves": [{"id": "S0", "hostname": "x", "pid": "slave(1)@10.0.0.1:5051", key: value}],
        "frameworks": [],
    }
    settings = config.parse({"masters": ["10.20.0.1:5050"]})
    with pytest.raises(records.BadState):
        records.generate(state, settings, lookup)
