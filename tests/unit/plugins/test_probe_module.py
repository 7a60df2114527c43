"""The look at a host: what it makes of a process that is busy meanwhile."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

MODULES = Path(__file__).parents[3] / "plugins" / "modules"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kubedcos_probe", MODULES / "kubedcos_probe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_descriptor_that_is_gone_does_not_hide_the_others(tmp_path: Path) -> None:
    descriptors = tmp_path / "fd"
    descriptors.mkdir()
    (descriptors / "3").symlink_to("socket:[4711]")
    (descriptors / "4").write_text("reading this as a link fails, as for a closed descriptor")
    (descriptors / "5").symlink_to("socket:[4712]")
    (descriptors / "6").symlink_to("/dev/null")
    assert load().open_sockets(tmp_path) == {"4711", "4712"}


def test_a_process_that_ended_has_no_sockets(tmp_path: Path) -> None:
    assert load().open_sockets(tmp_path / "gone") == set()
