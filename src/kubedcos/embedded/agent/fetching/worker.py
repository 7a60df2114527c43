"""The process that fetches: started for one container, or for one file of the cache.

Standard library only; `python -I -S worker.py AGENT_PID` with a JSON object on stdin, log on stderr
(the sandbox's). Exit status 1 when something could not be fetched; the log says what, in Mesos'
words.

Input: ``sandbox_directory``, ``items`` ([{``action``, ``uri``, ``cache_path``}]), and optionally
``frameworks_home``, ``stall_timeout`` (seconds), ``owner`` ([uid, gid]). Actions:
BYPASS_CACHE, RETRIEVE_FROM_CACHE, and DOWNLOAD_AND_CACHE, which fills `cache_path` and no more.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import lzma
import os
import shutil
import signal
import sys
import tarfile
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

Spec = dict[str, Any]
TAR_SUFFIXES = (".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz")
CHUNK = 1 << 20
PR_SET_PDEATHSIG = 1
"""<linux/prctl.h>: the signal for when the parent ends."""


class FetchError(Exception):
    """The sentence that ends up in the log."""


def log(text: str, level: str = "I") -> None:
    """One line in the form of Mesos' logs."""
    now = time.time()
    stamp = time.strftime("%m%d %H:%M:%S", time.localtime(now))
    sys.stderr.write(f"{level}{stamp}.{int(now % 1 * 1e6):06d} {os.getpid()} fetcher.py] {text}\n")
    sys.stderr.flush()


def local_path(uri: str, frameworks_home: str) -> Path | None:
    """The local file that a URI means; None when it must be downloaded.

    Raises:
        FetchError: a relative path without a home.
    """
    if uri.startswith("file://"):
        return Path(uri.removeprefix("file://").removeprefix("localhost"))
    if "://" in uri:
        return None
    if uri.startswith("/"):
        return Path(uri)
    if not frameworks_home:
        raise FetchError(
            "A relative path was passed for the resource but the Mesos framework home was not "
            "specified. Please either provide this config option or avoid using a relative path"
        )
    return Path(frameworks_home) / uri


def download(uri: str, destination: Path, stall_timeout: float) -> None:
    """Stream `uri` into `destination`; raises FetchError."""
    import urllib.error  # noqa: PLC0415  not needed for what comes from the cache
    import urllib.request  # noqa: PLC0415  likewise

    scheme = uri.partition("://")[0].lower()
    if scheme not in {"http", "https"}:
        raise FetchError(f"The embedded agent does not support the URI scheme '{scheme}'")
    log(f"Downloading resource from '{uri}' to '{destination}'")
    try:
        with urllib.request.urlopen(uri, timeout=stall_timeout) as answer:  # noqa: S310  see above
            announced = answer.headers.get("Content-Length")
            with destination.open("wb") as stream:
                shutil.copyfileobj(answer, stream, CHUNK)
    except urllib.error.HTTPError as error:
        text = f"Error downloading resource, received HTTP return code {error.code}"
        raise FetchError(text) from error
    except (OSError, ValueError) as error:
        raise FetchError(f"Error downloading resource: {error}") from error
    size = destination.stat().st_size
    if announced is not None and size != int(announced):
        raise FetchError(f"Error downloading resource: got {size} of {announced} bytes")


def copy(source: Path, destination: Path) -> None:
    """Copy contents and permissions inside the kernel where it can (a reflink at best).

    Raises:
        FetchError: there is no such file.
        OSError: it cannot be read or written.
    """
    if not source.is_file():
        raise FetchError(f"Failed to copy '{source}': no such file")
    try:
        with source.open("rb") as reader, destination.open("wb") as writer:
            left = os.fstat(reader.fileno()).st_size
            while left > 0:
                done = os.copy_file_range(reader.fileno(), writer.fileno(), left)
                if done == 0:
                    break
                left -= done
    except OSError:
        shutil.copyfile(source, destination)
    shutil.copymode(source, destination)


def is_archive(name: str) -> bool:
    """Whether the suffix is one that is extracted."""
    return name.endswith((*TAR_SUFFIXES, ".zip", ".gz"))


