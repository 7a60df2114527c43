"""Ansible module: install artefacts that the site serves, verified before use."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_download import ArtifactError
from ansible.module_utils.kubedcos_install import ARTIFACT, install
from ansible.module_utils.kubedcos_step import ARGUMENTS, FileError, Step
from ansible.module_utils.kubedcos_units import Readers, UnitError

DOCUMENTATION = r"""
module: kubedcos_artifact
short_description: Install verified artefacts from the site's own artefact server
description:
  - Fetches each artefact once, compares its SHA-256 with the sum that the control machine gave,
    and only then puts it in place by rename. A file that is already right is neither fetched nor
    touched.
  - With O(artifacts[].unpack) the archive becomes a directory. A record beside the unpacked files
    remembers their sizes, modes and modification times, so a changed or missing file is noticed
    and repaired. The directory belongs to the artefact, foreign files in it included.
  - Files that belong to them are written next, and the units that run them are started last, all in
    the same call, as C(kubedcos_files) does it.
options:
  artifacts:
    description: What to install, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name for messages.
        type: str
        required: true
      url:
        description: Where to fetch it (V(http), V(https) or V(file)).
        type: str
        required: true
      sha256:
        description: Expected SHA-256 of what O(artifacts[].url) delivers, 64 hexadecimal digits.
        type: str
        required: true
      dest:
        description: Absolute path of the file, or of the directory with O(artifacts[].unpack).
        type: path
        required: true
      mode:
        description: Permission of the file, or of the directory with O(artifacts[].unpack).
        type: str
        default: "0755"
      owner:
        description: Owner of the file; unpacked trees belong to root.
        type: str
        default: root
      group:
        description: Group of the file; unpacked trees belong to root.
        type: str
        default: root
      unpack:
        description: The artefact is a tar archive; unpack it into O(artifacts[].dest).
        type: bool
        default: false
      strip:
        description: Leading path components to drop from the names in the archive.
        type: int
        default: 0
      include:
        description: Shell patterns of the names (after the strip) to unpack; all if empty.
        type: list
        elements: str
        default: []
      links:
        description:
          - Symbolic links to keep, as C(path of the link) to C(target); a relative target is
            meant inside O(artifacts[].dest).
        type: dict
        default: {}
      read_by:
        description: Units of systemd that run it; C(kubedcos_files) finds them outdated then.
        type: list
        elements: str
        default: []
  timeout:
    description: Seconds without any data after which a download is given up.
    type: int
    default: 60
  retries:
    description: Further attempts when the server can not be reached or breaks off.
    type: int
    default: 4
extends_documentation_fragment: [kubedcos_step]
attributes:
  check_mode:
    support: full
    description: Says what would be installed; fetches nothing.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Install CoreDNS
  kubedcos_artifact:
    artifacts:
      - name: coredns
        url: http://10.0.0.5:8080/artifacts/sha256/0c5e.../coredns
        sha256: 0c5e...
        dest: /opt/kubedcos/bin/coredns
        read_by: [coredns.service]
    files:
      - path: /etc/coredns/Corefile
        content: "{{ __dns_corefile }}"
    units: [coredns.service]

- name: Install the runtime and point "current" at it
  kubedcos_artifact:
    artifacts:
      - name: kubedcos-runtime
        url: http://10.0.0.5:8080/artifacts/sha256/77aa.../runtime.tar.gz
        sha256: 77aa...
        dest: /opt/kubedcos/runtime/0.1.0-77aa
        unpack: true
        links:
          /opt/kubedcos/current: .
"""

RETURN = r"""
installed:
  description: Artefacts that were (in check mode, would be) installed, with the reason.
  type: dict
  returned: always
  sample: {coredns: missing}
links:
  description: Links that were (in check mode, would be) set.
  type: list
  returned: always
outdated:
  description: As of C(kubedcos_files), like C(paths), C(started), C(enabled) and C(reloaded).
  type: list
  returned: always
"""


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "artifacts": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": ARTIFACT,
            },
            "timeout": {"type": "int", "default": 60},
            "retries": {"type": "int", "default": 4},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    readers = Readers(module, module.params["notes"])
    step = Step(module, readers)
    try:
        artifacts = install(module, readers)
        step.bring_to(module.params)
        result = step.start_units(written=artifacts["changed"])
    except (ArtifactError, FileError, UnitError) as error:
        module.fail_json(msg=str(error), paths=step.paths)
    changed = artifacts["changed"] or result["changed"]
    module.exit_json(**{**artifacts, **result, "changed": changed})


if __name__ == "__main__":
    main()
