"""Jinja with undefined names as errors, over the artefacts in ``templates/``.

The folder is linked into the package as ``render/files``, so that an editable installation and a
wheel find it the same way; the runtime that hosts get has it in ``share/kubedcos/templates``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from kubedcos.errors import InvalidInput, Problem


class Templates:
    """Renders templates of one folder.

    Args:
        root: the folder; template names are paths inside it.
    """

    def __init__(self, root: Path) -> None:
        self._environment = jinja2.Environment(  # noqa: S701  artefacts are configuration, not HTML
            loader=jinja2.FileSystemLoader(root),
            undefined=jinja2.StrictUndefined,
            keep_trailing_newline=True,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["pretty_json"] = pretty_json

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The template's text with `values` filled in.

        Raises:
            InvalidInput: the template does not exist, is malformed, or uses a missing name.
        """
        try:
            return self._environment.get_template(name).render(values)
        except jinja2.TemplateNotFound as error:
            raise InvalidInput(
                [
                    Problem(
                        f"template {name}",
                        "no such template",
                        "one of " + ", ".join(self.names()),
                        "template-unknown",
                    )
                ]
            ) from error
        except jinja2.TemplateSyntaxError as error:
            place = f"template {error.name or name}, line {error.lineno}"
            raise InvalidInput(
                [Problem(place, str(error.message), "valid Jinja", "template-malformed")]
            ) from error
        except jinja2.UndefinedError as error:
            raise InvalidInput(
                [
                    Problem(
                        f"template {name}",
                        str(error.message),
                        "a value for every name in it",
                        "template-value-missing",
                    )
                ]
            ) from error

    def names(self) -> list[str]:
        """All templates of the folder."""
        return self._environment.list_templates(extensions=["j2"])


def pretty_json(value: object) -> str:
    """JSON as files hold it: indented, in the given order of keys."""
    return json.dumps(value, indent=2, ensure_ascii=False)


@cache
def _shipped() -> Templates:
    linked = Path(str(files("kubedcos.render") / "files"))
    if linked.is_dir():
        return Templates(linked)
    return Templates(Path(__file__).parents[3] / "share" / "kubedcos" / "templates")


def render(name: str, values: Mapping[str, Any]) -> str:
    """Render a template that kubedcos ships; see `Templates.render`."""
    return _shipped().render(name, values)
