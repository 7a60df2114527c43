"""Ansible module: bring the kernel to the overlays that the inventory describes."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_overlay import OverlayError, reconcile
from ansible.module_utils.kubedcos_step import ARGUMENTS, FileError, Step
from ansible.module_utils.kubedcos_units import Readers, UnitError

DOCUMENTATION = r"""
module: kubedcos_overlay
short_description: Reconcile VXLAN devices, bridges, forwarding entries, routes and rules
description:
  - Compares the kernel with the desired state and changes only the differences, and removes
    stale entries of its own. The same code runs at boot as C(kubedcos-overlay.service).
  - The files that restore it then are written first, and their unit is started last, as
    C(kubedcos_files) does it.
options:
  state:
    description: Desired state, as the filter C(kubedcos_overlay_state) computes it.
    type: dict
    required: true
extends_documentation_fragment: [kubedcos_step]
attributes:
  check_mode:
    support: full
    description: Compares and tells, changes nothing. Needs iproute2; without it all is to be made.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Reconcile
  kubedcos_overlay:
    state: "{{ __overlay_state }}"
    units: [kubedcos-overlay.service]
"""

RETURN = r"""
changes:
  description: What was (in check mode, would be) changed, as sentences.
  type: list
  returned: always
  sample: [device v-apps is missing]
"""


def bring_kernel_to(module, state):
    """What was (in check mode, would be) changed in the kernel, as sentences."""
    try:
        return reconcile(state, check=module.check_mode)
    except OverlayError as error:
        if module.check_mode and str(error).endswith("is not installed"):
            return [f"everything: {error} yet"]
        raise


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={"state": {"type": "dict", "required": True}, **ARGUMENTS},
        supports_check_mode=True,
    )
    step = Step(module, Readers(module, module.params["notes"]))
    changes = []
    try:
        step.bring_to(module.params)
        changes += bring_kernel_to(module, module.params["state"])
        result = step.start_units()
    except (FileError, OverlayError, UnitError) as error:
        module.fail_json(msg=str(error), changes=changes, paths=step.paths)
    changes += [f"{unit} is not enabled" for unit in result["enabled"]]
    changes += [f"{unit} does not run" for unit in result["started"]]
    kernel = {"before": "", "after": "".join(f"{change}\n" for change in changes)}
    result["changed"] = result["changed"] or bool(changes)
    module.exit_json(**{**result, "changes": changes, "diff": [*step.diff, kernel]})


if __name__ == "__main__":
    main()
