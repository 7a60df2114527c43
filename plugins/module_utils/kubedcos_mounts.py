"""Options of file systems: what a mount unit asks for, and what of it the kernel says it does."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_EXT4 = Path("/proc/fs/ext4")
_DEVICES = Path("/sys/dev/block")

# Read by mount(8) and systemd; the kernel never hears of them (libmount/src/optmap.c).
_NOT_THE_KERNELS = frozenset(
    [
        *("defaults", "auto", "noauto", "nofail", "_netdev", "loop"),
        *("user", "nouser", "users", "nousers", "owner", "noowner", "group", "nogroup"),
        *("comment", "offset", "sizelimit", "encryption", "helper", "uhelper"),
    ]
)
_NOT_THE_KERNELS_EITHER = ("x-", "X-", "verity.")
# The kernel takes them and shows them nowhere; some of them it ignores (fs/proc_namespace.c,
# fs/ext4/super.c, fs/xfs/xfs_super.c).
_NOT_SHOWN = frozenset(
    [
        *("silent", "loud", "mand", "norelatime", "nostrictatime", "iversion", "noiversion"),
        *("journal_ioprio", "journal_dev", "journal_path"),
        *("oldalloc", "orlov", "bh", "nobh", "reservation", "noreservation"),
    ]
)
# Shown by nothing but the absence of the other.
_OPPOSITE = {
    "rw": "ro",
    "atime": "noatime",
    "diratime": "nodiratime",
    "dev": "nodev",
    "exec": "noexec",
    "suid": "nosuid",
    "async": "sync",
    "strictatime": "relatime",
    "symfollow": "nosymfollow",
    "nomand": "mand",
    "nolazytime": "lazytime",
    # Of XFS; ext4 shows some of them.
    "nodiscard": "discard",
    "noikeep": "ikeep",
    "nolargeio": "largeio",
    "noattr2": "attr2",
    "nogrpid": "grpid",
    "dax=inode": "dax=always",
    # Of ext4.
    "data_err=ignore": "data_err=abort",
}
# Shown where nothing was asked for.
_BY_DEFAULT = frozenset(["rw", "relatime", "attr2", "inode64", "noquota"])
_SHOWN_AS = {
    "quota": "usrquota",
    "uquota": "usrquota",
    "gquota": "grpquota",
    "pquota": "prjquota",
    "qnoenforce": "uqnoenforce",
    "bsdgroups": "grpid",
    "sysvgroups": "nogrpid",
    "dax": "dax=always",
    "noload": "norecovery",
    "barrier=0": "nobarrier",
    "barrier=1": "barrier",
    "auto_da_alloc=0": "noauto_da_alloc",
    "auto_da_alloc=1": "auto_da_alloc",
    "init_itable": "init_itable=10",
    "commit=0": "commit=5",
}
_ATIME = frozenset(["atime", "noatime", "relatime", "strictatime"])
_UNITS = {"k": 10, "m": 20, "g": 30}


class Mounted(NamedTuple):
    """A mount as the kernel shows it.

    Attributes:
        source: what is mounted.
        options: those of the mount and of its file system. ext4 leaves out what is its default.
        defaults: what it leaves out, if it says so elsewhere.
        device: number of the device.
        file_system: its type.
    """

    source: str
    options: frozenset[str]
    defaults: frozenset[str] = frozenset()
    device: str = ""
    file_system: str = ""


class Waiting(NamedTuple):
    """What of changed options waits for a new mount: `late` to begin, `kept` to end."""

    late: frozenset[str]
    kept: frozenset[str]

    def __bool__(self):
        """Whether anything does."""
        return bool(self.late or self.kept)

    def __str__(self):
        """For the operator."""
        return ", ".join(
            [*sorted(self.late), *(f"the end of {word}" for word in sorted(self.kept))]
        )


NOTHING = Waiting(frozenset(), frozenset())


def words_of(options: str) -> frozenset[str]:
    """Options one by one; `loop` is how an image is mounted, and no option of its file system."""
    return frozenset(word for word in options.split(",") if word) - {"loop"}


def remount_options(options: str) -> str:
    """Options that make a mount in use what a new one with `options` would be, if that is possible.

    Without a word on access times the kernel keeps what it has; at a new mount that is relatime.
    """
    words = [word for word in options.split(",") if word]
    if not _ATIME.intersection(words):
        words.append("relatime")
    return ",".join(("remount", *words))


def options_of(unit: str) -> str:
    """Options in the text of a mount unit; empty without."""
    found = [line for line in unit.splitlines() if line.startswith("Options=")]
    return found[-1].removeprefix("Options=") if found else ""


def mounted_at(mountinfo: str, root: str) -> Mounted:
    """What is mounted at `root`, the latest of several; see proc_pid_mountinfo(5).

    Raises:
        KeyError: nothing is.
    """
    for line in reversed(mountinfo.splitlines()):
        own, _, of_file_system = line.partition(" - ")
        fields = own.split()
        if fields[4] == root:
            file_system, source, super_options = of_file_system.split()
            options = words_of(fields[5]) | words_of(super_options)
            return Mounted(source, options, device=fields[2], file_system=file_system)
    raise KeyError(root)


def with_defaults(mounted: Mounted) -> Mounted:
    """The mount with what ext4 does not show in mountinfo; see ext4(5), proc_fs_ext4."""
    if mounted.file_system != "ext4":
        return mounted
    name = (_DEVICES / mounted.device).resolve().name
    try:
        lines = (_EXT4 / name / "options").read_text(encoding="utf-8").split()
    except OSError:
        return mounted
    return mounted._replace(defaults=frozenset(lines) - mounted.options)


def not_in_effect(
    asked: frozenset[str],
    wanted: frozenset[str],
    before: Mounted,
    after: Mounted,
    *,
    taken: bool = True,
) -> Waiting:
    """Which changed options the kernel does not follow.

    Several file systems take a remount with an option that they can not change, and say nothing.

    Args:
        asked: options that were in effect because they had been asked for.
        wanted: those that are to be.
        before: the mount before the remount.
        after: and after it.
        taken: whether the kernel took the remount, which is all one knows of some options.
    """
    shown = {_plain(word) for word in after.options}
    gone = {_plain(word) for word in before.options} - shown
    seen = shown | {_plain(word) for word in after.defaults}
    late = [word for word in wanted - asked if not _is_followed(_plain(word), seen, gone, taken)]
    ends = {_plain(word): word for word in asked - wanted - _BY_DEFAULT}
    return Waiting(
        frozenset(late),
        frozenset(ends[word] for word in ends.keys() & shown - {_plain(word) for word in wanted}),
    )


def _is_followed(word: str, seen: set[str], gone: set[str], taken: bool) -> bool:
    name = word.partition("=")[0]
    if name in _NOT_THE_KERNELS or word.startswith(_NOT_THE_KERNELS_EITHER):
        return True
    if name in _NOT_SHOWN:
        return taken
    if word in seen:
        return True
    return _OPPOSITE[word] not in seen if word in _OPPOSITE else word.removeprefix("no") in gone


def _plain(word: str) -> str:
    """An option in one of the ways it may be written: `logbsize=256k` is `logbsize=262144`."""
    name, is_set, value = word.partition("=")
    number, unit = value[:-1], value[-1:].lower()
    if is_set and number.isdigit() and unit in _UNITS:
        return f"{name}={int(number) << _UNITS[unit]}"
    return _SHOWN_AS.get(word, word)
