"""Write the table of inputs into each role's README, from the role's argument specification.

    python docs/generate_role_tables.py           write
    python docs/generate_role_tables.py --check   exit 1 and name what would change

The table stands between two marker lines; everything else in a README is written by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).parents[1] / "roles"
BEGIN = "<!-- inputs: written by docs/generate_role_tables.py -->"
END = "<!-- end of inputs -->"
_MARKUP = re.compile(r"\b([VOCIBE])\(([^)]*)\)")


def table(spec: dict[str, Any]) -> str:
    """Markdown of a role's inputs."""
    lines = ["| Input | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, option in sorted((spec.get("options") or {}).items()):
        lines.append(_row(name, option))
        lines += [
            _row(f"{name}[].{key}" if option.get("type") == "list" else f"{name}.{key}", value)
            for key, value in (option.get("options") or {}).items()
        ]
    return "\n".join(lines)


def _row(name: str, option: dict[str, Any]) -> str:
    return f"| `{name}` | {' | '.join(cells(option))} |"


def cells(option: Mapping[str, Any]) -> tuple[str, str, str]:
    """Type, default and meaning of one input, in Markdown."""
    kind = str(option.get("type", "str"))
    if kind == "list" and "elements" in option:
        kind = f"list of {option['elements']}"
    if option.get("choices"):
        kind += ": " + ", ".join(f"`{choice}`" for choice in option["choices"])
    if option.get("required"):
        default = "required"
    elif option.get("default") is None:
        default = ""
    else:
        default = f"`{_short(option['default'])}`"
    words = option.get("description", "")
    text = " ".join(words if isinstance(words, list) else [str(words)])
    return kind, default, _plain(text)


def _short(value: object) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else "see defaults/main.yml"


def _plain(text: str) -> str:
    return _MARKUP.sub(r"`\2`", " ".join(text.split())).replace("|", "\\|")


def readme(role: Path) -> tuple[Path, str]:
    """A role's README with its table, as it should be."""
    document = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))
    spec = document["argument_specs"]["main"]
    path = role / "README.md"
    if path.exists():
        text = path.read_text(encoding="utf-8")
    else:
        text = f"# {role.name}\n\n{spec['short_description']}.\n"
    block = f"{BEGIN}\n{table(spec)}\n{END}"
    if BEGIN in text:
        before, _, rest = text.partition(BEGIN)
        text = before + block + rest.partition(END)[2]
    else:
        text = f"{text.rstrip()}\n\n## Inputs\n\n{block}\n"
    return path, text


def main() -> int:
    """Write or check; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    changed = []
    for spec in sorted(ROLES.glob("*/meta/argument_specs.yml")):
        path, text = readme(spec.parents[1])
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            changed.append(str(path.relative_to(ROLES.parent)))
            if not check:
                path.write_text(text, encoding="utf-8")
    for name in changed:
        sys.stdout.write(f"{'differs' if check else 'written'}: {name}\n")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
