"""What `by_hand.py` runs on a host, as root: copy what a task is, and start it without Mesos.

    python3 by_hand_host.py capture TASK…    says as JSON what was found
    python3 by_hand_host.py know NAMES       puts names with addresses (JSON) into /etc/hosts
    python3 by_hand_host.py start TASK       starts one, with the launcher's own ways
    python3 by_hand_host.py masters TASK     a login that may do all, signed as TASK signs nodes
    python3 by_hand_host.py log TASK         the end of what it said
    python3 by_hand_host.py stop             ends everything and removes the copies

Copies hold private keys: they lie in memory, where root alone reads them.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.machinery
import importlib.util
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from typing import Any

PLACE = "/run/by-hand"
PRIVATE = "/run/kubedcos-task"
LAUNCHER = "kubedcos-task"
GROUP = "by-hand"
END_SECONDS = 10.0
HOSTS = "/etc/hosts"
MARK = "# by hand"


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def components() -> dict[str, int]:
    """Process ids of components by sandbox: the first of those that have their keys mounted."""
    found: dict[str, int] = {}
    for path in glob.glob("/proc/[0-9]*"):
        pid = int(path.rpartition("/")[2])
        with contextlib.suppress(OSError):
            sandbox = os.readlink(f"{path}/cwd")
            mounted = f" {PRIVATE} ".encode() in read(f"{path}/mountinfo")
            if mounted and "/executors/" in sandbox:
                found[sandbox] = min(pid, found.get(sandbox, pid))
    return found


def capture(tasks: list[str]) -> dict[str, Any]:
    os.makedirs(PLACE, mode=0o700, exist_ok=True)
    found: dict[str, Any] = {}
    for sandbox, pid in components().items():
        task = next((name for name in tasks if f"/executors/{name}/" in sandbox), None)
        if task is None:
            continue
        environment = [part.decode() for part in read(f"/proc/{pid}/environ").split(b"\0") if part]
        found[task] = {
            "argv": [part.decode() for part in read(f"/proc/{pid}/cmdline").split(b"\0")[:-1]],
            "environment": dict(pair.split("=", 1) for pair in environment),
            "sandbox": sandbox,
            "names": names_of(pid),
        }
        folder = os.path.join(PLACE, task)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(
            f"/proc/{pid}/root{PRIVATE}",
            os.path.join(folder, "private"),
            symlinks=True,
            ignore=not_to_copy,
        )
        # The sandbox's files are removed by the agent one day, and its volumes with the cluster.
        keep = [name for name in os.listdir(sandbox) if os.path.isfile(os.path.join(sandbox, name))]
        os.makedirs(os.path.join(folder, "sandbox"))
        for name in keep:
            shutil.copy2(os.path.join(sandbox, name), os.path.join(folder, "sandbox", name))
        with open(os.path.join(folder, "task.json"), "w") as file:
            json.dump(found[task], file)
    return found


def not_to_copy(folder: str, names: list[str]) -> list[str]:
    """Sockets, and what a kubelet gets when it joins: it is to join again."""
    return [
        name
        for name in names
        if name == "kubelet-pki" or stat.S_ISSOCK(os.lstat(os.path.join(folder, name)).st_mode)
    ]


def names_of(pid: int) -> list[str]:
    """Names in Mesos' domain that a component is told: they end with its cluster."""
    told = read(f"/proc/{pid}/cmdline") + read(f"/proc/{pid}/environ")
    for path in glob.glob(f"/proc/{pid}/root{PRIVATE}/*"):
        if os.path.isfile(path):
            told += read(path)
    return sorted({name.decode() for name in re.findall(rb"[a-z0-9][a-z0-9.-]*\.mesos\b", told)})


def know(names: dict[str, str]) -> None:
    """Have names known without Mesos-DNS; the file is written in place, as it may be a mount."""
    lines = "".join(f"{address} {name} {MARK}\n" for name, address in names.items() if address)
    with open(HOSTS, "a") as file:
        file.write(lines)


def forget() -> None:
    with open(HOSTS, "r+") as file:
        kept = [line for line in file if not line.rstrip().endswith(MARK)]
        file.seek(0)
        file.writelines(kept)
        file.truncate()


