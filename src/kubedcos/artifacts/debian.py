"""Takes one file out of a Debian package.

A point release replaces a package, so the manifest's version may be gone from the archive some
day. Then the archive's present version is taken: apt has checked it against the archive's signed
index, which is the same chain of trust that the host's own packages come by. The manifest's sum
binds the version it names, and only that one.
"""

from __future__ import annotations

import re
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from kubedcos.artifacts.download import Unavailable, copy_member
from kubedcos.artifacts.programs import ProgramFailed, environment, run

APT_OPTIONS = (
    "-q",
    "-o",
    "APT::Get::AllowUnauthenticated=false",
    "-o",
    "Acquire::Retries=2",
    "-o",
    "APT::Sandbox::User=root",
)


@dataclass(frozen=True, slots=True)
class Package:
    """A downloaded package.

    Attributes:
        file: the ``.deb``.
        version: its version as Debian writes it.
    """

    file: Path
    version: str


def download(package: str, version: str, folder: Path) -> Package:
    """Download `package` by apt, in this version if the archive still has it.

    Raises:
        Unavailable: there is no apt here, or it does not know the package.
        ProgramFailed: the download failed.
    """
    try:
        return _get(package, version, folder)
    except ProgramFailed as error:
        if "not found" not in str(error) and "Can't find" not in str(error):
            raise _reworded(error, package) from error
    try:
        return _get(package, "", folder)
    except ProgramFailed as error:
        raise _reworded(error, package) from error


def extract(package: Package, member: str, target: Path) -> None:
    """Write the file `member` of a package to `target`.

    Raises:
        KubedcosError: the package does not have it.
        ProgramFailed: `dpkg-deb` could not read it.
    """
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", str(package.file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        try:
            with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
                copy_member(tar, member, target, package.file.name)
        except tarfile.TarError as error:
            raise ProgramFailed(f"{package.file.name} is no Debian package ({error})") from error
        finally:
            process.stdout.close()


def _get(package: str, version: str, folder: Path) -> Package:
    wanted = f"{package}={version}" if version else package
    run(
        ["apt-get", "download", *APT_OPTIONS, wanted],
        what=f"downloading the Debian package {wanted}",
        cwd=folder,
        env=environment(DEBIAN_FRONTEND="noninteractive", LC_ALL="C"),
    )
    for file in sorted(folder.glob(f"{package}_*.deb")):
        found = re.fullmatch(r"[^_]+_([^_]+)_[^_]+\.deb", file.name)
        if found:
            return Package(file, found[1].replace("%3a", ":"))
    raise ProgramFailed(f"apt-get downloaded no package {package}")


def _reworded(error: ProgramFailed, package: str) -> ProgramFailed | Unavailable:
    text = str(error)
    if "is not installed" in text:
        return Unavailable(f"the Debian package {package} needs apt-get, which is not here")
    if "Unable to locate" in text or "No packages found" in text:
        return Unavailable(f"apt does not know the package {package}; run: apt-get update")
    return error
