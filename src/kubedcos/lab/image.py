"""The host image: a minimal Debian made by mmdebstrap, kept as a tar under its recipe's hash."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubedcos.lab import sources
from kubedcos.lab.engine import Podman
from kubedcos.lab.program import Runner, run
from kubedcos.lab.spec import ImageSpec

REPOSITORY = "localhost/kubedcos-lab-host"
LOOP_DEVICES = 64
BUILD_SECONDS = 1800.0

# Left out of the image: documentation, and the graphics that a Java desktop would need.
EXCLUDED_PATHS = (
    "/usr/share/doc/*",
    "/usr/share/man/*/*.gz",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/icons/Adwaita/*x*/*",
    "/usr/share/icons/Adwaita/scalable/*",
    "/usr/share/lintian/*",
    "/usr/lib/*/libLLVM*",
    "/usr/lib/*/dri/*",
    "/usr/lib/*/libz3.so*",
)

# A host's root is a shared mount, as systemd makes it on a real machine, and loop devices that
# appear on the machine later have their nodes.
_MACHINE_UNIT = """\
[Unit]
Description=Mounts and device nodes as a machine has them
DefaultDependencies=no
Before=sysinit.target
After=systemd-remount-fs.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-machine

[Install]
WantedBy=sysinit.target
"""

_MACHINE_SCRIPT = f"""\
#!/bin/sh
mount --make-rshared /
number=0
while [ "$number" -lt {LOOP_DEVICES} ]; do
  test -b "/dev/loop$number" || mknod -m 0660 "/dev/loop$number" b 7 "$number"
  number=$((number + 1))
done
test -c /dev/loop-control || mknod -m 0660 /dev/loop-control c 10 237
"""

# Run inside the new root. Kernel settings of the whole machine are not a container's to change.
_CUSTOMIZE = r"""
set -eu
root="$1"
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/machine-id" "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/hosts"
: > "$root/etc/resolv.conf"
: > "$root/etc/hosts"
mkdir -p "$root/etc/sysctl.d" "$root/root/.ssh"
chmod 0700 "$root/root/.ssh"
ln -sf /dev/null "$root/etc/sysctl.d/50-pid-max.conf"
ln -sf /dev/null "$root/etc/sysctl.d/50-coredump.conf"
ln -sf /dev/null "$root/etc/sysctl.d/99-protect-links.conf"
# The machine's consoles show through, and are not for a host to log in on.
ln -sf /dev/null "$root/etc/systemd/system/getty.target"
printf 'PasswordAuthentication no\nUseDNS no\nMaxStartups 100\nMaxSessions 100\nPrintMotd no\nPrintLastLog no\n' \
  > "$root/etc/ssh/sshd_config.d/lab.conf"
cat > "$root/etc/systemd/system/lab-machine.service" <<'UNIT'
@UNIT@UNIT
cat > "$root/usr/local/sbin/lab-machine" <<'SCRIPT'
@SCRIPT@SCRIPT
chmod 0755 "$root/usr/local/sbin/lab-machine"
chroot "$root" systemctl enable --quiet lab-machine.service ssh.service
for unit in @DISABLED@; do
  chroot "$root" systemctl disable --quiet "$unit" 2>/dev/null || true
done
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
  fstrim.timer dpkg-db-backup.timer; do
  chroot "$root" systemctl mask --quiet "$unit" 2>/dev/null || true
done
"""  # noqa: E501  a shell script


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is in the image.

    `mirrors` empty means mmdebstrap's own choice for the suite.
    """

    suite: str
    packages: tuple[str, ...]
    mirrors: tuple[str, ...]
    apt_settings: tuple[tuple[str, str], ...]
    customize: str

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that change with the content, not with the mirror."""
        text = json.dumps([self.suite, self.packages, self.customize, EXCLUDED_PATHS])
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def reference(self) -> str:
        """The image's name in podman."""
        return f"{REPOSITORY}:{self.hash}"

    def argv(self, target: Path, customize: Path) -> list[str]:
        """The mmdebstrap command line that writes the image to `target`."""
        argv = [
            "mmdebstrap",
            "--variant=minbase",
            "--skip=cleanup/apt/lists",
            f"--include={','.join(self.packages)}",
            f'--customize-hook=sh {customize} "$1"',
        ]
        argv += [f"--dpkgopt=path-exclude={path}" for path in EXCLUDED_PATHS]
        argv += [f'--aptopt={key} "{value}"' for key, value in self.apt_settings]
        return [*argv, self.suite, str(target), *self.mirrors]


def recipe(spec: ImageSpec, *, etc_apt: Path = Path("/etc/apt"), runner: Runner = run) -> Recipe:
    """How to make the image of `spec` with this machine's package sources and proxies."""
    mirrors = spec.mirrors or tuple(
        source.line for source in sources.of_release(_own_sources(etc_apt), spec.suite)
    )
    kept: Mapping[str, str] = {
        "Acquire::GzipIndexes": "true",
        **sources.settings(runner(["apt-config", "dump"], check=False).stdout),
    }
    customize = (
        _CUSTOMIZE.replace("@UNIT@", _MACHINE_UNIT)
        .replace("@SCRIPT@", _MACHINE_SCRIPT)
        .replace("@DISABLED@", " ".join(spec.disabled_units))
    )
    return Recipe(spec.suite, spec.packages, mirrors, tuple(sorted(kept.items())), customize)


def ensure(
    made: Recipe,
    podman: Podman,
    cache: Path,
    *,
    tell: Callable[[str], None],
    runner: Runner = run,
) -> bool:
    """Have podman know the image: from its store, from the cache, or newly built.

    Two runs at once wait for each other; an interrupted build leaves nothing behind.

    Returns:
        Whether anything had to be done.

    Raises:
        ProgramFailed: mmdebstrap or podman failed.
    """
    if _known(podman, made.reference):
        return False
    cache.mkdir(parents=True, exist_ok=True)
    archive = cache / f"host-{made.hash}.tar"
    with locked(cache / "host.lock"):
        if _known(podman, made.reference):
            return False
        if not archive.exists():
            tell(f"building the host image ({len(made.packages)} packages, {made.suite})")
            _build(made, archive, runner)
        tell("loading the host image")
        podman(
            "import",
            "--quiet",
            "--change=CMD=/sbin/init",
            str(archive),
            made.reference,
            timeout=600,
        )
    return True


def _build(made: Recipe, archive: Path, runner: Runner) -> None:
    partial = archive.with_suffix(".part")
    customize = archive.with_suffix(".sh")
    customize.write_text(made.customize)
    try:
        runner(
            [*made.argv(partial, customize), "--format=tar"],
            timeout=BUILD_SECONDS,
            environment={"DEBIAN_FRONTEND": "noninteractive"},
        )
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
        customize.unlink(missing_ok=True)


def _known(podman: Podman, reference: str) -> bool:
    return podman("image", "exists", reference, check=False).returncode == 0


def _own_sources(etc_apt: Path) -> list[sources.Source]:
    """What this machine's apt is told, third parties included."""
    found: list[sources.Source] = []
    folder = etc_apt / "sources.list.d"
    for path in (etc_apt / "sources.list", *sorted(folder.glob("*.list"))):
        if path.is_file():
            found += sources.parse_one_line(path.read_text(errors="replace"))
    for path in sorted(folder.glob("*.sources")):
        found += sources.parse_deb822(path.read_text(errors="replace"))
    return found


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file `path` for this process alone; waits for whoever holds it."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
