"""Options of file systems: what a mount unit asks for, and what of it the kernel says it does."""

from __future__ import annotations

from typing import NamedTuple

# Read by mount(8) and systemd; the kernel never hears of them.
_NOT_THE_KERNELS = frozenset(
    [
        "defaults",
        "auto",
        "noauto",
        "nofail",
        "_netdev",
        "user",
        "nouser",
        "users",
        "owner",
        "group",
        "loop",
    ]
)
_OPPOSITE = {
    "rw": "ro",
    "atime": "noatime",
    "diratime": "nodiratime",
    "dev": "nodev",
    "exec": "noexec",
    "suid": "nosuid",
    "async": "sync",
    "strictatime": "relatime",
}
# Shown where nothing was asked for.
_BY_DEFAULT = frozenset(["rw", "relatime", "attr2", "inode64", "noquota"])
_SHOWN_AS = {
    "quota": "usrquota",
    "uquota": "usrquota",
    "gquota": "grpquota",
    "pquota": "prjquota",
}
_ATIME = frozenset(["atime", "noatime", "relatime", "strictatime"])
_UNITS = {"k": 10, "m": 20, "g": 30}


class Mounted(NamedTuple):
    """A mount as the kernel shows it: its source, its options and those of its file system."""

    source: str
    options: frozenset[str]


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
            _, source, super_options = of_file_system.split()
            return Mounted(source, words_of(fields[5]) | words_of(super_options))
    raise KeyError(root)


def not_in_effect(
    asked: frozenset[str], wanted: frozenset[str], before: Mounted, after: Mounted
) -> Waiting:
    """Which changed options the kernel does not follow.

    Several file systems take a remount with an option that they can not change, and say nothing.

    Args:
        asked: options that were in effect because they had been asked for.
        wanted: those that are to be.
        before: the mount before the remount.
        after: and after it.
    """
    shown = {_plain(word) for word in after.options}
    gone = {_plain(word) for word in before.options} - shown
    late = [word for word in wanted - asked if not _is_followed(_plain(word), shown, gone)]
    ends = {_plain(word): word for word in asked - wanted - _BY_DEFAULT}
    return Waiting(
        frozenset(late),
        frozenset(ends[word] for word in ends.keys() & shown - {_plain(word) for word in wanted}),
    )


def _is_followed(word: str, shown: set[str], gone: set[str]) -> bool:
    if word in _NOT_THE_KERNELS or word.startswith(("x-", "X-", "comment=")):
        return True
    if word in _OPPOSITE:
        return _OPPOSITE[word] not in shown
    return word in shown or word.removeprefix("no") in gone


def _plain(word: str) -> str:
    """An option in one of the ways it may be written: `logbsize=256k` is `logbsize=262144`."""
    name, is_set, value = word.partition("=")
    number, unit = value[:-1], value[-1:].lower()
    if is_set and number.isdigit() and unit in _UNITS:
        return f"{name}={int(number) << _UNITS[unit]}"
    return _SHOWN_AS.get(word, word)
