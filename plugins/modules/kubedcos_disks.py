"""Ansible module: prepare the disks that a host offers to Mesos."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.kubedcos_mounts import (
    NOTHING,
    Waiting,
    mounted_at,
    not_in_effect,
    options_of,
    remount_options,
    with_defaults,
    words_of,
)

DOCUMENTATION = r"""
module: kubedcos_disks
short_description: Make, format and mount disks for Mesos
description:
  - Mounts each disk through a systemd mount unit, so that it is there before services that need
    it, and says how much of it may be offered.
  - Makes a file system only on a device or image without any signature. A disk that holds
    something else is refused, never overwritten.
  - Where options changed, the disk is mounted again with them while it is in use (C(mount -o
    remount)). What the kernel changes at a new mount only is written for that, and each run warns
    of it until there was one.
options:
  disks:
    description: The disks.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name for messages., type: str, required: true}
      type:
        description: V(mount) is given to one task as a whole, V(path) is shared.
        type: str
        choices: [mount, path]
        required: true
      root: {description: Mount point or directory., type: path, required: true}
      device:
        description: Block device, best below /dev/disk/by-id.
        type: path
      image:
        description: File to use as a block device instead.
        type: path
      image_mb:
        description: Size in MB with which a missing image is made.
        type: int
      filesystem:
        description: File system to make on an empty device.
        type: str
        choices: [xfs, ext4]
        default: xfs
      options: {description: Mount options., type: str, default: noatime}
      offer_mb:
        description: Size in MB to offer; without it what the file system holds less a margin.
        type: int
  units: {description: Mount point to text of its mount unit., type: dict, default: {}}
  root_path:
    description: Directory of the agent's sandboxes, whose file system is the root disk.
    type: path
    default: /var/lib/mesos
  root_mb:
    description: Size in MB of the root disk to offer; V(0) takes Mesos' own rule.
    type: int
    default: 0
  margin_mb:
    description: What is kept back from a disk's size in MB.
    type: int
    default: 100
  offers_file:
    description: Where the offers are written to afterwards; RV(offered) is its text until then.
    type: path
attributes:
  check_mode:
    support: full
    description: Says what would be done. The size of a disk that is not there yet is estimated.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Prepare disks
  kubedcos_disks:
    disks:
      - name: fast1
        type: mount
        device: /dev/disk/by-id/nvme-1
        root: /srv/mesos/fast1
    units:
      /srv/mesos/fast1: "{{ __storage_unit }}"
"""

RETURN = r"""
offers:
  description: Type, root and size in MB of each disk, the root disk first.
  type: list
  returned: always
offered:
  description:
    - Text of O(offers_file) where all may read it and root alone may write it; otherwise empty.
  type: str
  returned: always
actions:
  description: What was (in check mode, would be) done.
  type: list
  returned: always
