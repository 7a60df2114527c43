"""An Ansible inventory as Ansible itself reads it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from kubedcos.config.yaml_text import folder_problems
from kubedcos.errors import InvalidInput, Problem
from kubedcos.lab.program import ProgramFailed, Runner, run
from kubedcos.lab.spec import LabSpec, parse


def load(path: Path, *, runner: Runner = run) -> LabSpec:
    """The lab that the inventory at `path` describes.

    Raises:
        InvalidInput: the inventory cannot be read or describes no lab.
    """
    return parse(read(path, runner=runner), str(path))


def read(path: Path, *, runner: Runner = run) -> dict[str, Any]:
    """What `ansible-inventory --list` says of `path`, as plain data.

    Raises:
        InvalidInput: there is no such inventory, or a source in it does not answer.
    """
    if not path.exists():
        raise InvalidInput(
            [Problem(f"inventory {path}", "nothing", "a file or folder", id="inventory-missing")]
        )
    if broken := folder_problems(path):
        raise InvalidInput(broken)
    beside = Path(sys.executable).with_name("ansible-inventory")
    program = str(beside) if beside.exists() else "ansible-inventory"
    try:
        answer = runner(
            [program, "--inventory", str(path), "--list"],
            environment={
                "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true",
                "ANSIBLE_NOCOLOR": "true",
            },
        )
    except ProgramFailed as error:
        raise InvalidInput(
            [
                Problem(
                    f"inventory {path}",
                    error.reason,
                    "an inventory that ansible-inventory can read",
                    id="inventory-unreadable",
                )
            ]
        ) from error
    document = unwrap(json.loads(answer.stdout))
    if not isinstance(document, dict):
        raise InvalidInput(
            [Problem(f"inventory {path}", "no mapping", "groups of hosts", id="inventory-form")]
        )
    return document


def hosts_of(path: Path, *, runner: Runner = run) -> list[str]:
    """Names of the hosts that the inventory at `path` has, each once.

    Raises:
        InvalidInput: it cannot be read, or has none.
    """
    groups = read(path, runner=runner).values()
    names = {str(name) for group in groups for name in group.get("hosts", ())}
    if not names:
        problem = Problem(f"inventory {path}", "no hosts", "at least one", id="inventory-no-hosts")
        raise InvalidInput([problem])
    return sorted(names)


def unwrap(value: Any) -> Any:
    """Take the marks off values that ansible-core 2.19 and later wraps as unsafe."""
    if isinstance(value, dict):
        if set(value) == {"__ansible_unsafe"}:
            return value["__ansible_unsafe"]
        return {key: unwrap(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unwrap(item) for item in value]
    return value
