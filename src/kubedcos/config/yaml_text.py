"""YAML text to plain data; a duplicate key is an error here, not a silent choice."""

from __future__ import annotations

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
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}:{mark.line + 1}:{mark.column + 1}" if mark else where
        raise InvalidInput(
            [Problem(place, error.problem or "broken text", "valid YAML", id="broken-yaml")]
        ) from None
    except yaml.YAMLError as error:
        raise InvalidInput([Problem(where, str(error), "valid YAML", id="broken-yaml")]) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise InvalidInput(
            [Problem(where, type(data).__name__, "a mapping of option names to values")]
        )
    return data