"""

UNITS = Path("/etc/systemd/system")
# Options that wait for a new mount, by mount unit; gone at boot, when they are in effect.
WAITING = Path("/run/kubedcos/mount-options")
MOUNTS = Path("/proc/self/mountinfo")


class DiskError(Exception):
    """What stands in the way, in words for the operator."""


class Disks:
    """Brings disks to the wanted state.

    Attributes:
        actions: what was done, as sentences.
    """

    def __init__(self, module):
        self.module = module
        self.check = module.check_mode
        self.actions = []

    def command(self, words, allowed=(0,)):
        """Run a program; returns exit code and output."""
        code, out, err = self.module.run_command(words)
        if code not in allowed:
            lines = (err or out).strip().splitlines() or ["failed without a word"]
            raise DiskError(f"{' '.join(words)}: {lines[0]}")
        return code, out

    def prepare(self, disk, unit):
        """Have the disk mounted, or the directory made."""
        if disk["type"] == "path" and not (disk["device"] or disk["image"]):
            self.directory(Path(disk["root"]))
            return
        root = Path(disk["root"])
        mounted = os.path.ismount(root)
        if not mounted and root.is_dir() and any(root.iterdir()):
            raise DiskError(
                f"disk {disk['name']}: {root} is not mounted and holds files; wanted an empty "
                "directory. Move them away first."
            )
        what = self.source(disk)
        if what is not None and not mounted:
            self.format(disk, what)
        self.directory(root)
        self.mount(disk, root, unit, mounted=mounted)

    def source(self, disk):
        """Device or image; None when check mode would have to make it."""
        if disk["device"]:
            path = Path(disk["device"])
            if not path.is_block_device():
                raise DiskError(f"disk {disk['name']}: {path} is no block device of this host")
            return path
        path = Path(disk["image"])
        if path.exists():
            return path
        if not disk["image_mb"]:
            raise DiskError(f"disk {disk['name']}: image_mb is missing; wanted a size in MB")
        self.room_for(disk, path)
        self.actions.append(f"image {path} made")
        if self.check:
            return None
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as sink:
            path.chmod(0o600)
            sink.truncate(disk["image_mb"] << 20)
        return path

    def room_for(self, disk, path):
        """Refuse an image that its file system could never hold."""
        place = path.parent
        while not place.exists():
            place = place.parent
        found = os.statvfs(place)
        free = found.f_bavail * found.f_frsize >> 20
        if free < disk["image_mb"]:
            raise DiskError(
                f"disk {disk['name']}: {place} has {free} MB free; wanted {disk['image_mb']} MB "
                f"for {path}"
            )

    def format(self, disk, what):
        """Make a file system unless there is one; refuse anything else."""
        wanted = disk["filesystem"]
        code, out = self.command(["blkid", "--probe", "--output", "export", str(what)], (0, 2, 8))
        found = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if found.get("TYPE") == wanted:
            return
        _, signatures = self.command(["wipefs", "--no-act", "--noheadings", str(what)])
        if code != 2 or signatures.strip():
            seen = found.get("TYPE") or found.get("PTTYPE") or "something unknown"
            raise DiskError(
                f"disk {disk['name']}: {what} holds {seen}; wanted {wanted} or an empty disk. "
                "Nothing was written. Wipe it yourself if it may go: wipefs --all"
            )
        self.actions.append(f"{wanted} made on {what}")
        if not self.check:
            quiet = ["-q"] if wanted == "xfs" else ["-q", "-F"]
            self.command([f"mkfs.{wanted}", *quiet, str(what)])

    def directory(self, path):
        """Have a directory."""
        if not path.is_dir():
            self.actions.append(f"directory {path} made")
            if not self.check:
                path.mkdir(parents=True)

    def mount(self, disk, root, unit, mounted):
        """Have the mount unit written, enabled and active."""
        _, out = self.command(["systemd-escape", "--path", "--suffix=mount", str(root)])
        name = out.strip()
        path = UNITS / name
        before = path.read_text() if path.exists() else ""
        if before != unit:
            self.actions.append(f"{name} written")
            if not self.check:
                path.write_text(unit)
                self.command(["systemctl", "daemon-reload"])
        if mounted:
            waiting, said = self.waiting(name)
            asked, wanted = words_of(options_of(before)), words_of(options_of(unit))
            if asked != wanted:
                asked = asked - waiting.late | waiting.kept
                waiting, said = self.remount(disk, asked, wanted)
                self.remember(name, waiting, said)
            if waiting:
                self.module.warn(said)
        enabled = self.module.run_command(["systemctl", "is-enabled", "--quiet", name])[0] == 0
        if not enabled or not mounted:
            self.actions.append(f"{disk['name']} mounted at {root}" if not mounted else "enabled")
            if not self.check:
                self.command(["systemctl", "enable", "--now", name])

    def remount(self, disk, asked, wanted):
        """Have a mounted disk follow its options; what waits for a new mount, and how to say it."""
        root = disk["root"]
        done = f"{disk['name']} mounted again at {root} with {disk['options']}"
        if self.check:
            self.actions.append(done)
            return NOTHING, ""
        before = mounted_at(MOUNTS.read_text(), root)
        # With its source mount(8) takes these options alone; without, it adds those in effect.
        words = ["mount", "-o", remount_options(disk["options"]), before.source, root]
        code, _, err = self.module.run_command(words)
        if code == 0:
            self.actions.append(done)
        after = with_defaults(mounted_at(MOUNTS.read_text(), root))
        waiting = not_in_effect(asked, wanted, before, after, taken=code == 0)
        lines = err.strip().splitlines() or ["accepted, and not followed"]
        return waiting, (
            f"disk {disk['name']}: not in effect at {root}: {waiting}. It is at the next mount, at "
            f"the latest after a boot. To have it now, stop mesos-agent and what else uses {root}, "
            f"unmount it, and run this again. Tried: {' '.join(words)}: {lines[0]}"
        )

    def waiting(self, name):
        """What an earlier run could not change of the mount that is there."""
        try:
            noted = json.loads((WAITING / name).read_text())
        except FileNotFoundError:
            return NOTHING, ""
        if noted["mount"] != self.mount_of(name):
            return NOTHING, ""
        return Waiting(frozenset(noted["late"]), frozenset(noted["kept"])), noted["said"]

    def remember(self, name, waiting, said):
        """Have the next run know what waits."""
        if self.check:
            return
        (WAITING / name).unlink(missing_ok=True)
        if waiting:
            WAITING.mkdir(parents=True, exist_ok=True)
            late, kept = sorted(waiting.late), sorted(waiting.kept)
            noted = {"mount": self.mount_of(name), "late": late, "kept": kept, "said": said}
            (WAITING / name).write_text(json.dumps(noted))

    def mount_of(self, name):
        """By what systemd tells one mount of a unit from the next."""
        words = ["systemctl", "show", "--value", "--property=InvocationID", name]
        return self.command(words)[1].strip()

    def offer(self, disk, margin):
        """What may be offered of a disk, in MB."""
        root = Path(disk["root"])
        own = disk["type"] == "path" and not (disk["device"] or disk["image"])
        size = size_mb(root) if own or os.path.ismount(root) else disk["image_mb"] or 0
        most = size - margin
        wanted = disk["offer_mb"] or most
        if not self.check and (wanted > most or wanted <= 0):
            raise DiskError(
                f"disk {disk['name']}: offer_mb {wanted}; wanted 1 to {most}, as {root} holds "
                f"{size} MB and {margin} MB are kept back"
            )
        return {"type": disk["type"].upper(), "root": str(root), "mb": wanted}


def size_mb(path):
    """Size in MB of the file system that holds the path or its nearest parent."""
    place = Path(path)
    while not place.exists():
        place = place.parent
    found = os.statvfs(place)
    return found.f_blocks * found.f_frsize >> 20


def root_offer(path, wanted):
    """Root disk to offer in MB: as wanted, or by Mesos' rule (all but 5 GB, or half)."""
    size = size_mb(path)
    if wanted > size:
        raise DiskError(f"root disk: root_mb {wanted}; wanted at most {size}, the size of {path}")
    return wanted or (size - 5120 if size > 10240 else size // 2)


def text_for_all(path):
    """Text of root's own file that everybody may read; empty when it is anything else."""
    try:
        file = Path(path)
        found = file.stat()
        if (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (0o644, 0, 0):
            return ""
        return file.read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def check_disks(disks):
    """Refuse disks that contradict each other."""
    roots = [disk["root"] for disk in disks]
    for disk in disks:
        where = f"disk {disk['name']}"
        if roots.count(disk["root"]) > 1:
            raise DiskError(f"{where}: {disk['root']} is the root of several disks")
        if disk["device"] and disk["image"]:
            raise DiskError(f"{where}: both device and image; wanted one of them")
        if disk["type"] == "mount" and not (disk["device"] or disk["image"]):
            raise DiskError(f"{where}: neither device nor image; a mount disk needs one of them")
        if not re.fullmatch(r"(/[A-Za-z0-9._-]+)+", disk["root"]):
            raise DiskError(f"{where}: root {disk['root']}; wanted a path of letters and digits")


def main():
    """Entry point for Ansible."""
    disk = {
        "name": {"type": "str", "required": True},
        "type": {"type": "str", "choices": ["mount", "path"], "required": True},
        "root": {"type": "path", "required": True},
        "device": {"type": "path"},
        "image": {"type": "path"},
        "image_mb": {"type": "int"},
        "filesystem": {"type": "str", "choices": ["xfs", "ext4"], "default": "xfs"},
        "options": {"type": "str", "default": "noatime"},
        "offer_mb": {"type": "int"},
    }
    module = AnsibleModule(
        argument_spec={
            "disks": {"type": "list", "elements": "dict", "default": [], "options": disk},
            "units": {"type": "dict", "default": {}},
            "root_path": {"type": "path", "default": "/var/lib/mesos"},
            "root_mb": {"type": "int", "default": 0},
            "margin_mb": {"type": "int", "default": 100},
            "offers_file": {"type": "path"},
        },
        supports_check_mode=True,
    )
    wanted = module.params["disks"]
    state = Disks(module)
    try:
        check_disks(wanted)
        root = root_offer(module.params["root_path"], module.params["root_mb"])
        for item in wanted:
            state.prepare(item, module.params["units"].get(item["root"], ""))
        offers = [{"type": "ROOT", "root": "", "mb": root}]
        offers += [state.offer(item, module.params["margin_mb"]) for item in wanted]
    except (DiskError, OSError) as error:
        module.fail_json(msg=str(error), actions=state.actions)
    offered = text_for_all(module.params["offers_file"]) if module.params["offers_file"] else ""
    module.exit_json(
        changed=bool(state.actions), actions=state.actions, offers=offers, offered=offered
    )


if __name__ == "__main__":
    main()
