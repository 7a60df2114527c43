"""Which configurations are taken and which are refused, held to recorded starts of Mesos-DNS."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.contracts.mesos_dns.recordings import read_recording

from kubedcos.embedded.mesos_dns import config

# Refused by us at once with words of our own: Mesos-DNS takes them and then panics, dies at its
# first load, or asks a service that exists only in DC/OS Enterprise.
OWN_WORDS = ("panic:", "IAM config", "master detector")


def cases() -> list[pytest.param]:
    document = read_recording("start-up.json")
    return [
        pytest.param(case, id=case["case"])
        for case in document["cases"]
        if isinstance(case.get("config"), dict) and not case["case"].startswith("-")
    ]


def verdict(case: dict) -> str:
    """The recorded refusal; empty when it was taken, or failed only for its surroundings."""
    if case["exit"] in (None, 0):
        return ""
    text = " ".join(case["log"])
    environment = ("bind:", "Failed to connect", "no such host", "flag provided")
    return "" if any(word in text for word in environment) else text


@pytest.mark.parametrize("case", cases())
def test_same_verdict_as_mesos_dns(case: dict) -> None:
    recorded = verdict(case)
    if not recorded:
        config.parse(case["config"], file="/etc/mesos-dns/config.json")
        return
    with pytest.raises(config.ConfigError) as refused:
        config.parse(case["config"], file="/etc/mesos-dns/config.json")
    if not any(words in recorded for words in OWN_WORDS):
        assert str(refused.value) in recorded


@pytest.mark.parametrize("case", [c for c in cases() if c.values[0].get("v1_config")])
def test_effective_values_equal_the_recorded_ones(case: dict) -> None:
    made = config.parse(case["config"], file="/etc/mesos-dns/config.json")
    recorded = case["v1_config"]
    for name, key in config.GO_NAMES.items():
        ours = getattr(made, name)
        if isinstance(ours, tuple):
            ours = list(ours)
        if name in ("zone_resolvers", "resolvers", "file"):
            continue  # shown by Mesos-DNS with ports and after its own additions
        assert ours == recorded[key] or (not ours and not recorded[key]), key


def files() -> list[pytest.param]:
    document = read_recording("start-up.json")
    return [
        pytest.param(case, id=case["case"])
        for case in document["cases"]
        if case.get("file", "__missing__") != "__missing__"
    ]


@pytest.mark.parametrize("case", files())
def test_same_verdict_on_texts_that_are_no_configuration(case: dict, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(case["file"], encoding="utf-8")
    if case["exit"] is None:
        config.load(path)
        return
    with pytest.raises(config.ConfigError) as refused:
        config.load(path)
    # What is wrong with the JSON, each parser says in words of its own.
    recorded = verdict(case).replace("/etc/mesos-dns/config.json", str(path))
    common = "failed to unmarshal config file"
    assert (common in str(refused.value)) == (common in recorded)
    if "json: cannot unmarshal" in recorded or common not in recorded:
        assert str(refused.value) in recorded


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(b"\xf8\x00")
    with pytest.raises(config.ConfigError, match="failed to unmarshal config file"):
        config.load(tmp_path / "config.json")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match="missing configuration file"):
        config.load(tmp_path / "config.json")


def test_the_secret_is_not_in_the_text_of_a_configuration() -> None:
    made = config.parse(
        {
            "masters": ["10.20.0.1:5050"],
            "mesosAuthentication": "basic",
            "mesosCredentials": {"principal": "p", "secret": "hunter2"},
        }
    )
    assert made.mesos_secret == "hunter2"
    assert "hunter2" not in repr(made)
