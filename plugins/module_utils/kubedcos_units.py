"""Units of systemd: have them enabled and running, and know which run with older files."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOTES = "/run/kubedcos/outdated"
"""Where notes are kept: a reboot empties it, as it ends the services that the notes are about."""

_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "NeedDaemonReload",
    "InvocationID",
    "FragmentPath",
)
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


@dataclass
class Note:
    """What files held when a unit that runs was started, as far as they changed since.

    Attributes:
        invocation: systemd's InvocationID of the unit, another one after each start.
        files: path → digest, mode and owner of what the unit has read.
        loaded: whether systemd has read definitions of units since the last of them changed.
    """

    invocation: str
    files: dict[str, str] = field(default_factory=dict)
    loaded: bool = False


class Readers:
    """Knows which units run with what their files held before.

    A run may break off between a changed file and the restart, and the next run finds the file
    right. So what a file holds is noted *before* it changes, for each unit that has read it and
    runs. A unit is outdated while it runs under the noted InvocationID and one of the files holds
    something else; whoever restarts it, or brings the file back, ends that without a word to us.
    Times are not compared: clocks step, and packages and backups set times as they like.
    """

    def __init__(self, module: Any, folder: str = NOTES) -> None:
        self._module = module
        self._folder = Path(folder)
        self._notes: dict[str, Note | None] = {}
        self._changing: dict[str, None] = {}

    def before_change(self, path: Path, units: list[str]) -> None:
        """Note what the file holds for those of the units that run.

        Raises:
            UnitError: systemd does not answer.
        """
        for unit in units:
            if unit not in self._notes:
                self._notes[unit] = self._note(unit, _show(self._module, [unit])[unit])
            note = self._notes[unit]
            if note is None:
                continue
            self._changing[unit] = None
            note.files.setdefault(str(path), _held(path))
            note.loaded = False
            self._store(unit, note)

    def after_change(self) -> None:
        """Keep the notes of units that were started by themselves while their files changed.

        Such a unit may have read the old ones; a restart too many is better than one too few.
        """
        units = list(self._changing)
        if not units or self._module.check_mode:
            return
        for unit, state in _show(self._module, units).items():
            note = self._notes[unit]
            if note is not None and _runs(state) and note.invocation != state["InvocationID"]:
                note.invocation = _invocation(unit, state)
                self._store(unit, note)

    def before_reload(self, shown: dict[str, dict[str, str]]) -> None:
        """Keep the notes of units that were started by themselves by the definition of before.

        systemd starts a unit by what it has read; what a run that broke off wrote it reads now.

        Args:
            shown: state of each unit.
        """
        for unit, state in shown.items():
            note, path = self._stored(unit), state["FragmentPath"]
            if note is None or note.loaded or path not in note.files:
                continue
            unread = _runs(state) and state["NeedDaemonReload"] == "yes"
            if unread and note.invocation != state["InvocationID"]:
                note = Note(_invocation(unit, state), {path: note.files[path]})
            note.loaded = True
            self._store(unit, note)

    def outdated(self, units: list[str]) -> list[str]:
        """Those of the units that run (in check mode, would run) with files as they were before."""
        noted = [unit for unit in dict.fromkeys(units) if self._file(unit).exists()]
        found = set(self._changing) if self._module.check_mode else set()
        for unit, state in (_show(self._module, noted) if noted else {}).items():
            note = self._note(unit, state)
            if note is None or not note.files:
                self.forget(unit)
            elif any(_held(Path(path)) != held for path, held in note.files.items()):
                found.add(unit)
        return [unit for unit in dict.fromkeys(units) if unit in found]

    def reload(self, units: list[str]) -> list[str]:
        """Reload those of the units that are outdated; returns them.

        Raises:
            UnitError: a unit refuses.
        """
        outdated = self.outdated(units)
        if not self._module.check_mode:
            for unit in outdated:
                _systemctl(self._module, "reload", unit)
                self.forget(unit)
        return outdated

    def forget(self, unit: str) -> None:
        """Remove the note of a unit that has read its files since, or runs no more."""
        if not self._module.check_mode:
            self._file(unit).unlink(missing_ok=True)

    def _note(self, unit: str, state: dict[str, str]) -> Note | None:
        """The note of the unit as it runs now, empty to begin with; None when it does not run."""
        if not _runs(state):
            return None
        fresh, stored = Note(_invocation(unit, state)), self._stored(unit)
        return stored if stored and stored.invocation == fresh.invocation else fresh

    def _stored(self, unit: str) -> Note | None:
        try:
            stored = json.loads(self._file(unit).read_text(encoding="utf-8"))
            return Note(stored["invocation"], dict(stored["files"]), stored.get("loaded", True))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise UnitError(
                f"{self._file(unit)} is no note of ours ({error!r}); wanted JSON with invocation "
                f"and files. Restart {unit}, then remove the file."
            ) from error

    def _store(self, unit: str, note: Note) -> None:
        if self._module.check_mode:
            return
        # Digests of secrets are for root alone.
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=self._folder)
        with os.fdopen(descriptor, "w", encoding="utf-8") as sink:
            json.dump(vars(note), sink, indent=1)
        Path(name).rename(self._file(unit))

    def _file(self, unit: str) -> Path:
        return self._folder / (unit if "." in unit else f"{unit}.service")


def settle(
    module: Any, units: list[str], *, written: bool, readers: Readers | None = None
) -> Settled:
    """Have the units enabled and running.

    Args:
        module: Ansible's module, which runs programs and knows about check mode.
        units: names, in the order to start them in.
        written: whether files of theirs were (in check mode, would be) written just now.
        readers: is told before systemd reads changed definitions.

    Raises:
        UnitError: systemd does not know a unit, or it does not start.
    """
    done = Settled()
    # In check mode their files may not be there yet.
    if not units or (written and module.check_mode):
        return done
    shown = _show(module, units)
    if any(_stale(state) for state in shown.values()) and not module.check_mode:
        if readers is not None:
            readers.before_reload(shown)
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
        if not _runs(state):
            done.started.append(unit)
            if not module.check_mode:
                _systemctl(module, "start", unit)
    return done


def _runs(state: dict[str, str]) -> bool:
    return state["ActiveState"] in _RUNS


def _stale(state: dict[str, str]) -> bool:
    """Whether systemd has not read the unit's file as it is now."""
    return state["NeedDaemonReload"] == "yes" or state["LoadState"] != "loaded"


def _invocation(unit: str, state: dict[str, str]) -> str:
    if not state["InvocationID"]:
        raise UnitError(f"{unit} runs without an InvocationID; wanted systemd 232 or newer")
    return state["InvocationID"]


def _held(path: Path) -> str:
    """What a program that opens the file would find: digest, mode, owner; or that there is none."""
    try:
        found = path.stat()
        digest = hashlib.sha256()
        with path.open("rb") as source:
            for block in iter(lambda: source.read(1 << 20), b""):
                digest.update(block)
    except FileNotFoundError:
        return "nothing"
    except OSError as error:
        raise UnitError(f"can not read {path}: {error.strerror}") from error
    return f"{digest.hexdigest()} {stat.S_IMODE(found.st_mode):04o} {found.st_uid}:{found.st_gid}"


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
