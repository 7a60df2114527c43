"""Variables that nothing reads are found, with what was probably meant."""

from __future__ import annotations

import pytest

from kubedcos.topology.variables import unknown_variables

ROLES = ["mesos_agent_cpus", "overlay_state", "storage_disks"]


@pytest.mark.parametrize(
    "name",
    [
        "mesos_agent_cpus",
        "overlays",
        "region",
        "ansible_host",
        "inventory_hostname",
        "lab_networks",
        "_own",
        "groups",
        "ansible_become",
        "ansible_become_pass",
        "ansible_ssh_user",
        "ansible_ssh_args",
        "ansible_hostname",
    ],
)
def test_known_names_pass(name: str) -> None:
    assert unknown_variables({"a1": [name]}, ROLES) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("mesos_agent_cpu", "mesos_agent_cpus"),
        ("overlay", "overlays"),
        ("regoin", "region"),
        ("storage_disk", "storage_disks"),
        ("ansible_becom", "ansible_become"),
        ("ansible_usr", "ansible_user"),
    ],
)
def test_misspelt_names_are_found_with_the_right_one(name: str, meant: str) -> None:
    (problem,) = unknown_variables({"a1": [name], "a2": []}, ROLES)
    assert problem.id == "variable-unknown"
    assert problem.where == f"variable {name} (host a1)"
    assert problem.fix == f"Did you mean {meant}?"


def test_a_name_like_no_other_is_found_too() -> None:
    (problem,) = unknown_variables({"a1": ["frobnication"]}, ROLES)
    assert problem.where == "variable frobnication (all hosts)"
    assert "Did you mean" not in problem.fix
