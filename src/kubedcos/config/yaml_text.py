"""YAML text to plain data; a duplicate key is an error here, not a silent choice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kubedcos.errors import InvalidInput, Problem


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a mapping that has a key twice: YAML forbids it, PyYAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key!r} is not text; put it in quotes",
                    key_node.start_mark,
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands here twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in the YAML file at `path`; see `parse_mapping`.

    Raises:
        InvalidInput: the file cannot be read, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        seen = error.strerror or type(error).__name__
        problem = Problem(str(path), seen, "a YAML file", id="file-unreadable")
        raise InvalidInput([problem]) from error
    except UnicodeDecodeError as error:
        problem = Problem(str(path), str(error), "UTF-8 text", id="broken-yaml")
        raise InvalidInput([problem]) from error
    return parse_mapping(text, str(path))


def parse_mapping(text: str, where: str) -> dict[str, Any]:
    """Parse `text` as one YAML document that is a mapping.

    Args:
        text: the document.
        where: what to call it in errors, such as a file name.

    Raises:
        InvalidInput: not YAML, more than one document, or not a mapping; names line and column.
    """
    try:
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506  derived from SafeLoader
    except yaml.YAMLError as error:
        raise InvalidInput([_broken(error, where)]) from None
    except RecursionError:
        raise InvalidInput(
            [Problem(where, "text nested too deeply", "valid YAML", id="broken-yaml")]
        ) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidInput(
            [Problem(where, type(data).__name__, "a mapping of option names to values")]
        )
    return data


def syntax_problem(text: str, where: str) -> Problem | None:
    """What keeps `text` from being YAML (or JSON, which is a part of it), with line and column.

    Only the form is looked at: tags such as ``!vault`` may mean anything.

    Args:
        text: the document.
        where: what to call it, such as a file name.
    """
    try:
        for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
            for twice in _keys_that_stand_twice(node):
                mark = twice.start_mark
                return Problem(
                    f"{where}:{mark.line + 1}:{mark.column + 1}",
                    f"the key {twice.value!r} stands here twice",
                    "each key once",
                    id="broken-yaml",
                )
    except yaml.YAMLError as error:
        return _broken(error, where)
    except RecursionError:
        return Problem(where, "text nested too deeply", "valid YAML", id="broken-yaml")
    return None


def folder_problems(folder: Path) -> list[Problem]:
    """Problems of all YAML and JSON files of an inventory.

    Args:
        folder: the inventory; a file stands for the folder that it is in.
    """
    # Ansible asks for the folder of the playbooks and for the current one too: only what it would
    # read there counts, never a whole checkout.
    root = folder if folder.is_dir() else folder.parent
    found = [*folder.iterdir()] if folder.is_dir() else [folder]
    for name in ("group_vars", "host_vars"):
        found += (root / name).rglob("*")
    paths = sorted(path for path in found if path.suffix in _SUFFIXES and path.is_file())
    problems = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except OSError:
            continue
        except UnicodeDecodeError as error:
            problems.append(Problem(str(path), str(error), "UTF-8 text", id="broken-yaml"))
            continue
        problem = syntax_problem(text, str(path))
        if problem is not None and not text.startswith("$ANSIBLE_VAULT"):
            problems.append(problem)
    return problems


_SUFFIXES = frozenset({".yml", ".yaml", ".json"})


def _keys_that_stand_twice(top: yaml.Node | None) -> Iterator[yaml.Node]:
    seen: set[int] = set()
    nodes = [top] if top is not None else []
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in keys and key.value != "<<":
                        yield key
                    keys.add(key.value)
                nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def _broken(error: yaml.YAMLError, where: str) -> Problem:
    mark = getattr(error, "problem_mark", None)
    place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
    seen = getattr(error, "problem", None) or str(error)
    return Problem(place, seen, "valid YAML", id="broken-yaml")
