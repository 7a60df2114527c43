"""What Mesos' services are told: each value as the inventory gives it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.systemd_reading import variables, words

ROOT = Path(__file__).parents[2]
Play = Callable[..., dict[str, Any]]


def services(play: Play, *cases: dict[str, Any]) -> list[dict[str, str]]:
    """The files of agent and master for each case."""
    extra = ("-e", json.dumps({"cases": cases}))
    answer = play(ROOT / "inventories/sample", "mesos_services.yml", *extra)
    return [result["msg"] for result in answer["results"]]


def test_values_reach_mesos_whatever_is_in_them(play: Play, tmp_path: Path) -> None:
    said = 'it\'s 100% of $HOME,\n "two" lines\\'
    flag = f"--cluster={said}"
    as_dict, as_list = services(
        play,
        {"environment": {"SAID": said, "LAST": "x"}, "extra_flags": {"cluster": said}},
        {"extra_flags": [flag, "--last"]},
    )
    for service in ("agent", "master"):
        found = variables(as_dict[f"{service}_environment"], tmp_path / service)
        assert found["MESOS_CLUSTER"] == said
        assert found["SAID"] == said
        assert found["LAST"] == "x"
        assert json.loads(found["MESOS_DOMAIN"])["fault_domain"]["zone"] == {"name": "a-1"}

        (line,) = [
            line
            for line in as_list[f"{service}_unit"].splitlines()
            if line.startswith("ExecStart=")
        ]
        _, *arguments = words(line)
        assert [a.replace("%%", "%").replace("$$", "$") for a in arguments] == [flag, "--last"]


def test_a_value_that_systemd_would_leave_out_is_refused_by_name(play: Play) -> None:
    with pytest.raises(AssertionError, match=r"environment variable SAID: found "):
        services(play, {"environment": {"SAID": "a\rb"}})
