import subprocess
from pathlib import Path
from typing import Any

import pytest

from kubedcos.lab import image
from kubedcos.lab.engine import Podman
from kubedcos.lab.program import ProgramFailed
from kubedcos.lab.spec import ImageSpec

SPEC = ImageSpec("bookworm", ("curl", "systemd"), ("nginx.service",))


class Programs:
    """mmdebstrap and podman without either."""

    def __init__(self, *, build_fails: bool = False) -> None:
        self.ran: list[list[str]] = []
        self.images: set[str] = set()
        self.build_fails = build_fails

    def __call__(self, argv: Any, **_: Any) -> Any:
        self.ran.append(list(argv))
        status = 0
        match list(argv):
            case ["apt-config", "dump"]:
                return subprocess.CompletedProcess(argv, 0, 'Acquire::Retries "3";\n', "")
            case ["mmdebstrap", *rest]:
                target = next(word for word in rest if word.endswith(".part"))
                Path(target).write_text("half")
                if self.build_fails:
                    raise ProgramFailed(argv, "mirror gone")
            case ["podman", "image", "exists", name]:
                status = 0 if name in self.images else 1
            case ["podman", "import", *_, name]:
                self.images.add(name)
        return subprocess.CompletedProcess(argv, status, "", "")

    def count(self, program: str) -> int:
        return sum(program in argv for argv in self.ran)


def test_the_image_is_built_once_and_loaded_when_podman_does_not_know_it(tmp_path: Path) -> None:
    programs = Programs()
    made = image.recipe(SPEC, etc_apt=tmp_path / "apt", runner=programs)
    podman = Podman(runner=programs)

    assert image.ensure(made, podman, tmp_path / "cache", tell=lambda _: None, runner=programs)
    assert not image.ensure(made, podman, tmp_path / "cache", tell=lambda _: None, runner=programs)
    programs.images.clear()
    assert image.ensure(made, podman, tmp_path / "cache", tell=lambda _: None, runner=programs)

    assert programs.count("mmdebstrap") == 1
    assert programs.count("import") == 2


def test_an_interrupted_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    programs = Programs(build_fails=True)
    made = image.recipe(SPEC, etc_apt=tmp_path / "apt", runner=programs)
    with pytest.raises(ProgramFailed):
        image.ensure(
            made, Podman(runner=programs), tmp_path / "c", tell=lambda _: None, runner=programs
        )
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["host.lock"]


def test_the_machines_own_sources_and_settings_are_used(tmp_path: Path) -> None:
    etc = tmp_path / "apt"
    (etc / "sources.list.d").mkdir(parents=True)
    (etc / "sources.list").write_text("deb http://m.example/debian bookworm main\n")
    (etc / "sources.list.d/x.sources").write_text(
        "Types: deb\nURIs: http://third.example\nSuites: stable\nComponents: main\n"
    )
    made = image.recipe(SPEC, etc_apt=etc, runner=Programs())

    argv = made.argv(tmp_path / "out", tmp_path / "hook")
    assert argv[-1] == "deb http://m.example/debian bookworm main"
    assert '--aptopt=Acquire::Retries "3"' in argv
    assert "third" not in " ".join(argv)


def test_another_mirror_is_the_same_image_but_another_package_is_not(tmp_path: Path) -> None:
    def recipe(spec: ImageSpec) -> image.Recipe:
        return image.recipe(spec, etc_apt=tmp_path, runner=Programs())

    elsewhere = ImageSpec(SPEC.suite, SPEC.packages, SPEC.disabled_units, ("deb http://x y main",))
    more = ImageSpec(SPEC.suite, (*SPEC.packages, "vim"), SPEC.disabled_units)
    assert recipe(elsewhere).hash == recipe(SPEC).hash
    assert recipe(more).hash != recipe(SPEC).hash
