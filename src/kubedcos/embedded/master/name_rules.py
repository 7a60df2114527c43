"""What Mesos demands of identifiers and of names of roles; texts are its own.

Each rule returns the text of the first fault, or `None`.
"""

from __future__ import annotations

from typing import Final

_MAX_ID: Final = 255
_SPACES: Final = frozenset("\x08\t\n\x0b\x0c\r ")


def id_fault(value: str) -> str | None:
    """Rules for identifiers, which become names of directories."""
    if not value:
        return "ID must not be empty"
    if len(value) > _MAX_ID:
        return f"ID must not be greater than {_MAX_ID} characters"
    if value in {".", ".."}:
        return f"'{value}' is disallowed"
    if "/" in value or any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
        return f"'{value}' contains invalid characters"
    return None


def role_fault(role: str) -> str | None:
    """Rules for the name of a role."""
    if role == "*":
        return None
    faults = (
        (not role, "Role names cannot be the empty string"),
        (role.startswith("/"), f"Role '{role}' cannot start with a slash"),
        (role.endswith("/"), f"Role '{role}' cannot end with a slash"),
        ("//" in role, f"Role '{role}' cannot contain two adjacent slashes"),
    )
    fault = next((text for wrong, text in faults if wrong), None)
    return fault or next(filter(None, (_part_fault(role, part) for part in role.split("/"))), None)


def _part_fault(role: str, part: str) -> str | None:
    if part in {".", "..", "*"}:
        return f"Role '{role}' cannot include '{part}' as a component"
    if part.startswith("-"):
        return f"Role component '{part}' is invalid because it starts with a dash"
    if not _SPACES.isdisjoint(part):
        return f"Role component '{part}' is invalid because it contains backspace or whitespace"
    return None
