"""`kubedcos lab simulate` as a process, and what it refuses."""

from __future__ import annotations

import ipaddress
import json
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import replace
from typing import IO

import pytest
from tests.ports import free_port

from kubedcos.embedded.simulation.serving import Plan, agent_infos, master_options
from kubedcos.errors import InvalidInput

PLAN = Plan(
    agents=4,
    domains=(("dc-a", "dc-a-1"), ("dc-b", "dc-b-1"), ("dc-a", "dc-a-2")),
    resources="cpus:2;mem:512",
    attributes="rack:r{number};place:{region}_{zone}",
    address="127.0.0.1",
    port=5050,
    master_flags=(),
    seed=1,
)


def test_agents_are_dealt_out_to_the_zones_in_turn() -> None:
    infos = agent_infos(PLAN)
    domains = [info.domain.fault_domain for info in infos if info.domain]
    assert [place.zone.name for place in domains if place] == [
        *("dc-a-1", "dc-b-1", "dc-a-2", "dc-a-1")
    ]
    texts = [attribute.text.value for attribute in infos[1].attributes if attribute.text]
    assert texts == ["r1", "dc-b_dc-b-1"]


def test_flags_of_the_master_win() -> None:
    options = master_options(replace(PLAN, master_flags=("--port=6000", "--cluster=other")))
    assert (options.port, options.cluster) == (6000, "other")
    assert master_options(PLAN).cluster == "simulation"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"agents": 0}, "--agents: found 0; wanted between 1 and"),
        ({"resources": "cpus:many"}, "cpus"),
        ({"master_flags": ("--zk=zk://h:1/mesos",)}, "the simulation has one master"),
        ({"master_flags": ("--no-such=1",)}, "no-such"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, object], words: str) -> None:
    plan = replace(PLAN, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=words):
        _ = (master_options(plan), agent_infos(plan))


def _said(stream: IO[str], words: str) -> None:
    """Read until a line holds the words."""
    for line in stream:
        if words in line:
            return
    pytest.fail(f"it never said {words!r}")


def test_it_serves_until_a_signal_and_ends_well() -> None:
    port = free_port()
    arguments = ["lab", "simulate", "--agents=7", f"--port={port}", "--zones=1", "--seed=3"]
    with subprocess.Popen(
        [sys.executable, "-m", "kubedcos.cli.main", *arguments], stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            _said(process.stderr, f"http://127.0.0.1:{port}; seed 3")
            _said(process.stderr, "agents 7/7; frameworks 0; offers 0; tasks 0")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/slaves", timeout=60) as answer:
                slaves = json.load(answer)["slaves"]
            regions = Counter(s["domain"]["fault_domain"]["region"]["name"] for s in slaves)
            assert regions == {"dc-a": 4, "dc-b": 3}
            # Whoever connects to a task must not reach a stranger.
            addresses = {s["pid"].partition("@")[2].partition(":")[0] for s in slaves}
            assert len(addresses) == 7
            assert all(ipaddress.ip_address(address).is_loopback for address in addresses)
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
