#!/usr/bin/env python3
"""Start one component of a Kubernetes cluster as a Mesos task.

Mesos fetches this file into a task's sandbox and runs it as root. It

1. checks the SHA-256 of the programs that it is to start,
2. makes a mount namespace of its own with a tmpfs for keys, which neither the host nor Mesos'
   file browser sees,
3. creates private keys there and asks the framework scheduler for certificates and configuration;
   it proves who it is by writing the hash of its request into its sandbox, where the scheduler
   reads it through Mesos: no secret travels in the task's description,
4. waits until what the component needs can be reached,
5. becomes the component, with an environment that has nothing of Mesos' or its own.

Environment: KUBEDCOS_TASK (task id), KUBEDCOS_API (URLs, comma-separated), KUBEDCOS_CA (PEM),
KUBEDCOS_BINARIES (PATH=SHA256, comma-separated), KUBEDCOS_KEYS (names, comma-separated),
KUBEDCOS_VOLUMES (NAME=PATH of persistent volumes, comma-separated).

Exit codes: 1 refused or impossible, 2 wrong usage; otherwise the component's own.
"""

from __future__ import annotations

import ctypes
import hashlib
import http.client
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.parse
from typing import Any, NoReturn

PRIVATE = "/run/kubedcos-task"
DATA = "/var/lib/kubedcos"
PROOF = "kubedcos-proof"
REQUEST_DEADLINE = 300.0
WAIT_DEADLINE = 300.0
MOST_FOLDERS = 100
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

CLONE_NEWNS = 0x00020000
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REC = 0x2, 0x4, 0x8, 0x4000
MS_SLAVE, MS_SHARED = 1 << 19, 1 << 20
CAP_SYS_RESOURCE = 24


class Failure(Exception):
    """The task cannot go on; the text says why."""


def say(text: str) -> None:
    """Write a line to the task's log."""
    print(f"kubedcos-task: {text}", file=sys.stderr, flush=True)


# --- programs ------------------------------------------------------------------------------------


def verify(binaries: dict[str, str]) -> None:
    """Compare each file's SHA-256 with what it has to be."""
    for path, wanted in binaries.items():
        digest = hashlib.sha256()
        try:
            with open(path, "rb") as file:
                for block in iter(lambda: file.read(1 << 20), b""):
                    digest.update(block)
        except OSError as error:
            raise Failure(f"{path}: {error.strerror}") from None
        if digest.hexdigest() != wanted:
            raise Failure(f"{path}: SHA-256 is {digest.hexdigest()}, wanted {wanted}")


# --- a private place -----------------------------------------------------------------------------


def libc_call(name: str, *arguments: Any) -> None:
    """Call a function of the C library that answers 0 or fails."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise Failure(f"{name}: {os.strerror(error)}")


def enter_private_namespace() -> None:
    """Own mount namespace: the host's mounts come in, ours do not go out; a tmpfs for keys."""
    os.makedirs(PRIVATE, mode=0o700, exist_ok=True)
    libc_call("unshare", CLONE_NEWNS)
    libc_call("mount", None, b"/", None, MS_REC | MS_SLAVE, None)
    # Shared again among ourselves, so that containers may share mounts with each other.
    libc_call("mount", None, b"/", None, MS_REC | MS_SHARED, None)
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    libc_call("mount", b"keys", PRIVATE.encode(), b"tmpfs", flags, b"mode=0700,size=32m")


# --- keys and material ---------------------------------------------------------------------------


def create_key(name: str) -> str:
    """Create a P-256 key in the private place; return a signing request for it (PEM)."""
    path = os.path.join(PRIVATE, f"{name}.key")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", path]
    request = openssl("req", "-new", *new, "-subj", f"/CN={name}", "-sha256")
    os.chmod(path, 0o600)
    return request


