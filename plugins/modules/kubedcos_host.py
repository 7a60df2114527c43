"""Ansible module: a host's kernel as it is wanted, now and at boot; which packages it lacks."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_step import ARGUMENTS, FileError, Step
from ansible.module_utils.kubedcos_units import Readers, UnitError

DOCUMENTATION = r"""
module: kubedcos_host
short_description: Bring the kernel to its settings, and see which packages are missing
description:
  - Sets what differs in the running kernel, whoever changed it. Files for the next boot are written
    in the same call, as C(kubedcos_files) does it.
  - Tells whether the host is a container, whose kernel belongs to its machine, and which packages
    it lacks.
options:
  settings:
    description: Keys as sysctl writes them, and values.
    type: dict
    default: {}
  modules:
    description: Modules to load unless the kernel has them.
    type: list
    elements: str
    default: []
  packages:
    description: Debian packages to look for.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [kubedcos_step]
attributes:
  check_mode:
    support: full
    description: Says what would be set and loaded.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Bring the kernel to its settings
  kubedcos_host:
    settings:
      net.ipv4.ip_forward: 1
"""

RETURN = r"""
differences:
  description: What was (in check mode, would be) changed.
  type: list
  returned: always
container:
  description: Whether this host is a container.
  type: bool
  returned: always
missing:
  description: Those of O(packages) that are not installed.
  type: list
  returned: always
installed:
  description: All packages that are installed; none where O(packages) asks for none.
  type: list
  returned: always
"""


class KernelError(Exception):
    """What stands in the way, in words for the operator."""


def setting_path(key):
    """File of a setting."""
    return Path("/proc/sys", *key.split("."))


def words(value):
    """A value regardless of the blanks between its parts."""
    return str(value).split()


def apply_setting(key, value, check):
    """Set one setting; returns the difference, empty if there was none."""
    path = setting_path(key)
    try:
        seen = path.read_text()
    except OSError as error:
        raise KernelError(f"{key}: {error.strerror}; wanted a setting of this kernel") from error
    if words(seen) == words(value):
        return ""
    if not check:
        try:
            path.write_text(str(value))
        except OSError as error:
            raise KernelError(
                f"{key}: can not be set from {' '.join(words(seen))} to {value}: {error.strerror}"
            ) from error
    return f"{key}: {' '.join(words(seen))} -> {value}"


def has_module(name):
    """Whether the module is loaded or built in; the kernel writes a hyphen as an underscore."""
    name = name.replace("-", "_")
    if Path("/sys/module", name).is_dir():
        return True
    builtin = Path("/lib/modules", platform.release(), "modules.builtin")
    names = builtin.read_text().splitlines() if builtin.exists() else []
    return any(Path(line).stem.replace("-", "_") == name for line in names)


def load_module(module, name):
    """Load a module of the running kernel."""
    if module.check_mode:
        return
    code, out, err = module.run_command(["modprobe", name])
    if code != 0:
        raise KernelError(f"module {name}: {(err or out).strip()}")


def is_container():
    """Whether systemd says that this is a container."""
    try:
        done = subprocess.run(["systemd-detect-virt", "--container", "--quiet"], check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0


def installed_packages(module):
    """Debian packages that are installed, by name."""
    form = "--showformat=${Package} ${db:Status-Status}\\n"
    code, out, err = module.run_command(["dpkg-query", "--show", form])
    # Without any package it is 1.
    if code not in (0, 1):
        raise KernelError(f"dpkg-query: {(err or out).strip()}")
    found = (line.split() for line in out.splitlines())
    return sorted({words[0] for words in found if words[1:] == ["installed"]})


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "modules": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    step = Step(module, Readers(module, module.params["notes"]))
    differences = []
    try:
        for name in module.params["modules"]:
            if not has_module(name):
                differences.append(f"module {name} loaded")
                load_module(module, name)
        for key, value in sorted(module.params["settings"].items()):
            difference = apply_setting(key, value, module.check_mode)
            if difference:
                differences.append(difference)
        installed = installed_packages(module) if module.params["packages"] else []
        step.bring_to(module.params)
        result = step.start_units()
    except (FileError, KernelError, UnitError) as error:
        module.fail_json(msg=str(error), differences=differences, paths=step.paths)
    result["changed"] = result["changed"] or bool(differences)
    module.exit_json(
        **result,
        differences=differences,
        container=is_container(),
        installed=installed,
        missing=[name for name in module.params["packages"] if name not in installed],
    )


if __name__ == "__main__":
    main()
