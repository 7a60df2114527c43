"""What the module finds of kernel and packages here, on the machine that runs the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[..., dict[str, Any]]


def test_settings_are_compared_with_those_of_the_running_kernel(run_module: Run) -> None:
    ports = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    same = {"kernel.ostype": "Linux", "net.ipv4.ip_local_port_range": "  ".join(ports)}
    assert run_module("kubedcos_host", settings=same)["changed"] is False
    other = run_module("kubedcos_host", check=True, settings={**same, "kernel.ostype": "Hurd"})
    assert other["changed"] is True
    assert other["differences"] == ["kernel.ostype: Linux -> Hurd"]


def test_what_cannot_be_set_is_told_with_what_is_there(run_module: Run) -> None:
    unknown = run_module("kubedcos_host", settings={"kernel.no_such_thing": 1})
    assert "kernel.no_such_thing: No such file" in unknown["msg"]
    fixed = run_module("kubedcos_host", settings={"kernel.ostype": "Hurd"})
    assert "kernel.ostype: can not be set from Linux to Hurd" in fixed["msg"]


def test_modules_have_hyphens_or_underscores(run_module: Run) -> None:
    loaded = next(path.name for path in Path("/sys/module").iterdir() if "_" in path.name)
    for name in (loaded, loaded.replace("_", "-")):
        assert run_module("kubedcos_host", check=True, modules=[name])["differences"] == []
    absent = run_module("kubedcos_host", check=True, modules=["no_such_module"])
    assert absent["differences"] == ["module no_such_module loaded"]


def test_packages_that_are_not_installed_are_named_in_order(run_module: Run) -> None:
    wanted = ["no-such-package-b", "dpkg", "no-such-package-a"]
    found = run_module("kubedcos_host", packages=wanted)
    assert found["changed"] is False
    assert found["missing"] == ["no-such-package-b", "no-such-package-a"]
    assert "dpkg" in found["installed"]
    assert not {"no-such-package-a", "no-such-package-b"} & set(found["installed"])


def test_files_for_the_next_boot_are_written_in_the_same_call(
    run_module: Run, tmp_path: Path
) -> None:
    path = tmp_path / "60-kubedcos.conf"
    wanted = {"files": [{"path": str(path), "content": "a = 1\n", "owner": "0", "group": "0"}]}
    assert run_module("kubedcos_host", check=True, **wanted)["paths"] == [str(path)]
    assert not path.exists()
    first = run_module("kubedcos_host", **wanted)
    assert (first["changed"], path.read_text()) == (True, "a = 1\n")
    assert run_module("kubedcos_host", **wanted)["changed"] is False
