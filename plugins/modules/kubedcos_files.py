"""Ansible module: keep small files, directories, and the services that read them, in one step."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_units import Settled, UnitError, settle

DOCUMENTATION = r"""
module: kubedcos_files
short_description: Write several rendered files in one step
description:
  - Creates directories, writes files whose content the control machine rendered, and removes
    files, each only where it differs. One call instead of a loop of tasks, with one diff.
  - A file is written beside its place, validated if asked, and renamed. A file that is a mount
    point of its own can not be renamed over; it is rewritten in place.
  - Then the units are enabled and started that are not. What runs already is left alone, whatever
    was written; O(units) that have to restart are for the caller to find in RV(paths).
options:
  directories:
    description: Directories to have, parents first.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      mode: {description: Permission., type: str, default: "0755"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
  files:
    description: Files to have.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Text of the file., type: str, required: true}
      mode: {description: Permission., type: str, default: "0644"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
      validate:
        description: Program and arguments that must succeed first; V(%s) is the new file's path.
        type: list
        elements: str
        default: []
      secret: {description: Keep the text out of the diff., type: bool, default: false}
  blocks:
    description: Parts of files that others write in, too; each stands between two marked lines.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Text of the part., type: str, required: true}
      marker:
        description: The marking lines; V({mark}) in it becomes V(BEGIN) and V(END).
        type: str
        required: true
      mode: {description: Permission., type: str, default: "0644"}
      owner: {description: Owner by name., type: str, default: root}
      group: {description: Group by name., type: str, default: root}
  units:
    description: Units of systemd to have enabled and running once the files are written, in order.
    type: list
    elements: str
    default: []
  absent:
    description: Files that must not exist.
    type: list
    elements: path
    default: []
  purge:
    description:
      - Directories in which files that match the patterns are removed unless O(files) lists them.
    type: list
    elements: dict
    default: []
    suboptions:
      path: {description: Directory., type: path, required: true}
      patterns:
        description: Shell patterns of names, below it at any depth with V(**/).
        type: list
        elements: str
        required: true
      marker:
        description: A line that makes a file ours; all others stay, and directories left empty go.
        type: str