def extract(archive: Path, name: str, directory: Path) -> None:
    """Unpack `archive`, which is called `name`, into `directory`; raises FetchError."""
    try:
        if name.endswith(TAR_SUFFIXES):
            _extract_tar(archive, directory)
        elif name.endswith(".zip"):
            _extract_zip(archive, directory)
        else:
            target = directory / name.removesuffix(".gz").rpartition("/")[2]
            with gzip.open(archive) as reader, target.open("wb") as writer:
                shutil.copyfileobj(reader, writer, CHUNK)
    except (tarfile.ReadError, zipfile.BadZipFile, gzip.BadGzipFile) as error:
        text = f"Failed to extract archive '{archive}' to '{directory}': "
        raise FetchError(text + "Unrecognized archive format") from error
    except (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError) as error:
        text = f"Failed to extract archive '{archive}' to '{directory}': {error}"
        raise FetchError(text) from error


def _extract_tar(archive: Path, directory: Path) -> None:
    """Nothing outside the directory, no set-uid bits, no foreign owners, no device files."""
    root = os.path.realpath(directory)
    with tarfile.open(archive) as tar:
        # Python 3.11.2 has no filters yet, and later ones want one to be named.
        tar.extraction_filter = lambda member, _path: member
        for member in tar:
            name = member.name.lstrip("/")
            place = os.path.realpath(directory / name)
            if place != root and not place.startswith(root + "/"):
                raise FetchError(f"Archive '{archive}' leaves '{directory}': {member.name}")
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                continue
            member.name = name
            member.mode &= 0o777
            member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
            if member.islnk():
                member.linkname = member.linkname.lstrip("/")
                if not os.path.realpath(directory / member.linkname).startswith(root + "/"):
                    raise FetchError(f"Archive '{archive}' leaves '{directory}': {member.name}")
            tar.extract(member, directory)


def _extract_zip(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        for member in content.infolist():
            target = content.extract(member, directory)
            mode = member.external_attr >> 16 & 0o777
            if mode and not member.is_dir():
                Path(target).chmod(mode)


def fetch(item: Spec, info: Spec) -> None:
    """Carry out one item; raises FetchError."""
    uri: Spec = item["uri"]
    value = uri["value"]
    stall = float(info.get("stall_timeout", 60.0))
    home = info.get("frameworks_home", "")
    log(f"Fetching URI '{value}'")
    if item["action"] == "DOWNLOAD_AND_CACHE":
        _obtain(value, Path(item["cache_path"]), home, stall)
        return
    sandbox = Path(info["sandbox_directory"])
    name = uri.get("output_file") or item["name"]
    target = sandbox / name
    target.parent.mkdir(parents=True, exist_ok=True)
    unpack = bool(uri.get("extract", True)) and not uri.get("executable")
    cached = item["action"] == "RETRIEVE_FROM_CACHE"
    if cached:
        log(f"Fetching URI '{value}' from cache")
        source = Path(item["cache_path"])
    else:
        log(f"Fetching '{value}' directly into the sandbox directory")
        _obtain(value, target, home, stall)
        source = target
    if unpack and is_archive(name):
        extract(source, name, sandbox)
    else:
        if unpack:
            log(
                "Copying instead of extracting resource from URI with 'extract' flag, because it "
                f"does not seem to be an archive: {value}",
                "W",
            )
        if cached:
            copy(source, target)
        if uri.get("executable"):
            target.chmod(target.stat().st_mode | 0o111)
    log(f"Fetched '{value}' to '{target}'")


def _obtain(value: str, target: Path, home: str, stall: float) -> None:
    source = local_path(value, home)
    if source is None:
        download(value, target, stall)
    else:
        copy(source, target)


def give_to(owner: list[int], directory: Path) -> None:
    """Make everything below `directory` the task user's."""
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            os.chown(Path(folder) / name, *owner, follow_symlinks=False)


def die_with(agent: int) -> None:
    """End when the agent does: nobody waits for the files any more."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != agent:
        sys.exit(1)


def main(arguments: list[str]) -> int:
    """Fetch what stdin says for the agent with the process id in `arguments`; the exit status."""
    os.umask(0o022)
    if arguments:
        die_with(int(arguments[0]))
    info = json.load(sys.stdin)
    log(f"Fetcher Info: {json.dumps(info, separators=(',', ':'))}")
    for item in info["items"]:
        try:
            fetch(item, info)
        except (FetchError, OSError) as error:
            value = item["uri"]["value"]
            log(f"EXIT with status 1: Failed to fetch '{value}': {error}", "E")
            return 1
    if info.get("owner"):
        give_to(info["owner"], Path(info["sandbox_directory"]))
    log(f"Successfully fetched all URIs into '{info.get('sandbox_directory', '')}'")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
