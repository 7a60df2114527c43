"""One archive for a supporter: findings, state, plans, pods, tasks, agents, logs; no secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import tarfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from kubedcos import __version__
from kubedcos.errors import InvalidInput, Problem
from kubedcos.redaction import Redactor

_README: Final = """\
Made by `kubedcos doctor --archive`. Secrets were taken out; look through it before you send it.

findings.json         the checks of `kubedcos doctor`
local.json            the command line's version and context, without its token
preflight.txt         what the preflight's checks said of the hosts, if they were asked
service.json          the scheduler's version, packages and settings
log.txt               the last lines that the scheduler logged
metrics.txt           its metrics
clusters/NAME/*.json  options, plans, pods with their last events and offers, tasks, agents, ...
clusters/NAME/outputs what tasks said last that are not ready or have failed
"""
_PARTS: Final = (
    *("options", "plans", "pods", "tasks", "agents", "reservations", "interruptions", "actions"),
    *("certificates", "state_bytes", "health"),
)


def members(
    *,
    findings: object,
    local: Mapping[str, Any],
    support: Mapping[str, Any] | None,
    metrics: str,
    preflight: str,
    known: Iterable[str],
) -> dict[str, str]:
    """Names and texts of the archive's files.

    Args:
        findings: of the doctor, as plain data.
        local: what the command line knows of itself.
        support: the scheduler's document; None when it does not answer.
        metrics: of the scheduler.
        preflight: output of the preflight's checks.
        known: secrets that this machine knows.
    """
    redactor = Redactor(known)
    found: dict[str, str] = {"README.txt": _README}
    found["findings.json"] = _json(redactor.data(findings))
    found["local.json"] = _json(redactor.data(dict(local)))
    if preflight:
        found["preflight.txt"] = redactor.text(preflight)
    if metrics:
        found["metrics.txt"] = redactor.text(metrics)
    if support is None:
        return found
    document = redactor.data(dict(support))
    found["log.txt"] = "\n".join(document.pop("log", []))
    for cluster in document.pop("clusters", []):
        folder = f"clusters/{_safe(cluster['name'])}"
        for name, text in cluster.pop("outputs", {}).items():
            found[f"{folder}/outputs/{_safe(name)}"] = text
        for part in _PARTS:
            found[f"{folder}/{part}.json"] = _json(cluster.pop(part, None))
        found[f"{folder}/cluster.json"] = _json(cluster)
    found["service.json"] = _json(document)
    return found


def write(path: Path, files: Mapping[str, str]) -> None:
    """Write the archive, for its owner alone.

    Raises:
        InvalidInput: there is something of this name, or it cannot be written.
    """
    root = path.name.removesuffix(".tar.gz").removesuffix(".tgz")
    now = int(time.time())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        wanted = "a new file in a folder that you may write to"
        seen = error.strerror or type(error).__name__
        raise InvalidInput([Problem(str(path), seen, wanted, id="archive-file")]) from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in sorted(files.items()):
            content = text.encode()
            member = tarfile.TarInfo(f"{root}/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, now
            archive.addfile(member, io.BytesIO(content))


def local(context: str, urls: Iterable[str]) -> dict[str, Any]:
    """What the command line knows of itself; the context's token is not in it."""
    return {
        "version": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "context": context,
        "urls": list(urls),
    }


def default_path(now: float) -> Path:
    """``kubedcos-support-20261120-160000.tar.gz`` in the working directory."""
    return Path(time.strftime("kubedcos-support-%Y%m%d-%H%M%S.tar.gz", time.gmtime(now)))


def _json(value: object) -> str:
    return json.dumps(value, indent=1, default=str) + "\n"


def _safe(name: str) -> str:
    """A name that is one part of a path and stays below it."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).lstrip(".") or "_"
