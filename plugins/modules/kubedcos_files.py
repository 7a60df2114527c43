"""Ansible module: keep small files, directories, and the services that read them, in one step."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_step import ARGUMENTS, FileError, Step
from ansible.module_utils.kubedcos_units import Readers, UnitError

DOCUMENTATION = r"""
module: kubedcos_files
short_description: Write several rendered files in one step
description:
  - Creates directories, writes files whose content the control machine rendered, and removes
    files, each only where it differs. One call instead of a loop of tasks, with one diff.
  - A file is written beside its place, validated if asked, and renamed. A file that is a mount
    point of its own can not be renamed over; it is rewritten in place.
  - Then the units are enabled and started that are not. What runs already is left alone, whatever
    was written; RV(outdated) says which units have to restart.
  - A unit stays outdated until it is restarted. What a file held is noted below O(notes) before it
    changes, with systemd's InvocationID of each running unit that has read it; so a play that
    breaks off before the restart is no reason to forget it. A file that holds again what the unit
    has read makes it outdated no more.
extends_documentation_fragment: [kubedcos_step]
attributes:
  check_mode:
    support: full
    description:
      - Says what would change, except that validation needs the file to be written. Writes no note.
  diff_mode:
    support: full
    description: Shows the text of files that are not secret.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Write configuration
  kubedcos_files:
    directories:
      - path: /etc/coredns
    files:
      - path: /etc/coredns/Corefile
        content: "{{ __dns_corefile }}"
    units: [coredns.service]
"""

RETURN = r"""
paths:
  description: What was (in check mode, would be) created, changed or removed.
  type: list
  returned: always
  sample: [/etc/coredns/Corefile]
started:
  description: Units that were (in check mode, would be) started; the others ran already.
  type: list
  returned: always
  sample: [coredns.service]
enabled:
  description: Units that were (in check mode, would be) enabled.
  type: list
  returned: always
  sample: []
outdated:
  description:
    - Those of O(units) and of all C(read_by) that run (in check mode, would run) with files as they
      were before, whether these changed in this run or in one that broke off. They have to restart.
  type: list
  returned: always
  sample: [coredns.service]
reloaded:
  description: Units that were (in check mode, would be) reloaded.
  type: list
  returned: always
  sample: []
"""


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    step = Step(module, Readers(module, module.params["notes"]))
    try:
        step.bring_to(module.params)
        result = step.start_units()
    except (FileError, UnitError) as error:
        module.fail_json(msg=str(error), paths=step.paths)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