def groups(task: str) -> list[str]:
    """Cgroups of a task, made: one for each hierarchy that Mesos' isolators use."""
    made = []
    name = f"{GROUP}-{abs(hash(task)) % 10**8}"
    for line in read("/proc/self/mountinfo").decode().splitlines():
        left, right = line.split(" - ", 1)
        point, (kind, _, options) = left.split()[4], right.split()
        if kind == "cgroup2" or (kind == "cgroup" and {"memory", "cpu"} & set(options.split(","))):
            path = os.path.join(point, name)
            os.makedirs(path, exist_ok=True)
            made.append(path)
    return made


def start(task: str) -> None:
    folder = os.path.join(PLACE, task)
    found = json.loads(read(os.path.join(folder, "task.json")))
    sandbox = found["sandbox"]
    os.makedirs(sandbox, exist_ok=True)
    shutil.copytree(os.path.join(folder, "sandbox"), sandbox, dirs_exist_ok=True)
    joined = groups(task)
    if os.fork():
        return
    os.setsid()
    log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(log, number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for path in joined:
        with open(os.path.join(path, "cgroup.procs"), "w") as file:
            file.write(str(os.getpid()))
    loader = importlib.machinery.SourceFileLoader("launcher", os.path.join(sandbox, LAUNCHER))
    spec = importlib.util.spec_from_loader("launcher", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    module.enter_private_namespace()
    shutil.copytree(os.path.join(folder, "private"), PRIVATE, dirs_exist_ok=True)
    os.chdir(sandbox)
    for argument in found["argv"]:
        name, _, value = argument.partition("=")
        if name in ("--data-dir", "--wal-dir"):
            os.makedirs(value, mode=0o700, exist_ok=True)
    os.umask(0o077)
    os.execve(found["argv"][0], found["argv"], found["environment"])


def masters(task: str) -> dict[str, str]:
    """Key and certificate (PEM) of group system:masters, which has its rights from birth."""
    folder = os.path.join(PLACE, task)
    argv = json.loads(read(os.path.join(folder, "task.json")))["argv"]
    options = dict(argument.split("=", 1) for argument in argv if "=" in argument)
    authority = [
        os.path.join(folder, "private", os.path.relpath(options[name], PRIVATE))
        for name in ("--cluster-signing-cert-file", "--cluster-signing-key-file")
    ]
    key, request = os.path.join(PLACE, "masters.key"), os.path.join(PLACE, "masters.csr")
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", *kind, "-keyout", key, "-out", request, "-subj", "/O=system:masters/CN=by-hand")
    signed = openssl(
        *("x509", "-req", "-in", request, "-days", "1", "-set_serial", "1"),
        *("-CA", authority[0], "-CAkey", authority[1]),
    )
    return {"client-key": read(key).decode(), "client-certificate": signed}


def openssl(*arguments: str) -> str:
    return subprocess.run(
        ["openssl", *arguments], capture_output=True, text=True, check=True
    ).stdout


def members(paths: list[str]) -> set[int]:
    """Processes in cgroups and in those below them."""
    found = set()
    for path in paths:
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                found |= {int(line) for line in read(f"{folder}/cgroup.procs").split()}
    return found


def stop() -> None:
    paths = glob.glob(f"/sys/fs/cgroup/{GROUP}-*") + glob.glob(f"/sys/fs/cgroup/*/{GROUP}-*")
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in members(paths):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + END_SECONDS
        while members(paths) and time.monotonic() < deadline:
            time.sleep(0.1)
    for path in paths:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)
    shutil.rmtree(PLACE, ignore_errors=True)
    forget()


if __name__ == "__main__":
    what, *rest = sys.argv[1:]
    if what == "capture":
        print(json.dumps(capture(rest)))
    elif what == "know":
        know(json.loads(rest[0]))
    elif what == "start":
        start(rest[0])
    elif what == "masters":
        print(json.dumps(masters(rest[0])))
    elif what == "log":
        print(read(os.path.join(PLACE, rest[0], "log")).decode(errors="replace")[-2000:])
    else:
        stop()
