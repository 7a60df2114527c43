"""What every role promises: typed inputs with defaults, each of them used, and no group names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if (path / "tasks").is_dir())
# Ansible's variable of that name, not a key or an attribute.
_GROUPS = re.compile(r"(?<![.\w])groups\s*[\[.]|\bgroup_names\b")


def load(role: str, name: str) -> dict[str, Any]:
    path = ROOT / "roles" / role / name
    document = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
    return document or {}


def options(role: str) -> dict[str, Any]:
    found: dict[str, Any] = load(role, "meta/argument_specs.yml")["argument_specs"]["main"][
        "options"
    ]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_defaults_and_specification_agree(role: str) -> None:
    defaults = load(role, "defaults/main.yml")
    declared = options(role)
    assert sorted(set(defaults) - set(declared)) == [], "defaults that are not declared"
    for name, option in declared.items():
        if "default" in option:
            assert name in defaults, f"{name} has a default in the specification only"
            assert defaults[name] == option["default"], f"the two defaults of {name} differ"
        else:
            assert name not in defaults, f"{name} has a default in defaults/main.yml only"


@pytest.mark.parametrize("role", ROLES)
def test_inputs_carry_the_role_name(role: str) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_described(role: str) -> None:
    assert [name for name, option in options(role).items() if not option.get("description")] == []


@pytest.mark.parametrize("role", ROLES)
def test_no_role_knows_groups(role: str) -> None:
    guilty = [
        str(path.relative_to(ROOT))
        for folder in ("tasks", "handlers", "defaults", "vars", "templates")
        for path in sorted((ROOT / "roles" / role / folder).rglob("*"))
        if path.is_file() and _GROUPS.search(path.read_text(encoding="utf-8"))
    ]
    assert guilty == []


@pytest.mark.parametrize("role", ROLES)
def test_every_input_is_used(role: str) -> None:
    texts = [
        path.read_text(encoding="utf-8")
        for folder in ("tasks", "handlers", "vars", "defaults", "templates")
        for path in sorted((ROOT / "roles" / role / folder).rglob("*"))
        if path.is_file()
    ]
    # Its own default, with a value or commented out where it is required, is no use of it.
    text = re.sub(r"^(# )?\w+:", "", "\n".join(texts), flags=re.MULTILINE)
    assert [name for name in options(role) if not re.search(rf"\b{name}\b", text)] == []
