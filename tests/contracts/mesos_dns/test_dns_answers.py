"""What a client asks for, looked up in the zone that CoreDNS serves, held to recorded answers.

CoreDNS answers from this zone file; how its answers differ in form from Mesos-DNS' is recorded and
listed in the documents. Here are the records themselves, their TTL, and whether a name exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import dns.name
import dns.reversename
import dns.zone
import pytest
from tests.contracts.mesos_dns.recordings import lookup, read_recording, runs

from kubedcos.embedded.mesos_dns import config, corefile, records, zone

TYPES = {"A", "AAAA", "SRV"}


def questions(run: dict) -> list[tuple[str, str, dict]]:
    """(name, type, answer) of the queries for records that a zone holds."""
    found = []
    for entry in run.get("dns") or ():
        words = [word for word in entry["dig"].split() if not word.startswith("+")]
        # No reply at all: a label over 63 characters, which Mesos-DNS cannot write.
        if len(words) == 2 and words[1] in TYPES and "status" in entry:
            found.append((words[0], words[1], entry))
    return found


def rows(lines: Sequence[str]) -> set[tuple[str, ...]]:
    """(type, TTL, value…) of answer lines; the owner's case follows the question."""
    found = set()
    for line in lines:
        _, ttl, _, kind, *value = line.split()
        found.add((kind, ttl, *(word.lower() for word in value)))
    return found


@pytest.mark.parametrize(("state", "run"), runs())
def test_recorded_answers_are_in_the_zone(state: dict, run: dict) -> None:
    settings = config.parse(run["config"])
    made = records.generate(state, settings, lookup)
    origin = dns.name.from_text(f"{settings.domain}.")
    text = zone.render(made, settings, 1)
    served = dns.zone.from_text(text, origin, relativize=False, check_origin=False)
    asked = questions(run)
    for name, kind, entry in asked:
        # As the Corefile rewrites it.
        owner = dns.name.from_text(name.lower().replace(".*", ""))
        if not owner.is_subdomain(origin):
            continue
        found = served.get_rrset(owner, kind)
        ours = rows(found.to_text().splitlines()) if found is not None else set()
        theirs = rows(entry.get("answer") or ())
        cut = "tc" in entry["flags"].split() or not settings.set_truncate_bit
        assert (theirs <= ours) if cut else (theirs == ours), (name, kind)
        if entry["status"] == "NXDOMAIN":
            assert ours == set()
    assert asked or "dns" not in run


OPTIONS = read_recording("options.json")
REVERSED = [case for case in OPTIONS["cases"] if case.get("config", {}).get("reverseDnsOn")]


@pytest.mark.parametrize("case", REVERSED, ids=[case["case"] for case in REVERSED])
def test_recorded_reverse_answers_are_in_the_reverse_zones(case: dict) -> None:
    settings = config.parse(case["config"])
    made = records.generate(OPTIONS["state"], settings, lookup)
    served = {
        name: dns.zone.from_text(
            zone.render_reverse(made, settings, 1, name),
            f"{name}.",
            relativize=False,
            check_origin=False,
        )
        for name in zone.REVERSE_ZONES
    }
    corefile_text = corefile.render(settings, Path("/zones"))
    assert all(f"{name}:{settings.port} {{" in corefile_text for name in zone.REVERSE_ZONES)
    asked = [entry for entry in case["dns"] if entry["dig"].startswith("-x ")]
    for entry in asked:
        owner = dns.reversename.from_address(entry["dig"].removeprefix("-x "))
        [name] = [name for name in served if str(owner).endswith(f"{name}.")]
        found = served[name].get_rrset(owner, "PTR")
        ours = rows(found.to_text().splitlines()) if found is not None else set()
        assert ours == rows(entry.get("answer") or ()), entry["dig"]
    assert asked
