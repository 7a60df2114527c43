"""Which framework scheduler the command line talks to: small files below the user's own folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from kubedcos.errors import InvalidInput, Problem

_WORD: Final = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Context:
    """A framework scheduler and how to be let in.

    Attributes:
        url: of its API, such as ``https://10.89.1.10:8443``; several are separated by commas.
        ca_pem: certificate authority of its API.
        token: of an operator.
    """

    name: str
    urls: tuple[str, ...]
    ca_pem: str
    token: str


def folder() -> Path:
    """Where contexts are; KUBEDCOS_CONFIG names another place."""
    named = os.environ.get("KUBEDCOS_CONFIG")
    return Path(named) if named else Path.home() / ".config" / "kubedcos"


def logins() -> Path:
    """Where `kubedcos kubectl` keeps kubeconfigs, named CONTEXT/CLUSTER.yaml."""
    return Path.home() / ".cache" / "kubedcos" / "kubeconfig"


def current() -> Context:
    """The context in use: KUBEDCOS_CONTEXT, the one chosen, or the only one.

    Raises:
        InvalidInput: there is none, several and none is chosen, or its file is broken.
    """
    known = sorted(path.stem for path in (folder() / "contexts").glob("*.json"))
    name = os.environ.get("KUBEDCOS_CONTEXT", "")
    pointer = folder() / "context"
    if not name and pointer.is_file():
        name = pointer.read_text(errors="replace").strip()
    if not name and len(known) == 1:
        name = known[0]
    if name not in known:
        raise InvalidInput(
            [
                Problem(
                    f"context {name or '(none chosen)'}",
                    f"no such file in {folder() / 'contexts'}",
                    "one of " + ", ".join(known) if known else "a cluster made from this machine",
                    id="context-missing",
                    fix="The playbook kubernetes.yml writes it; `make demo` does all of it",
                )
            ]
        )
    return read(folder() / "contexts" / f"{name}.json")


def read(path: Path) -> Context:
    """The context in the file `path`.

    Raises:
        InvalidInput: it is no context.
    """
    try:
        document = json.loads(path.read_text())
        url, ca_pem, token = document["url"], document["ca_pem"], document["token"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            [
                Problem(
                    str(path),
                    f"{type(error).__name__}: {error}",
                    "a JSON object with url, ca_pem and token",
                    id="context-broken",
                )
            ]
        ) from error
    problems = []
    if not isinstance(ca_pem, str) or not ca_pem.strip():
        # Python's ssl would take none for the machine's own authorities.
        wanted = "the certificate of the scheduler's authority, PEM"
        problems.append(Problem(f"{path}: ca_pem", _kind(ca_pem), wanted, id="context-ca"))
    if not isinstance(token, str) or not _WORD.fullmatch(token):
        wanted = "one word of printable ASCII"
        problems.append(Problem(f"{path}: token", _kind(token), wanted, id="context-token"))
    if problems:
        raise InvalidInput(problems)
    urls = tuple(part.strip().rstrip("/") for part in str(url).split(",") if part.strip())
    if not urls or not all(_is_api(each) for each in urls):
        raise InvalidInput(
            [
                Problem(
                    f"{path}: url",
                    repr(url),
                    "an address such as https://10.0.0.1:8443, several apart by commas",
                    id="context-url",
                )
            ]
        )
    return Context(path.stem, urls, ca_pem, token)


def _kind(value: object) -> str:
    """What a value is that is not shown: it may be a secret."""
    if isinstance(value, str):
        return "other text" if value.strip() else "empty text"
    return f"a value of the type {type(value).__name__}"


def _is_api(url: str) -> bool:
    """Whether the token may be sent there: never without TLS."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, at once or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    partial.replace(path)


def keep(path: Path, text: str, *, dry_run: bool = False) -> bool:
    """Have a context in the file, for its owner alone; whether it was not so before."""
    text += "\n"
    try:
        found = path.read_text(errors="replace"), stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        found = "", 0
    if found == (text, 0o600):
        return False
    if not dry_run:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, text)
    return True


def remove_of(addresses: Collection[str]) -> list[str]:
    """Remove contexts whose scheduler is at one of `addresses`, and what belongs to them.

    That is the choice of such a context, the logins that `kubedcos kubectl` keeps, and folders
    that are empty then.
    """
    removed = []
    for path in sorted((folder() / "contexts").glob("*.json")):
        try:
            urls = read(path).urls
        except InvalidInput:
            continue
        if urls and all(urlsplit(url).hostname in addresses for url in urls):
            path.unlink()
            removed.append(path.stem)
            shutil.rmtree(logins() / path.stem, ignore_errors=True)
    pointer = folder() / "context"
    if pointer.is_file() and pointer.read_text().strip() in removed:
        pointer.unlink()
    for left in (folder() / "contexts", folder()):
        if removed and left.is_dir() and not any(left.iterdir()):
            left.rmdir()
    return removed
