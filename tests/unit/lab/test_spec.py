import copy
from ipaddress import IPv4Address
from typing import Any

import pytest

from kubedcos.errors import InvalidInput
from kubedcos.lab import hosts
from kubedcos.lab.inventory import unwrap
from kubedcos.lab.spec import LabSpec, parse

SHARED = {
    "lab_name": "mini",
    "lab_networks": {"dc-a": {"subnet": "10.1.0.0/24"}, "dc-b": {"subnet": "10.2.0.0/24"}},
    "lab_image_packages": ["curl"],
}


def inventory() -> dict[str, Any]:
    return copy.deepcopy(
        {
            "bootstrap": {"hosts": ["m1"]},
            "agents": {"hosts": ["b1"]},
            "_meta": {
                "hostvars": {
                    "m1": {
                        **SHARED,
                        "ansible_host": "10.1.0.10",
                        "region": "dc-a",
                        "zone": "a-1",
                    },
                    "b1": {
                        **SHARED,
                        "ansible_host": "10.2.0.10",
                        "region": "dc-b",
                        "zone": "b-1",
                    },
                }
            },
        }
    )


def problem_ids(document: dict[str, Any]) -> set[str]:
    with pytest.raises(InvalidInput) as caught:
        parse(document, "inv")
    return {problem.id for problem in caught.value.problems}


def test_hosts_get_addresses_networks_and_container_names_of_the_inventory() -> None:
    spec = parse(inventory(), "inv")

    m1 = spec.host("m1")
    assert (m1.container, m1.address, m1.network) == (
        "mini-m1",
        IPv4Address("10.1.0.10"),
        "mini-dc-a",
    )
    assert spec.host("b1").network == "mini-dc-b"
    assert spec.bootstrap == "m1"
    assert m1.groups == ("bootstrap",)


def test_a_misspelt_variable_is_refused_with_the_right_one() -> None:
    document = inventory()
    for variables in document["_meta"]["hostvars"].values():
        variables["lab_image_package"] = ["curl"]
    with pytest.raises(InvalidInput, match="Did you mean lab_image_packages") as caught:
        parse(document, "inv")
    assert [problem.id for problem in caught.value.problems] == ["lab-variable-unknown"]


def test_packages_that_ansible_needs_are_always_in_the_image() -> None:
    packages = parse(inventory(), "inv").image.packages
    assert {"curl", "openssh-server", "python3", "systemd"} <= set(packages)


@pytest.mark.parametrize(
    ("host", "key", "value", "wanted"),
    [
        ("m1", "ansible_host", "10.9.0.1", "lab-address-outside"),
        ("m1", "ansible_host", "10.1.0.1", "lab-address-outside"),
        ("m1", "ansible_host", "10.1.0.255", "lab-address-outside"),
        ("m1", "ansible_host", "m1.example", "lab-address-invalid"),
        ("m1", "region", "dc-z", "lab-region-unknown"),
        ("m1", "region", "", "host-region"),
        ("b1", "zone", "", "host-zone"),
    ],
)
def test_a_host_that_cannot_be_made_is_named(host: str, key: str, value: str, wanted: str) -> None:
    document = inventory()
    document["_meta"]["hostvars"][host][key] = value

    with pytest.raises(InvalidInput) as caught:
        parse(document, "inv")
    assert [problem.id for problem in caught.value.problems] == [wanted]
    assert f"host {host}" in caught.value.problems[0].where


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("lab_name", "Has Spaces", "lab-name"),
        ("lab_name", "", "lab-name"),
        ("lab_networks", {}, "lab-networks-missing"),
        ("lab_networks", {"dc-a": {"subnet": "10.1.0.0/33"}}, "lab-network-invalid"),
        (
            "lab_networks",
            {"dc-a": {"subnet": "10.1.0.0/24"}, "dc-b": {"subnet": "10.1.0.0/16"}},
            "lab-network-overlap",
        ),
        ("lab_networks", {"dc-a": {"subnet": "10.1.0.0/30"}}, "lab-network-small"),
        ("lab_volumes", "/var/lib/etcd", "lab-list-invalid"),
    ],
)
def test_wrong_variables_of_the_lab_are_refused(key: str, value: object, wanted: str) -> None:
    document = inventory()
    for variables in document["_meta"]["hostvars"].values():
        variables[key] = value
    assert wanted in problem_ids(document)


def test_two_hosts_with_one_address_are_refused() -> None:
    document = inventory()
    document["_meta"]["hostvars"]["b1"].update(ansible_host="10.1.0.10", region="dc-a")
    assert problem_ids(document) == {"lab-address-twice"}


def test_all_problems_come_at_once() -> None:
    document = inventory()
    document["bootstrap"]["hosts"] = []
    document["_meta"]["hostvars"]["m1"]["zone"] = ""
    document["_meta"]["hostvars"]["b1"]["ansible_host"] = "nonsense"
    assert problem_ids(document) == {"bootstrap-group", "host-zone", "lab-address-invalid"}


def test_groups_do_not_make_a_host_another_one_but_its_address_does() -> None:
    spec = parse(inventory(), "inv")
    document = inventory()
    document["public_agents"] = {"hosts": ["b1"]}
    same = parse(document, "inv")
    document["_meta"]["hostvars"]["b1"]["ansible_host"] = "10.2.0.11"
    other = parse(document, "inv")

    def made_from(found: LabSpec) -> str:
        return hosts.made_from(found, found.host("b1"), "image:1")

    assert made_from(same) == made_from(spec)
    assert made_from(other) != made_from(spec)


def test_values_that_ansible_marks_as_unsafe_are_plain_again() -> None:
    marked = {"a": [{"__ansible_unsafe": "10.0.0.1"}], "b": {"c": {"__ansible_unsafe": "x"}}}
    assert unwrap(marked) == {"a": ["10.0.0.1"], "b": {"c": "x"}}
