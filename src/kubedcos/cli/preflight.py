"""`kubedcos preflight`: check an inventory and its hosts; nothing is changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from kubedcos.cli.inventories import InventoryOption, the_one
from kubedcos.config.yaml_text import read_mapping
from kubedcos.errors import InvalidInput, Problem
from kubedcos.lab import inventory

PLAYBOOK = Path("playbooks/preflight.yml")


def command(
    inventory_path: InventoryOption = None,
    variables: Annotated[
        Path | None, typer.Option("--vars", help="File of variables for the play.")
    ] = None,
) -> None:
    """Run the playbook preflight; its findings name host, seen, wanted and fix."""
    argv = program(the_one(inventory_path), variables)
    sys.stdout.flush()
    os.execv(argv[0], argv)  # its output and its code are the answer


def program(inventory_path: Path, variables: Path | None) -> list[str]:
    """The program that runs the checks, with its arguments.

    Raises:
        InvalidInput: this is no checkout, the inventory cannot be read or has no hosts (on which
            Ansible finds nothing wrong), or the variables cannot be read.
    """
    if not PLAYBOOK.is_file():
        raise InvalidInput(
            [
                Problem(
                    str(PLAYBOOK), "nothing", "to be run in the checkout", id="preflight-checkout"
                )
            ]
        )
    if variables is not None:
        read_mapping(variables)
    inventory.hosts_of(inventory_path)
    play = str(Path(sys.executable).with_name("ansible-playbook"))
    extra = [] if variables is None else ["--extra-vars", f"@{variables}"]
    return [play, "--inventory", str(inventory_path), *extra, str(PLAYBOOK)]
