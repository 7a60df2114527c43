"""Runs the programs that builds need and turns their failures into one sentence."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubedcos.errors import KubedcosError
from kubedcos.signals import signals_held

PASSED_ON = (
    "HOME",
    "TMPDIR",
    "LANG",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)
"""What builds may know of the caller's environment: how to reach the network, nothing else."""

_NETWORK_SIGNS = (
    "no such host",
    "connection refused",
    "connection timed out",
    "network is unreachable",
    "i/o timeout",
    "temporary failure",
    "could not resolve",
    "tls handshake timeout",
    "name or service not known",
    "connection reset",
    "proxyerror",
)
_DISK_SIGNS = ("no space left on device", "disk quota exceeded")
_MEMORY_SIGNS = ("signal: killed", "cannot allocate memory", "out of memory")


_lock = threading.Lock()
_running: set[subprocess.Popen[str]] = set()


class ProgramFailed(KubedcosError):
    """A program ended with an error."""


def environment(names: Sequence[str] = (), **fixed: str) -> dict[str, str]:
    """The environment of a build.

    Args:
        names: further variables of the caller that it may see.
        fixed: variables with these values.
    """
    passed = {name: os.environ[name] for name in (*PASSED_ON, *names) if name in os.environ}
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **passed, **fixed}


def explain(what: str, output: str, log: Path | None = None) -> str:
    """One sentence for a failed program, from what it said.

    Args:
        what: what was attempted, such as ``building etcd``.
        output: its standard error.
        log: where all of it stands.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        if any(sign in line.lower() for sign in _DISK_SIGNS):
            return f"{what} failed: no space left on the disk ({line})"
    for line in lines:
        if any(sign in line.lower() for sign in _NETWORK_SIGNS):
            return f"{what} failed: the network does not answer ({line})"
    for line in lines:
        if any(sign in line.lower() for sign in _MEMORY_SIGNS):
            return f"{what} failed: probably not enough memory ({line})"
    where = f"; all of it: {log}" if log else ""
    return f"{what} failed: {' / '.join(lines[-3:]) or 'it said nothing'}{where}"


def run(
    arguments: Sequence[str | Path],
    *,
    what: str,
    cwd: Path,
    env: Mapping[str, str],
    log: Path | None = None,
) -> str:
    """Run a program to its end.

    Its whole process group ends with this call, however that comes about.

    Args:
        arguments: program and arguments.
        what: what it does, for messages.
        cwd: where it runs.
        env: its whole environment.
        log: a file for its standard error; kept only when it fails.

    Returns:
        Its standard output.

    Raises:
        ProgramFailed: it is missing or ended with an error.
    """
    process: subprocess.Popen[str] | None = None
    try:
        with signals_held():
            process = subprocess.Popen(
                [str(argument) for argument in arguments],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            with _lock:
                _running.add(process)
        output, errors = process.communicate()
    except FileNotFoundError as error:
        raise ProgramFailed(f"{what} failed: {error.filename} is not installed") from error
    except BaseException:
        if process is not None:
            _end(process)
        raise
    finally:
        if process is not None:
            with _lock:
                _running.discard(process)
    if process.returncode != 0:
        if log:
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(errors, encoding="utf-8")
        if process.returncode < 0:
            errors += f"\nended by signal: {signal.Signals(-process.returncode).name}"
        raise ProgramFailed(explain(what, errors or output, log))
    return output


def end_all() -> None:
    """Have every program end that other threads are running now; their `run` raises then."""
    with _lock:
        found = tuple(_running)
    for process in found:
        _tell(process, signal.SIGTERM)


def _end(process: subprocess.Popen[str]) -> None:
    try:
        _tell(process, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=5)
    finally:
        # An interrupt may have come into the waiting.
        if process.poll() is None:
            _tell(process, signal.SIGKILL)
            process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def _tell(process: subprocess.Popen[str], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
