"""Ansible module: a host's kernel brought to its settings; which packages it lacks."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kubedcos_host
short_description: Bring the kernel to its settings, and see which packages are missing
description:
  - Sets what differs in the running kernel, whoever changed it; files for the next boot are
    another task's.
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


def missing_packages(module, names):
    """Packages that dpkg does not have as installed, in the order given."""
    if not names:
        return []
    form = "--showformat=${Package} ${db:Status-Status}\\n"
    code, out, err = module.run_command(["dpkg-query", "--show", form, *names])
    # One that was never there makes it 1.
    if code not in (0, 1):
        raise KernelError(f"dpkg-query: {(err or out).strip()}")
    installed = {
        words[0] for line in out.splitlines() if (words := line.split())[1:] == ["installed"]
    }
    return [name for name in names if name not in installed]


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "settings": {"type": "dict", "default": {}},
            "modules": {"type": "list", "elements": "str", "default": []},
            "packages": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
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
        missing = missing_packages(module, module.params["packages"])
    except KernelError as error:
        module.fail_json(msg=str(error), differences=differences)
    module.exit_json(
        changed=bool(differences),
        differences=differences,
        container=is_container(),
        missing=missing,
    )


if __name__ == "__main__":
    main()
