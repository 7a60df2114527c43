"""Texts are those that Apache Mesos wrote into its log."""

import pytest

from kubedcos.embedded.agent.reconfigure import proto_text, refusal
from kubedcos.mesos.messages import (
    AgentID,
    AgentInfo,
    DomainInfo,
    FaultDomain,
    RegionInfo,
    ZoneInfo,
)
from kubedcos.mesos.resource_text import parse_attributes, parse_resources


def info(
    resources: str = "cpus:4;mem:4096;disk:4096;ports:[31000-31999]",
    attributes: str = "rack:r1;os:linux",
    hostname: str = "127.0.0.1",
    domain: tuple[str, str] | None = ("dc-a", "a1"),
    port: int = 15081,
) -> AgentInfo:
    place = FaultDomain(RegionInfo(domain[0]), ZoneInfo(domain[1])) if domain else None
    return AgentInfo(
        hostname=hostname,
        port=port,
        resources=tuple(parse_resources(resources)),
        attributes=parse_attributes(attributes),
        domain=DomainInfo(place) if place else None,
        checkpoint=True,
    )


OLD = AgentInfo(
    **{**{f: getattr(info(), f) for f in info().__struct_fields__}, "id": AgentID("S0")}
)


def test_equal_takes_the_same_in_another_order() -> None:
    same = info("ports:[31000-31999];mem:4096;cpus:4.0;disk:4096", "os:linux;rack:r1")
    assert refusal(OLD, same, "equal") is None


@pytest.mark.parametrize(
    "new",
    [
        info(attributes="rack:r9;os:linux"),
        info(resources="cpus:8;mem:4096;disk:4096;ports:[31000-31999]"),
        info(hostname="localhost"),
        info(domain=None),
    ],
)
def test_equal_refuses_any_change_and_shows_both(new: AgentInfo) -> None:
    text = refusal(OLD, new, "equal")
    assert text is not None
    lines = text.splitlines()
    assert lines[0] == "Incompatible agent info detected."
    assert lines[3:5] == ["Old agent info:", 'hostname: "127.0.0.1"']
    assert "New agent info:" in lines


def test_the_text_form_is_protobufs() -> None:
    small = AgentInfo(
        hostname="h",
        port=1,
        resources=tuple(parse_resources("cpus:4;ports:[1-2]")),
        attributes=parse_attributes("rack:r1"),
        id=AgentID("S0"),
        checkpoint=True,
    )
    assert proto_text(small).splitlines() == [
        'hostname: "h"',
        *("resources {", '  name: "cpus"', "  type: SCALAR", "  scalar {", "    value: 4"),
        *("  }", "}"),
        *("resources {", '  name: "ports"', "  type: RANGES", "  ranges {", "    range {"),
        *("      begin: 1", "      end: 2", "    }", "  }", "}"),
        *("attributes {", '  name: "rack"', "  type: TEXT", "  text {", '    value: "r1"'),
        *("  }", "}"),
        *("id {", '  value: "S0"', "}", "checkpoint: true", "port: 1"),
    ]


@pytest.mark.parametrize(
    ("new", "text"),
    [
        (
            info(attributes="rack:r7;os:linux"),
            "Value of text attribute 'rack' changed from r1 to r7",
        ),
        (info(attributes="rack:r1"), "Couldn't find attribute os=linux"),
        (
            info("cpus:4;mem:4096;disk:4096;ports:[31000-31500]"),
            (
                "Previous value of range resource 'ports' ([31000-31999]) not included in current "
                "[31000-31500]"
            ),
        ),
        (
            info("cpus:2;mem:4096;disk:4096;ports:[31000-31999]"),
            "Value of scalar resource 'cpus' decreased from 4 to 2",
        ),
    ],
)
def test_additive_refuses_what_is_taken_away(new: AgentInfo, text: str) -> None:
    expected = f"Configuration change not permitted under 'additive' policy: {text}"
    assert refusal(OLD, new, "additive") == expected


def test_additive_and_another_domain() -> None:
    assert refusal(OLD, info(domain=("dc-b", "b1")), "additive") == (
        "Configuration change not permitted under `additive` policy: Domain changed from "
        '{"fault_domain":{"region":{"name":"dc-a"},"zone":{"name":"a1"}}} to '
        '{"fault_domain":{"region":{"name":"dc-b"},"zone":{"name":"b1"}}}'
    )


@pytest.mark.parametrize("new", [info(hostname="other"), info(port=1)])
def test_additive_keeps_the_address(new: AgentInfo) -> None:
    assert refusal(OLD, new, "additive") is not None


def test_additive_takes_more() -> None:
    more = info("cpus:6;mem:4096;disk:4096;ports:[30000-32000]", "rack:r1;os:linux;extra:yes")
    assert refusal(OLD, more, "additive") is None


def test_additive_takes_a_first_domain() -> None:
    old = info(domain=None)
    assert refusal(old, info(), "additive") is None
