"""What of a disk's options the kernel follows, by what it shows of the mount."""

from __future__ import annotations

import pytest
from tests.unit.plugins.module_utils import load

mounts = load("kubedcos_mounts")

ROOT = "/srv/mesos/fast1"
MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
80 22 8:17 / /srv/mesos/fast1 rw,relatime shared:40 - ext4 /dev/sdb1 rw
81 80 8:33 / /srv/mesos/fast1 rw,noatime shared:41 master:2 - xfs /dev/sdc1 rw,attr2,noquota
82 22 8:49 / /srv/mesos/fast10 ro - xfs /dev/sdd1 ro
"""


def late(asked: str, wanted: str, before: str, after: str) -> str:
    return str(
        mounts.not_in_effect(
            mounts.words_of(asked),
            mounts.words_of(wanted),
            mounts.Mounted("/dev/sdb1", mounts.words_of(before)),
            mounts.Mounted("/dev/sdb1", mounts.words_of(after)),
        )
    )


def test_of_several_mounts_the_latest_counts() -> None:
    found = mounts.mounted_at(MOUNTINFO, ROOT)
    assert found.source == "/dev/sdc1"
    assert found.options == {"rw", "noatime", "attr2", "noquota"}
    assert (found.device, found.file_system) == ("8:33", "xfs")


XFS = "rw,noatime,attr2,inode64,logbufs=8,logbsize=32k"


@pytest.mark.parametrize(
    ("asked", "wanted", "before", "after", "said"),
    [
        # XFS takes a remount with quotas and does not follow it.
        ("noatime", "noatime,prjquota", f"{XFS},noquota", f"{XFS},noquota", "prjquota"),
        ("noatime", "noatime,pquota", f"{XFS},noquota", f"{XFS},prjquota", ""),
        ("", "logbsize=262144", XFS, XFS.replace("32k", "256k"), ""),
        ("", "logbsize=256k", XFS, XFS, "logbsize=256k"),
        ("inode64,noatime", "noatime", XFS, XFS, ""),
        ("noatime", "", "rw,noatime", "rw,noatime", "the end of noatime"),
        ("ro", "rw", "ro", "rw", ""),
        ("ro", "rw", "ro", "ro", "rw, the end of ro"),
        # What mount(8) reads itself, and what the kernel takes and does not show.
        ("", "nofail,x-systemd.device-timeout=9,defaults", "rw", "rw", ""),
        ("", "user=somebody,noowner,offset=4096,verity.fecroots=2,X-mount.mkdir", "rw", "rw", ""),
        ("", "silent,mand,iversion,journal_ioprio=3", "rw", "rw", ""),
        # What XFS shows by showing nothing.
        ("", "nodiscard,noikeep,nolargeio,nogrpid,sysvgroups,dax=inode,nolazytime", XFS, XFS, ""),
        ("", "noattr2", XFS, XFS, "noattr2"),
        ("", "bsdgroups,dax", XFS, f"{XFS},grpid,dax=always", ""),
        ("discard", "nodiscard", "rw,discard", "rw", ""),
        ("discard", "nodiscard", "rw,discard", "rw,discard", "nodiscard, the end of discard"),
        ("commit=30", "commit=60", "rw,commit=30", "rw,commit=60", ""),
    ],
)
def test_what_the_kernel_does_not_show_is_not_in_effect(
    asked: str, wanted: str, before: str, after: str, said: str
) -> None:
    assert late(asked, wanted, before, after) == said


EXT4 = "rw discard data=ordered barrier nodelalloc init_itable=10 commit=5 errors=continue nogrpid"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("data=ordered,barrier=1,init_itable,commit=5,errors=continue", ""),
        ("data=journal,delalloc,sysvgroups", "data=journal, delalloc"),
        ("nodiscard,barrier=0", "barrier=0, nodiscard"),
    ],
)
def test_what_ext4_does_by_default_is_in_effect(wanted: str, said: str) -> None:
    mount = mounts.Mounted(
        "/dev/sdb1", frozenset(["rw", "relatime", "discard"]), frozenset(EXT4.split())
    )
    waiting = mounts.not_in_effect(frozenset(), mounts.words_of(wanted), mount, mount)
    assert str(waiting) == said


def test_what_is_never_shown_waits_where_the_kernel_refused_the_remount() -> None:
    mount = mounts.Mounted("/dev/sdb1", frozenset(["rw"]))
    wanted = mounts.words_of("journal_path=/dev/sdc,nofail")
    waiting = mounts.not_in_effect(frozenset(), wanted, mount, mount, taken=False)
    assert str(waiting) == "journal_path=/dev/sdc"