def openssl(*arguments: str) -> str:
    """Run openssl and return what it prints."""
    try:
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Failure("openssl is missing on this host") from None
    if done.returncode != 0:
        raise Failure(f"openssl {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def proc_field(path: str, label: str) -> str:
    """The first word after `label` in a file of /proc."""
    with open(path) as lines:
        return next(line.split()[1] for line in lines if line.startswith(label))


def folders(root: str, levels: int = 3) -> list[str]:
    """Folders below `root`, relative to it, down to so many levels; none if it is not there."""
    found = []
    for path, names, _ in os.walk(root):
        below = [os.path.relpath(os.path.join(path, name), root) for name in names]
        found += below
        if below and below[0].count("/") + 1 >= levels:
            names.clear()
    return sorted(found)[:MOST_FOLDERS]


def facts(sandbox: str, volumes: dict[str, str]) -> dict[str, Any]:
    """What the scheduler must know about this host to write the component's configuration."""
    capabilities = int(proc_field("/proc/self/status", "CapEff:"), 16)
    disk = os.statvfs(DATA if os.path.isdir(DATA) else os.path.dirname(DATA))
    return {
        "hostname": socket.gethostname().strip().lower(),
        "sandbox": sandbox,
        "cpus": os.sysconf("SC_NPROCESSORS_ONLN"),
        "mem_kb": int(proc_field("/proc/meminfo", "MemTotal:")),
        "disk_bytes": disk.f_blocks * disk.f_frsize,
        "may_raise_priority": bool(capabilities >> CAP_SYS_RESOURCE & 1),
        "volumes": {name: folders(os.path.join(sandbox, at)) for name, at in volumes.items()},
    }


def pause(waited: float) -> float:
    """Seconds until the next try of what was waited for so long."""
    return min(1.0, max(0.1, waited / 10))


def ask(urls: list[str], ca_pem: str, task: str, body: bytes) -> dict[str, Any]:
    """Send the request to whichever scheduler leads, until one answers or time is over."""
    context = ssl.create_default_context(cadata=ca_pem)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    began = time.monotonic()
    reason = ""
    while (asked_for := time.monotonic() - began) < REQUEST_DEADLINE:
        for url in urls:
            parts = urllib.parse.urlsplit(url)
            path = f"/v1/tasks/{urllib.parse.quote(task)}/material"
            try:
                connection = http.client.HTTPSConnection(
                    parts.hostname or "", parts.port or 443, context=context, timeout=30
                )
                connection.request("POST", path, body, {"Content-Type": "application/json"})
                reply = connection.getresponse()
                answer = reply.read()
            except (OSError, http.client.HTTPException) as error:
                reason = f"{url}: {error}"
                continue
            if reply.status == 200:
                return json.loads(answer)  # type: ignore[no-any-return]
            reason = f"{url}: {reply.status} {answer.decode(errors='replace')[:500]}"
            if reply.status not in (404, 425, 502, 503):
                raise Failure(f"the scheduler refused: {reason}")
        time.sleep(pause(asked_for))
    raise Failure(f"no scheduler answered: {reason}")


def write_files(files: list[dict[str, Any]]) -> None:
    """Write the files of the reply; those with relative paths go into the private place."""
    for file in files:
        path = os.path.join(PRIVATE, file["path"])
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, file.get("mode", 0o600))
        with os.fdopen(descriptor, "w") as out:
            out.write(file["text"])


# --- waiting -------------------------------------------------------------------------------------


def wait_for(places: list[list[Any]]) -> None:
    """Wait until each host resolves and accepts connections."""
    for place in places:
        wait_for_one([place])


def wait_for_one(places: list[list[Any]]) -> None:
    """Wait until one of these hosts resolves and accepts connections."""
    began = time.monotonic()
    names = " or ".join(f"{host}:{port}" for host, port in places)
    said = False
    while places:
        reason = ""
        for host, port in places:
            try:
                socket.create_connection((host, port), timeout=5).close()
            except OSError as error:
                reason = str(error)
            else:
                return
        waited = time.monotonic() - began
        if waited > WAIT_DEADLINE:
            raise Failure(f"{names} cannot be reached: {reason}")
        if not said:
            say(f"waiting for {names} ({reason})")
            said = True
        time.sleep(pause(waited))


# --- the way through -----------------------------------------------------------------------------


def words(text: str) -> list[str]:
    """Comma-separated words, none of them empty."""
    return [word for word in text.split(",") if word]


def start(environment: dict[str, str]) -> NoReturn:
    """Do everything up to becoming the component."""
    task = environment["KUBEDCOS_TASK"]
    binaries = dict(pair.split("=", 1) for pair in words(environment["KUBEDCOS_BINARIES"]))
    volumes = dict(pair.split("=", 1) for pair in words(environment.get("KUBEDCOS_VOLUMES", "")))
    sandbox = os.path.realpath(environment.get("MESOS_SANDBOX") or os.getcwd())
    os.chdir(sandbox)
    verify(binaries)
    enter_private_namespace()
    request = {
        "task_id": task,
        "nonce": secrets.token_hex(32),
        "requests": {name: create_key(name) for name in words(environment["KUBEDCOS_KEYS"])},
        "facts": facts(sandbox, volumes),
    }
    body = json.dumps(request).encode()
    with open(PROOF, "w") as proof:
        proof.write(hashlib.sha256(body).hexdigest())
    reply = ask(words(environment["KUBEDCOS_API"]), environment["KUBEDCOS_CA"], task, body)
    write_files(reply["files"])
    for folder in reply.get("remove", []):
        say(f"removing {folder}, which is of no use any more")
        shutil.rmtree(folder, ignore_errors=True)
    for directory in reply.get("directories", []):
        os.makedirs(directory, mode=0o700, exist_ok=True)
        os.chmod(directory, 0o700)
    wait_for(reply.get("wait_for", []))
    wait_for_one(reply.get("wait_for_one", []))
    say(f"starting {os.path.basename(reply['argv'][0])}")
    os.umask(0o077)
    os.execve(reply["argv"][0], reply["argv"], {"PATH": PATH, **reply.get("environment", {})})


def main(arguments: list[str]) -> int:
    """Entry point; see the module's text."""
    if arguments:
        say("takes no arguments; what it is to do stands in its environment")
        return 2
    try:
        start(dict(os.environ))
    except Failure as failure:
        say(str(failure))
    except KeyError as error:
        say(f"{error} is missing from the environment or from the scheduler's reply")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
