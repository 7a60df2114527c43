"""Files of the site's artefact server, fetched and verified before anything is done with them."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

CHUNK = 1 << 20


class ArtifactError(Exception):
    """What went wrong, in words for the operator."""


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file as hexadecimal digits."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as source:
        for block in iter(lambda: source.read(CHUNK), b""):
            digest.update(block)
    return digest.hexdigest()


def download(item: dict[str, Any], folder: Path, timeout: int, retries: int) -> str:
    """Fetch and verify; returns the path of a temporary file in `folder`.

    Raises:
        ArtifactError: the server does not deliver, the sum differs, or the disk is full.
    """
    # Artefacts come from the cluster's own server: a proxy for the internet would not reach it.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    attempt = 0
    while True:
        descriptor, path = tempfile.mkstemp(prefix=".kubedcos-", dir=folder)
        try:
            seen = _stream(opener, item["url"], descriptor, timeout)
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            Path(path).unlink()
            if isinstance(error, urllib.error.HTTPError) or attempt >= retries:
                raise ArtifactError(
                    f"{item['name']}: {item['url']} was not delivered: {error}; wanted a file. "
                    "Is the artefact server up, and was the artefact put there?"
                ) from error
            attempt += 1
            time.sleep(attempt)
            continue
        except OSError as error:
            Path(path).unlink()
            raise ArtifactError(
                f"{item['name']}: can not write to {folder}: {error.strerror}"
            ) from error
        if seen != item["sha256"]:
            Path(path).unlink()
            raise ArtifactError(
                f"{item['name']}: {item['url']} has SHA-256 {seen}; wanted {item['sha256']}. "
                "Nothing was installed; verify the artefacts on the control machine."
            )
        return path


def _stream(opener: urllib.request.OpenerDirector, url: str, descriptor: int, timeout: int) -> str:
    digest = hashlib.sha256()
    with os.fdopen(descriptor, "wb") as sink, opener.open(url, timeout=timeout) as source:
        expected = source.headers.get("Content-Length")
        total = 0
        for block in iter(lambda: source.read(CHUNK), b""):
            digest.update(block)
            sink.write(block)
            total += len(block)
        sink.flush()
        os.fsync(sink.fileno())
    if expected is not None and total != int(expected):
        raise ConnectionError(f"broke off after {total} of {expected} bytes")
    return digest.hexdigest()
