"""Pages that are written from the code say what the code says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATORS = sorted(path.name for path in (ROOT / "docs").glob("generate_*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
