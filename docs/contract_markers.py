"""The ``contract`` markers of tests: what each test holds the engine to, by which recording."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from page_blocks import ROOT, row

TESTS: Final = (
    ROOT / "tests/contracts/mesos",
    ROOT / "tests/contracts/mesos/survival",
    *sorted((ROOT / "tests/unit").glob("embedded_*")),
)
RECORDINGS: Final = ROOT / "tests/fixtures/mesos"


class Evidence:
    """Tests and recordings by kind and name of what they are about."""

    def __init__(self) -> None:
        self._tests: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._recordings: dict[tuple[str, str], set[str]] = defaultdict(set)
        self._asked: set[tuple[str, str]] = set()
        for folder in TESTS:
            for path in sorted(folder.glob("test_*.py")):
                for words in _markers(ast.parse(path.read_text(encoding="utf-8"))):
                    self._add(path.stem, words)

    def _add(self, test: str, words: dict[str, list[str]]) -> None:
        recordings = words.pop("recordings", [])
        missing = [name for name in recordings if not (RECORDINGS / name).exists()]
        if missing or not words:
            raise SystemExit(f"{test}: a marker names {missing or 'nothing but recordings'}")
        for kind, names in words.items():
            for name in names:
                self._tests[kind, name].add(test)
                self._recordings[kind, name].update(recordings)

    def row(self, kind: str, name: str, here: str, first: str = "") -> str:
        """One line of a table.

        Raises:
            SystemExit: it is there, and no test holds it to anything.
        """
        self._asked.add((kind, name))
        if here.startswith(("yes", "accepted")) and not self._tests[kind, name]:
            raise SystemExit(f"{kind} {name} is supported and no marker names it")
        recordings = ", ".join(f"`{each}`" for each in sorted(self._recordings[kind, name]))
        tests = ", ".join(f"`{each}`" for each in sorted(self._tests[kind, name]))
        return row(first or f"`{name}`", here, recordings, tests)

    def unknown(self) -> list[str]:
        """Subjects that no row is about: misspelt in a marker."""
        return [f"{kind}={name}" for kind, name in sorted(self._tests.keys() - self._asked)]


def _markers(tree: ast.Module) -> Iterator[dict[str, list[str]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).endswith(
                    "mark.contract"
                ):
                    yield {
                        str(keyword.arg): str(ast.literal_eval(keyword.value)).split()
                        for keyword in decorator.keywords
                    }
