"""Pages that are written from the code say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from kubedcos.cli.main import build

ROOT = Path(__file__).parents[2]
GENERATORS = sorted(path.name for path in (ROOT / "docs").glob("generate_*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [*PAGES, ROOT / "molecule/README.md", *sorted((ROOT / "roles").glob("*/README.md"))]
# Between backquotes, or a line of a console or of an indented block.
_QUOTED = re.compile(
    r"`(?:\.venv/bin/)?kubedcos ([^`]+)`|^(?:[#$] |    )(?:\.venv/bin/)?kubedcos ([^\n#]+)",
    re.MULTILINE,
)
_LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", GENERATORS)
def test_generated_pages_are_current(name: str) -> None:
    done = run(sys.executable, f"docs/{name}", "--check")
    assert done.returncode == 0, f"{done.stdout}{done.stderr}run python docs/{name}"


def test_the_schema_file_is_what_the_command_prints() -> None:
    done = run(sys.executable, "-m", "kubedcos.cli.main", "cluster", "schema")
    assert done.stdout == (ROOT / "docs/cluster-options.schema.json").read_text()


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as they are linked to."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text()):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name}: {target}#{anchor}"


def test_the_architecture_names_every_package_and_no_module_that_is_gone() -> None:
    page = (ROOT / "docs/architecture.md").read_text()
    package = ROOT / "src/kubedcos"
    layers = page.partition("## Layers")[2].partition("\n## ")[0]
    folders = {path.parent.relative_to(package) for path in package.rglob("*.py")} - {Path()}
    named = set(re.findall(r"`([a-z_/]+)`", layers))
    # A part of the agent is named in its row, without its way.
    left_out = {str(path) for path in folders if not named & {str(path), path.name}}
    assert not left_out
    modules = {path.stem for path in (ROOT / "plugins").rglob("kubedcos*.py")}
    assert not {
        name for name in modules if f"`{name}`" not in layers and f"{name}.py" not in layers
    }
    doors = re.findall(r"^\| `([a-z_/]+)` \| (.*) \|$", layers, re.MULTILINE)
    files = [(name, file) for name, row in doors for file in re.findall(r"`([a-z_]+\.py)`", row)]
    assert len(files) > 50
    assert not [f"{name}/{file}" for name, file in files if not (package / name / file).exists()]


@pytest.mark.parametrize("page", COMMANDS, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_no_row_of_a_table_is_broken_over_lines(page: Path) -> None:
    halves = re.findall(r"^\|.*[^|\n]$|^[^|\n].* \|$", page.read_text(), re.MULTILINE)
    assert not halves


def commands(page: Path) -> Iterator[list[str]]:
    """Words of the quoted commands; alternatives (``pause|resume``) are commands of their own."""
    for match in _QUOTED.finditer(page.read_text()):
        words = re.sub(r"[\[\]…]", " ", match[1] or match[2]).split()
        choice = next((i for i, word in enumerate(words) if "|" in word), None)
        if choice is None:
            yield words
        else:
            for word in words[choice].split("|"):
                yield [*words[:choice], word, *words[choice + 1 :]]


def not_known(words: list[str]) -> str:
    """The word of a command that the command line does not know; empty when it knows all."""
    command: Any = get_command(build(words))
    for word in words:
        if not (groups := getattr(command, "commands", None)) or word.startswith("-"):
            break
        if word not in groups:
            return word
        command = groups[word]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    for word in words:
        if word == "--":
            break
        if re.match(r"--?[a-z]", word) and word.partition("=")[0] not in options:
            return word
    return ""


@pytest.mark.parametrize("page", COMMANDS, ids=lambda page: str(page.relative_to(ROOT)))
def test_quoted_commands_exist_with_their_options(page: Path) -> None:
    unknown = [" ".join(words) for words in commands(page) if not_known(words)]
    assert unknown == []
