"""What Mesos-DNS did with a state and a configuration, as recorded, and the names it resolved."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[2] / "fixtures" / "mesos_dns"

_HOSTS = {
    "agent-a.lab.example": ("10.20.0.21",),
    "scheduler.lab.example": ("10.20.0.9",),
    "dual.lab.example": ("10.20.0.8", "fd20::8"),
}


def read_recording(name: str) -> Any:
    """One recording, by the name of its file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


def lookup(host: str) -> Sequence[str]:
    """Addresses of the names that resolved on the node where Mesos-DNS was recorded."""
    return _HOSTS.get(host, ())


def runs(wanted: Callable[[dict], bool] = lambda _: True) -> list[pytest.param]:
    """(state, run) of each recorded zone and configuration, for `parametrize`."""
    found = []
    for path in sorted(FOLDER.glob("zone-*.json")):
        recording = read_recording(path.name)
        found.extend(
            pytest.param(recording["state"], run, id=f"{path.stem}-{run['name']}")
            for run in recording["runs"]
            if wanted(run)
        )
    return found
