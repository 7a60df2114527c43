"""Fetches published files and files of a site's mirror."""

from __future__ import annotations

import hashlib
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kubedcos.artifacts.store import ChecksumMismatch, disk_errors
from kubedcos.errors import KubedcosError

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT = 3.0
"""Seconds to wait for a connection: a closed network must not cost a minute for each file."""

READ_TIMEOUT = 60.0
"""Seconds without a byte after which a download is given up."""


class Unavailable(KubedcosError):
    """This source cannot give the artefact now; the next one may."""


class Downloader:
    """Downloads with short connects; a host that once did not answer is not asked again.

    Args:
        client: HTTP client; by default one that honours the environment's proxies.
    """

    def __init__(self, client: httpx2.Client | None = None) -> None:
        self._client = client
        self._unreachable: dict[str, str] = {}
        self._stopped = False

    def fetch(self, url: str, target: Path, sha256: str) -> None:
        """Download `url` to `target` and check its sum.

        Raises:
            Unavailable: the host does not answer or does not have it.
            ChecksumMismatch: the content has another sum.
        """
        import httpx2  # noqa: PLC0415  takes a quarter of a second, and most runs download nothing

        host = urlsplit(url).netloc
        if host in self._unreachable:
            raise Unavailable(f"{url}: {self._unreachable[host]}")
        digest = hashlib.sha256()
        try:
            with self._http().stream("GET", url) as answer, disk_errors(target.parent):
                if answer.status_code != 200:
                    raise Unavailable(f"{url}: answered {answer.status_code}")
                with target.open("wb") as stream:
                    for block in answer.iter_bytes(1 << 20):
                        if self._stopped:
                            raise Unavailable(f"{url}: the download was stopped")
                        digest.update(block)
                        stream.write(block)
        except (httpx2.HTTPError, socket.gaierror) as error:
            reason = f"{host} does not answer ({str(error) or type(error).__name__})"
            self._unreachable[host] = reason
            raise Unavailable(f"{url}: {reason}") from error
        if digest.hexdigest() != sha256:
            raise ChecksumMismatch(url, sha256, digest.hexdigest())

    def stop(self) -> None:
        """Give up what other threads are downloading."""
        self._stopped = True

    def _http(self) -> httpx2.Client:
        import httpx2  # noqa: PLC0415  as above

        if self._client is None:
            timeout = httpx2.Timeout(READ_TIMEOUT, connect=CONNECT_TIMEOUT)
            self._client = httpx2.Client(timeout=timeout, follow_redirects=True)
        return self._client


def take_member(archive: Path, member: str, target: Path) -> None:
    """Copy one file out of a tar archive.

    Raises:
        KubedcosError: the archive does not have it.
    """
    with tarfile.open(archive) as tar:
        copy_member(tar, member, target, str(archive.name))


def copy_member(tar: tarfile.TarFile, member: str, target: Path, name: str) -> None:
    """Copy the file `member` of an open archive; a leading ``./`` does not matter.

    Raises:
        KubedcosError: the archive does not have it.
    """
    for info in tar:
        if info.name.removeprefix("./") == member and info.isfile():
            content = tar.extractfile(info)
            if content is None:
                break
            with disk_errors(target.parent), target.open("wb") as stream:
                read: Callable[[int], bytes] = content.read
                while block := read(1 << 20):
                    stream.write(block)
            return
    raise KubedcosError(f"{name}: no file {member} in it")
