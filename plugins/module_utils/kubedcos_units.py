"""Units of systemd that have to be enabled and running, asked about in one call."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_PROPERTIES = ("Id", "LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")
_RUNS = frozenset({"active", "activating", "reloading"})
_ENABLED = frozenset({"enabled", "enabled-runtime", "static", "alias", "indirect", "generated"})


class UnitError(Exception):
    """What stands in the way, in words for the operator."""


@dataclass
class Settled:
    """What was (in check mode, would be) done.

    Attributes:
        enabled: units that are started at boot from now on.
        started: units that did not run before.
    """

    enabled: list[str] = field(default_factory=list)
    started: list[str] = field(default_factory=list)

    def __bool__(self):
        """Whether anything was done."""
        return bool(self.enabled or self.started)


def settle(module: Any, units: list[str], *, written: bool) -> Settled:
    """Have the units enabled and running.

    Args:
        module: Ansible's module, which runs programs and knows about check mode.
        units: names, in the order to start them in.
        written: whether files of theirs were (in check mode, would be) written just now.

    Raises:
        UnitError: systemd does not know a unit, or it does not start.
    """
    done = Settled()
    # In check mode their files may not be there yet.
    if not units or (written and module.check_mode):
        return done
    shown = _show(module, units)
    if any(_stale(state) for state in shown.values()) and not module.check_mode:
        _systemctl(module, "daemon-reload")
        shown = _show(module, units)
    for unit in units:
        state = shown[unit]
        if state["LoadState"] not in ("loaded", "not-found" if module.check_mode else "loaded"):
            raise UnitError(
                f"{unit} is {state['LoadState']}; wanted a unit that systemd can load. "
                f"See: systemctl status {unit}"
            )
        if state["UnitFileState"] not in _ENABLED:
            done.enabled.append(unit)
            if not module.check_mode:
                _systemctl(module, "enable", unit)
        if state["ActiveState"] not in _RUNS:
            done.started.append(unit)
            if not module.check_mode:
                _systemctl(module, "start", unit)
    return done


def _stale(state: dict[str, str]) -> bool:
    """Whether systemd has not read the unit's file as it is now."""
    return state["NeedDaemonReload"] == "yes" or state["LoadState"] != "loaded"


def _show(module: Any, units: list[str]) -> dict[str, dict[str, str]]:
    text = _systemctl(module, "show", f"--property={','.join(_PROPERTIES)}", *units)
    blocks = text.strip().split("\n\n")
    found = {}
    for unit, block in zip(units, blocks, strict=True):
        given = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        found[unit] = {name: given.get(name, "") for name in _PROPERTIES}
    return found


def _systemctl(module: Any, *words: str) -> str:
    code, out, err = module.run_command(["systemctl", *words])
    if code != 0:
        raise UnitError(f"systemctl {' '.join(words)}: {(err or out).strip() or f'code {code}'}")
    return str(out)
