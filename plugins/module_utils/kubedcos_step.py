"""Directories, files and their units as they are wanted, each changed only where it differs."""

from __future__ import annotations

import errno
import grp
import json
import os
import pwd
import stat
import tempfile
from pathlib import Path

from ansible.module_utils.kubedcos_units import NOTES, Settled, settle

_OWNED = {
    "path": {"type": "path", "required": True},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
}
_TEXT = {
    **_OWNED,
    "mode": {"type": "str", "default": "0644"},
    "read_by": {"type": "list", "elements": "str"},
}
_CONTENT = {"type": "str", "required": True}
_NAMES = {"type": "list", "elements": "str", "default": []}


def _dicts(options):
    return {"type": "list", "elements": "dict", "default": [], "options": options}


ARGUMENTS = {
    "directories": _dicts({**_OWNED, "mode": {"type": "str", "default": "0755"}}),
    "files": _dicts(
        {
            **_TEXT,
            "content": _CONTENT,
            "validate": _NAMES,
            "secret": {"type": "bool", "default": False},
        }
    ),
    "joined": _dicts({**_TEXT, "lists": {"type": "path", "required": True}}),
    "blocks": _dicts({**_TEXT, "content": _CONTENT, "marker": {"type": "str", "required": True}}),
    "units": _NAMES,
    "reload": _NAMES,
    "notes": {"type": "path", "default": NOTES},
    "absent": {"type": "list", "elements": "path", "default": []},
    "purge": _dicts(
        {
            "path": {"type": "path", "required": True},
            "patterns": {"type": "list", "elements": "str", "required": True},
            "marker": {"type": "str"},
        }
    ),
}
"""Of a module that keeps files and units, as C(kubedcos_files) describes them."""

NOT_READ = {"read_by": []}
READ_BY_UNITS = {"read_by": None}


class FileError(Exception):
    """What stands in the way, in words for the operator."""


def readers_of(item, units):
    """Units that read a file: those that it names, or else those of the call."""
    return units if item["read_by"] is None else item["read_by"]


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
        readers: is told of each file before it changes.
        paths: what changed so far.
        diff: before and after of files, as Ansible shows them.
    """

    def __init__(self, module, readers):
        self.module = module
        self.readers = readers
        self.check = module.check_mode
        self.paths = []
        self.diff = []
        # The invocation is part of every result.
        files = module.params["files"]
        module.no_log_values.update(item["content"] for item in files if item["secret"])

    def start_units(self, *, written=False):
        """Have the units enabled and running, and reload those that take files up that way.

        Args:
            written: whether something that they need was (in check mode, would be) put in place,
                besides the files of this call.

        Returns:
            What Ansible is told: ``changed``, ``paths``, ``started``, ``enabled``, ``reloaded``,
            ``outdated`` and ``diff``.

        Raises:
            UnitError: a unit is unknown, or does not start.
        """
        wanted = self.module.params
        self.readers.after_change()
        settled = Settled()
        if wanted["units"]:
            written = written or bool(self.paths)
            settled = settle(self.module, wanted["units"], written=written, readers=self.readers)
        reloaded = self.readers.reload(wanted["reload"])
        outdated = self.readers.outdated(self.all_readers())
        return {
            "changed": bool(self.paths or settled or reloaded),
            "paths": self.paths,
            "started": settled.started,
            "enabled": settled.enabled,
            "reloaded": reloaded,
            "outdated": [unit for unit in outdated if unit not in reloaded],
            "diff": self.diff,
        }

    def all_readers(self):
        """Units of the call, and those that its files and artefacts name."""
        wanted = self.module.params
        items = wanted["files"] + wanted["joined"] + wanted["blocks"] + wanted.get("artifacts", [])
        return [*wanted["units"], *(unit for item in items for unit in item["read_by"] or [])]

    def bring_to(self, wanted):
        """Bring all directories and files to what is wanted.

        Args:
            wanted: parameters of the module.

        Raises:
            FileError: something stands in the way; `paths` tells how far it came.
        """
        for item in wanted["directories"]:
            self.directory(item)
        for item in wanted["files"]:
            self.file(item)
        texts = {Path(item["path"]): item["content"] for item in wanted["files"]}
        for item in wanted["joined"]:
            self.join(item, texts)
        for item in wanted["blocks"]:
            self.block(item)
        for path in wanted["absent"]:
            self.absent(Path(path))
        keep = {str(Path(item["path"])) for item in wanted["files"]}
        for item in wanted["purge"]:
            self.purge(item, keep)

    def owner_and_mode(self, path, item):
        """Set owner, group and mode where they differ."""
        found = path.stat()
        try:
            wanted = (user_id(item["owner"]), group_id(item["group"]), int(item["mode"], 8))
        except FileError:
            # A package that makes the user may be missing until the run is a real one.
            if self.check:
                self.changes(path, item)
                return
            raise
        if (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == wanted:
            return
        self.changes(path, item)
        if not self.check:
            os.chown(path, wanted[0], wanted[1])
            path.chmod(wanted[2])

    def changes(self, path, item):
        """Count the path as changed, before it does."""
        self.readers.before_change(path, readers_of(item, self.module.params["units"]))
        if str(path) not in self.paths:
            self.paths.append(str(path))

    def directory(self, item):
        """Have a directory."""
        path, item = Path(item["path"]), {**item, **NOT_READ}
        if path.is_dir():
            self.owner_and_mode(path, item)
            return
        if path.exists() or path.is_symlink():
            raise FileError(f"{path} exists and is no directory")
        self.changes(path, item)
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
        self.changes(path, item)
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

    def join(self, item, files):
        """Have a file with the elements of all lists of a directory.

        Args:
            item: what `joined` says of it.
            files: path → text of this call's files, which check mode has not written.
        """
        folder = Path(item["lists"])
        found = {path: self.text(path) or "" for path in folder.glob("*.json")}
        found |= {path: text for path, text in files.items() if path.match(f"{folder}/*.json")}
        elements = []
        for path, text in sorted(found.items()):
            try:
                part = json.loads(text)
            except ValueError as error:
                raise FileError(f"{path}: {error}; wanted a JSON list") from error
            if not isinstance(part, list):
                raise FileError(f"{path} holds {type(part).__name__}; wanted a JSON list")
            elements += part
        text = json.dumps(elements, indent=1) + "\n"
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
        self.changes(path, READ_BY_UNITS)
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
