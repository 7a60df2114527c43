"""The option that names an inventory, for all commands that take one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from kubedcos.errors import InvalidInput, Problem

DEFAULT: Final = Path("inventories/lab")
InventoryOption = Annotated[
    list[Path] | None,
    typer.Option("--inventory", "-i", metavar="PATH", help=f"Inventory; default: {DEFAULT}."),
]


def the_one(given: Sequence[Path] | None) -> Path:
    """The inventory that was given, or the lab's.

    Raises:
        InvalidInput: several were given, of which Ansible would take all and we the last.
    """
    found = at_most_one(given)
    return DEFAULT if found is None else found


def at_most_one(given: Sequence[Path] | None) -> Path | None:
    """The inventory that was given, if any; for errors see `the_one`."""
    if given is not None and len(given) > 1:
        seen = " and ".join(map(str, given))
        wanted = "one file or folder; a folder may hold several"
        raise InvalidInput([Problem("--inventory", seen, wanted, id="inventory-several")])
    return given[0] if given else None
