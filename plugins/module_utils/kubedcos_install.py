"""Artefacts as a host has them: verified, unpacked, linked, and known to who runs them."""

from __future__ import annotations

import fnmatch
import json
import os
import secrets
import shutil
import stat
import tarfile
import tempfile
from pathlib import Path

from ansible.module_utils.kubedcos_download import ArtifactError, download, file_sha256

ARTIFACT = {
    "name": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "sha256": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "mode": {"type": "str", "default": "0755"},
    "owner": {"type": "str", "default": "root"},
    "group": {"type": "str", "default": "root"},
    "unpack": {"type": "bool", "default": False},
    "strip": {"type": "int", "default": 0},
    "include": {"type": "list", "elements": "str", "default": []},
    "links": {"type": "dict", "default": {}},
    "read_by": {"type": "list", "elements": "str", "default": []},
}
"""What C(kubedcos_artifact) takes of each."""

RECORD = ".kubedcos-artifact.json"


def tree_record(root):
    """Sizes, modes and times of the regular files and links below `root`, by relative path."""
    record = {}
    for folder, _subfolders, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            if path == Path(root, RECORD):
                continue
            found = path.lstat()
            record[str(path.relative_to(root))] = [
                found.st_size,
                stat.S_IMODE(found.st_mode),
                int(found.st_mtime),
            ]
    return record


def reason_to_install(item):
    """Why the artefact has to be installed; an empty string when it is in place."""
    return _reason_for_tree(item) if item["unpack"] else _reason_for_file(item)


