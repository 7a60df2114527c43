"""Ansible module: bring the kernel to the overlays that the inventory describes."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_overlay import OverlayError, reconcile
from ansible.module_utils.kubedcos_units import UnitError, settle

DOCUMENTATION = r"""
module: kubedcos_overlay
short_description: Reconcile VXLAN devices, bridges, forwarding entries, routes and rules
description:
  - Compares the kernel with the desired state and changes only the differences, and removes
    stale entries of its own. The same code runs at boot as C(kubedcos-overlay.service).
options:
  state:
    description: Desired state, as the filter C(kubedcos_overlay_state) computes it.
    type: dict
    required: true
  units:
    description: Units of systemd to have enabled and running, which restore it at boot.
    type: list
    elements: str
    default: []
  written:
    description: Whether files of O(units) were written just now, or would be in check mode.
    type: bool
    default: false
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


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "dict", "required": True},
            "units": {"type": "list", "elements": "str", "default": []},
            "written": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        changes = reconcile(module.params["state"], check=module.check_mode)
    except OverlayError as error:
        if module.check_mode and str(error).endswith("is not installed"):
            changes = [f"everything: {error} yet"]
        else:
            module.fail_json(msg=str(error))
    try:
        settled = settle(module, module.params["units"], written=module.params["written"])
    except UnitError as error:
        module.fail_json(msg=str(error), changes=changes)
    changes += [f"{unit} is not enabled" for unit in settled.enabled]
    changes += [f"{unit} does not run" for unit in settled.started]
    diff = {"before": "", "after": "".join(f"{change}\n" for change in changes)}
    module.exit_json(changed=bool(changes), changes=changes, diff=diff)


if __name__ == "__main__":
    main()
