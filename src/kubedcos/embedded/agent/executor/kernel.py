"""System calls that Python 3.11 lacks: mounts, namespaces, capabilities. Linux, root."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_STRICTATIME: Final = 1 << 24
_PROPAGATION: Final = MS_PRIVATE | MS_SLAVE | MS_SHARED

MNT_DETACH: Final = 2

NAMESPACES: Final = {
    "mnt": 0x00020000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
"""Flags of clone(2) by the names in /proc/PID/ns."""

_PR_SET_KEEPCAPS: Final = 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CAPABILITY_VERSION_3: Final = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """Mount something; a read-only bind is made by the second call that the kernel wants for it.

    Raises:
        OSError: `strerror` names the mount.
    """
    what = f"mount {source} on {target}" if source else f"mount {target}"
    arguments = (os.fsencode(source) or None, os.fsencode(target), os.fsencode(kind) or None)
    data = os.fsencode(options) or None
    _checked(_libc.mount(*arguments, ctypes.c_ulong(flags), data), what)
    if flags & MS_BIND and flags & ~(MS_BIND | MS_REC | _PROPAGATION | MS_REMOUNT):
        again = ctypes.c_ulong((flags & ~MS_REC) | MS_REMOUNT)
        _checked(_libc.mount(None, os.fsencode(target), None, again, None), what)


def unmount(target: str, flags: int = 0) -> None:
    """Take a mount away; `flags` as in umount2(2); raises OSError."""
    _checked(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def unshare(names: Iterable[str]) -> None:
    """Leave the namespaces named (keys of `NAMESPACES`) for new ones; raises OSError."""
    wanted = sorted(names)
    flags = sum(NAMESPACES[name] for name in wanted)
    _checked(_libc.unshare(flags), f"new namespaces {', '.join(wanted)}")


def enter(path: str, name: str) -> None:
    """Enter the namespace that the file `path` stands for; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(descriptor, NAMESPACES[name]), f"enter {path}")
    finally:
        os.close(descriptor)


def _prctl(option: int, *arguments: int) -> None:
    filled = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(option, *filled), f"prctl {option}")


def no_new_privileges() -> None:
    """From here on no program gains rights by being executed."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def keep_capabilities() -> None:
    """The permitted set outlives the next change of the user."""
    _prctl(_PR_SET_KEEPCAPS, 1)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def _last_capability() -> int:
    return int(Path("/proc/sys/kernel/cap_last_cap").read_text())


def _get() -> tuple[int, int, int]:
    """Effective, permitted, inheritable set as bit masks."""
    sets = (_Set * 2)()
    _checked(_libc.capget(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets), "capget")
    return (
        sets[0].effective | sets[1].effective << 32,
        sets[0].permitted | sets[1].permitted << 32,
        sets[0].inheritable | sets[1].inheritable << 32,
    )


def _set(effective: int, permitted: int, inheritable: int) -> None:
    low = 0xFFFFFFFF
    sets = (_Set * 2)(
        _Set(effective & low, permitted & low, inheritable & low),
        _Set(effective >> 32, permitted >> 32, inheritable >> 32),
    )
    _checked(_libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), sets), "capset")


def set_capabilities(effective: Iterable[int] | None, bounding: Iterable[int] | None) -> None:
    """Give up all capabilities but these; numbers as in `capabilities(7)`.

    Args:
        effective: become the effective, permitted and ambient set; None leaves these alone, but
            for what the bounding set does not hold.
        bounding: becomes the bounding and, as in Mesos, the inheritable set; None means
            `effective`.

    Raises:
        OSError: more was wanted than the process has.
    """
    wanted = None if effective is None else set(effective)
    bound = wanted if bounding is None else set(bounding)
    if bound is None:
        return
    _, permitted, _ = _get()
    # SETPCAP is needed to change the bounding set; setuid cleared the effective one.
    _set(permitted, permitted, permitted)
    for number in range(_last_capability() + 1):
        if number not in bound:
            _prctl(_PR_CAPBSET_DROP, number)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    bits = permitted if wanted is None else _bits(wanted)
    _set(bits, bits, _bits(bound | (wanted or set())) & permitted)
    for number in sorted(wanted or ()):
        _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number)


def _bits(numbers: Iterable[int]) -> int:
    bits = 0
    for number in numbers:
        bits |= 1 << number
    return bits
