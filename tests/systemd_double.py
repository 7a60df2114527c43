"""A systemd that is not there: a program `systemctl` over a folder of units.

It knows what the roles and modules of this project ask for. A unit that starts gets another
InvocationID and reads the files that the test named, as its service would.
"""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

USUAL: Mapping[str, Any] = {
    "load": "loaded",
    "active": "active",
    "at_boot": "enabled",
    "stale": "no",
    "invocation": f"{1:032x}",
    "since": 0,
    "definition": "",
    "fails": False,
    "reads": [],
    "read": {},
}
UNKNOWN: Mapping[str, Any] = {
    **USUAL,
    "load": "not-found",
    "active": "inactive",
    "at_boot": "",
    "invocation": "",
}
SHOWN = {
    "LoadState": "load",
    "ActiveState": "active",
    "UnitFileState": "at_boot",
    "NeedDaemonReload": "stale",
    "InvocationID": "invocation",
    "FragmentPath": "definition",
}


@dataclass(frozen=True)
class Systemd:
    """One host's systemd.

    Attributes:
        folder: where its state is.
    """

    folder: Path

    @classmethod
    def install(cls, folder: Path, units: Mapping[str, Mapping[str, Any]]) -> Systemd:
        """Put it into the folder, with these units; what is not given of one is usual."""
        made = cls(folder)
        (folder / "units").mkdir(parents=True)
        for name, given in units.items():
            made.change(name, **USUAL | dict(given))
        made.programs.mkdir()
        program = made.programs / "systemctl"
        words = (sys.executable, str(Path(__file__)), str(folder))
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)
        return made

    @property
    def programs(self) -> Path:
        """The directory that has to come first in PATH."""
        return self.folder / "bin"

    def unit(self, name: str) -> dict[str, Any]:
        """A unit's state.

        `read` is what its files held when it started, at `since` (ns); with `fails` it starts
        without ever saying that it is up.
        """
        path = self._path(name)
        return {**UNKNOWN, **(json.loads(path.read_text()) if path.exists() else {})}

    def change(self, name: str, **state: Any) -> None:
        """What befalls a unit."""
        fresh = self._path(f".{name}")
        fresh.write_text(json.dumps(self.unit(name) | state))
        fresh.rename(self._path(name))

    def restart(self, name: str) -> None:
        """A unit starts, because it ended or because somebody wanted it."""
        unit = self.unit(name)
        self.change(
            name,
            active="activating" if unit["fails"] else "active",
            invocation=f"{int(unit['invocation'] or '0', 16) + 1:032x}",
            since=time.time_ns(),
            read={path: Path(path).read_text() for path in unit["reads"] if Path(path).exists()},
        )

    def refuse(self, *verbs: str) -> None:
        """Fail from now on when it is told to do one of these."""
        (self.folder / "refuses").write_text(" ".join(verbs))

    def told(self) -> Sequence[str]:
        """What it was told to do since this was asked last, in order."""
        path = self.folder / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return lines

    def answer(self, verb: str, names: Sequence[str]) -> str:
        """What `systemctl` does and prints."""
        if verb == "show":
            blocks = [
                "\n".join(
                    [f"Id={self._path(name).name}"]
                    + [f"{key}={self.unit(name)[word]}" for key, word in SHOWN.items()]
                )
                for name in names
            ]
            return "\n\n".join(blocks)
        with (self.folder / "told").open("a") as told:
            told.write(" ".join((verb, *names)) + "\n")
        refused = self.folder / "refuses"
        if refused.exists() and verb in refused.read_text().split():
            sys.exit("refused")
        if verb == "daemon-reload":
            for path in (self.folder / "units").glob("[!.]*"):
                defined = Path(self.unit(path.name)["definition"]).is_file()
                self.change(path.name, stale="no", **({"load": "loaded"} if defined else {}))
        for name in names:
            self._act(verb, name)
        return ""

    def _act(self, verb: str, name: str) -> None:
        runs = self.unit(name)["active"] in ("active", "activating", "reloading")
        if verb == "restart" or (verb == "start" and not runs):
            self.restart(name)
            if self.unit(name)["fails"]:
                sys.exit(f"Job for {name} failed")
        elif verb == "stop":
            self.change(name, active="inactive")
        elif verb == "enable":
            self.change(name, at_boot="enabled")

    def _path(self, name: str) -> Path:
        return self.folder / "units" / (name if "." in name[1:] else f"{name}.service")


if __name__ == "__main__":
    folder, verb, *words = sys.argv[1:]
    print(Systemd(Path(folder)).answer(verb, [word for word in words if word[0] != "-"]))  # noqa: T201  a program