attributes:
  check_mode:
    support: full
    description: Says what would change, except that validation needs the file to be written.
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
"""


class FileError(Exception):
    """What stands in the way, in words for the operator."""


def user_id(name):
    """Number of a user."""
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise FileError(f"there is no user {name}") from None


def group_id(name):
    """Number of a group."""
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise FileError(f"there is no group {name}") from None


class Step:
    """Does or, in check mode, only counts what has to be done.

    Attributes:
        paths: what changed so far.
        diff: before and after of files, as Ansible shows them.
    """

    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.paths = []
        self.diff = []

    def owner_and_mode(self, path, item):
        """Set owner, group and mode where they differ."""
        found = path.stat()
        try:
            wanted = (user_id(item["owner"]), group_id(item["group"]), int(item["mode"], 8))
        except FileError:
            # A package that makes the user may be missing until the run is a real one.
            if self.check:
                self.note(path)
                return
            raise
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == wanted:
            return
        self.note(path)
        if not self.check:
            os.chown(path, wanted[0], wanted[1])
            path.chmod(wanted[2])

    def note(self, path):
        """Count the path as changed."""
        if str(path) not in self.paths:
            self.paths.append(str(path))

    def directory(self, item):
        """Have a directory."""
        path = Path(item["path"])
        if path.is_dir():
            self.owner_and_mode(path, item)
            return
        if path.exists() or path.is_symlink():
            raise FileError(f"{path} exists and is no directory")
        self.note(path)
        if not self.check:
            path.mkdir(parents=True)
            self.owner_and_mode(path, item)

    def file(self, item):
        """Have a file with this text."""
        path = Path(item["path"])
        before = self.text(path)
        if before == item["content"]:
            self.owner_and_mode(path, item)
            return
        self.note(path)
        hidden = item["secret"]
        self.diff.append(
            {
                "before_header": str(path),
                "after_header": str(path),
                "before": "" if before is None else "(secret)\n" if hidden else before,
                "after": "(other secret)\n" if hidden else item["content"],
            }
        )
        if not self.check:
            self.write(path, item)

    def block(self, item):
        """Have a part of a file between its two marks, the rest as it is."""
        path = Path(item["path"])
        begin, end = (item["marker"].replace("{mark}", word) for word in ("BEGIN", "END"))
        lines = (self.text(path) or "").split("\n")
        if not lines[-1]:
            lines.pop()
        part = [begin, *item["content"].splitlines(), end]
        if begin in lines and end in lines[lines.index(begin) :]:
            start = lines.index(begin)
            lines[start : lines.index(end, start) + 1] = part
        else:
            lines += part
        text = "".join(f"{line}\n" for line in lines)
        self.file({**item, "content": text, "secret": False, "validate": []})

    def text(self, path):
        """Text of a file; None when there is none."""
        try:
            return path.read_bytes().decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise FileError(f"can not read {path}: {error.strerror}") from error

    def write(self, path, item):
        """Write beside, validate, rename."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        fresh = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as sink:
                sink.write(item["content"].encode("utf-8", "surrogateescape"))
            self.validate(fresh, path, item["validate"])
            os.chown(fresh, user_id(item["owner"]), group_id(item["group"]))
            fresh.chmod(int(item["mode"], 8))
            try:
                fresh.rename(path)
            except OSError as error:
                if error.errno != errno.EBUSY:
                    raise
                # A mount point can not be renamed over.
                path.write_bytes(fresh.read_bytes())
                path.chmod(int(item["mode"], 8))
        except OSError as error:
            raise FileError(f"can not write {path}: {error.strerror}") from error
        finally:
            fresh.unlink(missing_ok=True)

    def validate(self, fresh, path, words):
        """Ask the consumer whether the new file is good."""
        if not words:
            return
        command = [str(fresh) if word == "%s" else word for word in words]
        code, out, err = self.module.run_command(command)
        if code != 0:
            raise FileError(f"the new {path} is refused by {words[0]}: {(err or out).strip()}")

    def absent(self, path):
        """Have no such file."""
        if not path.exists() and not path.is_symlink():
            return
        if path.is_dir() and not path.is_symlink():
            raise FileError(f"{path} is a directory; wanted a file or nothing")
        self.note(path)
        if not self.check:
            path.unlink()

    def purge(self, item, keep):
        """Have no other files of the patterns."""
        root = Path(item["path"])
        for pattern in item["patterns"]:
            for path in sorted(root.glob(pattern)):
                if not path.is_file() or str(path) in keep:
                    continue
                if not item["marker"] or self.ours(path, root, item["marker"]):
                    self.absent(path)
                    if item["marker"]:
                        self.empty(path.parent, root)

    def ours(self, path, root, marker):
        """Whether the file says so itself; what is behind a link stands elsewhere."""
        place = root.resolve() / path.relative_to(root)
        return place == path.resolve() and marker in (self.text(path) or "").split("\n")

    def empty(self, path, root):
        """Have no directory below the root that holds nothing."""
        if path != root and not self.check and not any(path.iterdir()):
            path.rmdir()


def main():
    """Entry point for Ansible."""
    owned = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "default": "root"},
        "group": {"type": "str", "default": "root"},
    }
    text = {
        **owned,
        "mode": {"type": "str", "default": "0644"},
        "content": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "directories": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**owned, "mode": {"type": "str", "default": "0755"}},
            },
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    **text,
                    "validate": {"type": "list", "elements": "str", "default": []},
                    "secret": {"type": "bool", "default": False},
                },
            },
            "blocks": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {**text, "marker": {"type": "str", "required": True}},
            },
            "units": {"type": "list", "elements": "str", "default": []},
            "absent": {"type": "list", "elements": "path", "default": []},
            "purge": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "path", "required": True},
                    "patterns": {"type": "list", "elements": "str", "required": True},
                    "marker": {"type": "str"},
                },
            },
        },
        supports_check_mode=True,
    )
    # The invocation is part of every result.
    module.no_log_values.update(f["content"] for f in module.params["files"] if f["secret"])
    step = Step(module)
    settled = Settled()
    try:
        for item in module.params["directories"]:
            step.directory(item)
        for item in module.params["files"]:
            step.file(item)
        for item in module.params["blocks"]:
            step.block(item)
        for path in module.params["absent"]:
            step.absent(Path(path))
        keep = {str(Path(item["path"])) for item in module.params["files"]}
        for item in module.params["purge"]:
            step.purge(item, keep)
        settled = settle(module, module.params["units"], written=bool(step.paths))
    except (FileError, UnitError) as error:
        module.fail_json(msg=str(error), paths=step.paths)
    module.exit_json(
        changed=bool(step.paths) or bool(settled),
        paths=step.paths,
        started=settled.started,
        enabled=settled.enabled,
        diff=step.diff,
    )


if __name__ == "__main__":
    main()
