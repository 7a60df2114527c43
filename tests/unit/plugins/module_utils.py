"""Code that Ansible's modules share, loaded as Ansible loads it: by its file."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[3] / "plugins/module_utils"


def load(name: str) -> ModuleType:
    """The module `name` of plugins/module_utils."""
    spec = importlib.util.spec_from_file_location(f"{name}_program", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up while it is being loaded.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