def _reason_for_tree(item):
    dest = Path(item["dest"])
    if not dest.is_dir():
        return "missing"
    try:
        record = json.loads((dest / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if any(dest.iterdir()):
            raise ArtifactError(
                f"{item['name']}: {dest} has files that this module did not put there; "
                "wanted an absent or empty directory. Move it away or choose another one."
            ) from None
        return "empty"
    except ValueError:
        return "unreadable record"
    if record.get("sha256") != item["sha256"] or record.get("include") != item["include"]:
        return "other version"
    present = tree_record(dest)
    for name, expected in record.get("files", {}).items():
        if present.get(name) != expected:
            return f"{name} was changed"
    return ""


def _reason_for_file(item):
    dest = Path(item["dest"])
    if dest.is_dir():
        raise ArtifactError(f"{item['name']}: {dest} is a directory; wanted a file or nothing")
    if not dest.is_file():
        return "missing"
    if file_sha256(dest) != item["sha256"]:
        return "other content"
    return ""


def install_file(module, item, timeout, retries):
    """Fetch, verify, and rename into place."""
    dest = Path(item["dest"])
    dest.parent.mkdir(parents=True, exist_ok=True)
    path = Path(download(item, dest.parent, timeout, retries))
    path.chmod(int(item["mode"], 8))
    module.set_owner_if_different(str(path), item["owner"], False)
    module.set_group_if_different(str(path), item["group"], False)
    path.rename(dest)


def install_tree(item, timeout, retries):
    """Fetch, verify, unpack beside the destination, and swap the directories."""
    dest = Path(item["dest"])
    dest.parent.mkdir(parents=True, exist_ok=True)
    archive = Path(download(item, dest.parent, timeout, retries))
    fresh = Path(tempfile.mkdtemp(prefix=".kubedcos-", dir=dest.parent))
    try:
        unpack(item, archive, fresh)
        fresh.chmod(int(item["mode"], 8))
        record = {
            "name": item["name"],
            "sha256": item["sha256"],
            "include": item["include"],
            "installation": secrets.token_hex(8),  # tells units that run an earlier one
            "files": tree_record(fresh),
        }
        (fresh / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True))
        if dest.is_dir():
            old = Path(tempfile.mkdtemp(prefix=".kubedcos-", dir=dest.parent))
            dest.rename(old / "old")
            fresh.rename(dest)
            shutil.rmtree(old, ignore_errors=True)
        else:
            fresh.rename(dest)
    except OSError as error:
        raise ArtifactError(f"{item['name']}: can not install to {dest}: {error}") from error
    finally:
        archive.unlink()
        shutil.rmtree(fresh, ignore_errors=True)


def unpack(item, archive, target):
    """Unpack the members that `strip` and `include` leave, never outside of `target`."""
    try:
        with tarfile.open(archive) as source:
            members = []
            for member in source:
                name = "/".join(
                    [part for part in member.name.split("/") if part != "."][item["strip"] :]
                )
                if not name or not _included(name, item["include"]):
                    continue
                if member.islnk():
                    member.linkname = "/".join(
                        [p for p in member.linkname.split("/") if p != "."][item["strip"] :]
                    )
                _refuse_escape(item, member, name)
                member.name = name
                member.uid = member.gid = 0
                member.uname = member.gname = "root"
                members.append(member)
            if not members:
                raise ArtifactError(f"{item['name']}: nothing in the archive matches the patterns")
            # Every member was looked at above; the filter argument is newer than Python 3.11.2.
            source.extractall(target, members=members)  # noqa: S202  see above
    except tarfile.TarError as error:
        raise ArtifactError(f"{item['name']}: {item['url']} is no tar archive: {error}") from error


def _included(name, patterns):
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _refuse_escape(item, member, name):
    parts = name.split("/")
    device = not (member.isfile() or member.isdir() or member.issym() or member.islnk())
    if name.startswith("/") or ".." in parts or device:
        raise ArtifactError(f"{item['name']}: the archive has the unsafe member {member.name}")
    # Absolute links are allowed to point at the machine, relative ones must stay inside.
    if member.issym() and not member.linkname.startswith("/"):
        target = os.path.normpath(Path(name).parent / member.linkname)
        if target.startswith(".."):
            raise ArtifactError(f"{item['name']}: the link {name} leaves the directory")


def wanted_links(item):
    """Links of the artefact as (path, target) with absolute targets."""
    base = Path(item["dest"]) if item["unpack"] else Path(item["dest"]).parent
    return [
        (path, os.path.normpath(base / str(target)))
        for path, target in sorted(item["links"].items())
    ]


def version_file(item):
    """The file that tells which version a unit runs: of a tree its record, by the link at it."""
    if not item["unpack"]:
        return Path(item["dest"])
    tree = os.path.normpath(item["dest"])
    at_tree = [path for path, target in wanted_links(item) if target == tree]
    return Path(*at_tree[:1] or [item["dest"]], RECORD)


def set_link(path, target):
    """Point the link at its target in one step."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(f"{path}.kubedcos-new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.rename(path)


def link_is_right(path, target):
    """Whether the link exists and points there; anything but a link in its place is refused."""
    link = Path(path)
    if link.exists() and not link.is_symlink():
        raise ArtifactError(f"{path} exists and is no symbolic link; wanted a link to {target}")
    return link.is_symlink() and str(link.readlink()) == target


def check_items(items):
    """Refuse input that the argument specification can not describe."""
    for item in items:
        item["sha256"] = item["sha256"].lower()
        if len(item["sha256"]) != 64 or set(item["sha256"]) - set("0123456789abcdef"):
            raise ArtifactError(
                f"{item['name']}: sha256 is {item['sha256']!r}; wanted 64 hexadecimal digits"
            )
        if not Path(item["dest"]).is_absolute():
            raise ArtifactError(f"{item['name']}: dest is {item['dest']}; wanted an absolute path")


def install(module, readers):
    """Install what is missing.

    Args:
        module: with the parameters ``artifacts``, ``timeout`` and ``retries``.
        readers: is told of each program before it changes.

    Returns:
        What Ansible is told: ``changed``, ``installed``, ``links`` and ``attributes``.

    Raises:
        ArtifactError: one can not be had, or something stands in its way.
    """
    items = module.params["artifacts"]
    check_items(items)
    installed, links, modes = {}, [], []
    for item in items:
        reason = reason_to_install(item)
        wrong_links = [(path, to) for path, to in wanted_links(item) if not link_is_right(path, to)]
        if reason or wrong_links:
            readers.before_change(version_file(item), item["read_by"])
        if reason:
            installed[item["name"]] = reason
            if not module.check_mode and item["unpack"]:
                install_tree(item, module.params["timeout"], module.params["retries"])
            elif not module.check_mode:
                install_file(module, item, module.params["timeout"], module.params["retries"])
        elif not item["unpack"] and _attributes_changed(module, item):
            modes.append(item["dest"])
        for path, target in wrong_links:
            links.append(path)
            if not module.check_mode:
                set_link(path, target)
    changed = bool(installed or links or modes)
    return {"changed": changed, "installed": installed, "links": links, "attributes": modes}


def _attributes_changed(module, item):
    # The basic module's own functions honour check mode.
    changed = module.set_mode_if_different(item["dest"], item["mode"], False)
    changed = module.set_owner_if_different(item["dest"], item["owner"], changed)
    return module.set_group_if_different(item["dest"], item["group"], changed)
