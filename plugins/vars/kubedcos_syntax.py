"""Names the file and the line of broken YAML in an inventory, which Ansible alone does not."""

from __future__ import annotations

import gc
from functools import cache
from pathlib import Path

from ansible.errors import AnsibleParserError
from ansible.plugins.loader import filter_loader, test_loader
from ansible.plugins.vars import BaseVarsPlugin

from kubedcos.config.yaml_text import folder_problems

DOCUMENTATION = r"""
name: kubedcos_syntax
short_description: Check that all files of an inventory can be read
description:
  - Gives no variables. Fails with file, line and column when a file of the inventory is no YAML or
    has a key twice, before the plugin that reads them fails without saying where.
author:
  - The kubedcos authors
"""


# Ansible forks a worker for each task on each host. What is loaded before the first fork, all of
# them have; otherwise each would load every filter plugin again, which costs more than its task.
for _loader, _name in ((filter_loader, "kubedcos_render"), (test_loader, "match")):
    _loader.get(_name)
# A worker lives for one task: what it has from its parent, it need not look through for garbage.
gc.freeze()
gc.set_threshold(50_000, 50, 1000)


class VarsModule(BaseVarsPlugin):
    """What Ansible asks for."""

    is_stateless = True  # else it is made anew for each host and folder, its documentation parsed

    def get_vars(self, _loader, path, _entities):
        """No variables, but an error when a file below `path` is broken."""
        _check(path)
        return {}


@cache
def _check(path):
    problems = folder_problems(Path(path))
    if problems:
        raise AnsibleParserError("\n".join(str(problem) for problem in problems))
