"""Units are enabled and started once, in order, and never restarted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from tests.unit.plugins.module_utils import load

units = load("kubedcos_units")


@dataclass
class Unit:
    load: str = "loaded"
    active: str = "inactive"
    file: str = "disabled"
    stale: str = "no"


@dataclass
class Host:
    """Ansible's module with a systemd that knows some units; `said` are the words of each call.

    Attributes:
        refuses: word that fails, such as ``start``.
    """

    units: Mapping[str, Unit]
    check_mode: bool = False
    refuses: str = ""
    said: list[str] = field(default_factory=list)

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        assert words[0] == "systemctl"
        verb, *names = words[1:]
        if verb == self.refuses:
            return 1, "", "Job failed"
        if verb == "show":
            blocks = [self._shown(name) for name in names if not name.startswith("--")]
            return 0, "\n\n".join(blocks) + "\n", ""
        self.said.append(" ".join((verb, *names)))
        if verb == "daemon-reload":
            for unit in self.units.values():
                unit.load, unit.stale = "loaded", "no"
        return 0, "", ""

    def _shown(self, name: str) -> str:
        unit = self.units[name]
        return (
            f"Id={name}.service\nLoadState={unit.load}\nActiveState={unit.active}\n"
            f"UnitFileState={unit.file}\nNeedDaemonReload={unit.stale}"
        )


def test_what_does_not_run_is_enabled_and_started_in_order() -> None:
    host = Host({"b": Unit(), "a": Unit(file="enabled")})
    done = units.settle(host, ["b", "a"], written=False)
    assert host.said == ["enable b", "start b", "start a"]
    assert (done.enabled, done.started) == (["b"], ["b", "a"])


@pytest.mark.parametrize("state", ["active", "activating", "reloading"])
def test_what_runs_is_left_alone_whatever_was_written(state: str) -> None:
    host = Host({"a": Unit(active=state, file="enabled")})
    assert not units.settle(host, ["a"], written=True)
    assert host.said == []


@pytest.mark.parametrize("unit", [Unit(load="not-found"), Unit(stale="yes")])
def test_files_that_systemd_has_not_read_are_read_first(unit: Unit) -> None:
    host = Host({"a": unit})
    units.settle(host, ["a"], written=True)
    assert host.said == ["daemon-reload", "enable a", "start a"]


def test_check_mode_only_says_what_would_be_done() -> None:
    host = Host({"a": Unit(load="not-found")}, check_mode=True)
    done = units.settle(host, ["a"], written=False)
    assert (done.enabled, done.started) == (["a"], ["a"])
    assert not units.settle(host, ["a"], written=True), "its file may not be there yet"
    assert host.said == []


def test_a_unit_that_cannot_be_loaded_or_started_is_named() -> None:
    class Masked(Host):
        def _shown(self, name: str) -> str:
            return super()._shown(name).replace("LoadState=loaded", "LoadState=masked")

    with pytest.raises(units.UnitError, match=r"^a is masked; wanted a unit that systemd can load"):
        units.settle(Masked({"a": Unit()}), ["a"], written=False)
    with pytest.raises(units.UnitError, match="systemctl start a: Job failed"):
        units.settle(Host({"a": Unit()}, refuses="start"), ["a"], written=False)
