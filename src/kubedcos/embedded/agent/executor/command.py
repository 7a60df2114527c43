"""Starting what a CommandInfo says, in a process of its own."""

from __future__ import annotations

import os
import resource
import signal
import sys
from typing import Any, NoReturn

Spec = dict[str, Any]


def argv_of(command: Spec) -> tuple[str, list[str]]:
    """Program and complete argument vector of a CommandInfo.

    With `shell` (the default) the value goes to `sh -c`; otherwise `arguments` is the whole vector,
    its first element included, and may be absent.
    """
    value = str(command.get("value") or "")
    if command.get("shell", True):
        return "/bin/sh", ["sh", "-c", value]
    arguments = [str(argument) for argument in command.get("arguments") or []]
    return value, arguments or [value]


def environment_of(command: Spec) -> dict[str, str]:
    """The VALUE variables that a CommandInfo adds."""
    variables = (command.get("environment") or {}).get("variables") or []
    return {
        str(variable["name"]): str(variable.get("value") or "")
        for variable in variables
        if variable.get("type", "VALUE") in ("VALUE", "UNKNOWN")
    }


def set_limits(limits: list[Spec]) -> None:
    """Apply RLimitInfo's list: `type` RLMT_…, `soft` and `hard` both absent mean unlimited.

    Raises:
        ValueError: one of them without the other, or no such limit.
        OSError: more than the process may have.
    """
    for limit in limits:
        if ("soft" in limit) != ("hard" in limit):
            raise ValueError("Invalid rlimit values")
        number = getattr(resource, "RLIMIT_" + str(limit["type"]).removeprefix("RLMT_"))
        soft = int(limit.get("soft", resource.RLIM_INFINITY))
        hard = int(limit.get("hard", resource.RLIM_INFINITY))
        resource.setrlimit(number, (soft, hard))


def _change_rights(launch: Spec) -> None:
    """User, capabilities and the bar to new privileges, in Mesos' order."""
    user, wanted = launch.get("user"), launch.get("capabilities")
    if wanted or launch.get("no_new_privileges"):
        from kubedcos.embedded.agent.executor import kernel  # noqa: PLC0415  few tasks need it
    if user:
        if wanted:
            kernel.keep_capabilities()
        os.initgroups(user["name"], user["gid"])
        os.setgid(user["gid"])
        os.setuid(user["uid"])
    if wanted:
        kernel.set_capabilities(wanted.get("effective"), wanted.get("bounding"))
    if launch.get("no_new_privileges"):
        kernel.no_new_privileges()


def exec_command(command: Spec, launch: Spec) -> NoReturn:
    """Become the command: directory, limits, user, environment, exec. Never returns.

    Args:
        command: CommandInfo; its variables win over the launch's.
        launch: `sandbox` (working directory), `environment`, `rlimits`, `user` ({name, uid, gid},
            absent to stay who one is), `capabilities` ({effective, bounding}: numbers, None to
            leave a set as it is), `no_new_privileges`.

    Exits with status 1, and the reason on stderr, when the program cannot be started.
    """
    try:
        os.chdir(launch["sandbox"])
        set_limits(launch.get("rlimits") or [])
        _change_rights(launch)
        for number in (signal.SIGPIPE, signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        environment = {**launch["environment"], **environment_of(command)}
        program, arguments = argv_of(command)
        if "/" in program:
            os.execve(program, arguments, environment)
        os.execvpe(program, arguments, environment)
    except (OSError, ValueError, AttributeError) as error:
        sys.stderr.write(f"Failed to execute command: {error}\n")
        sys.stderr.flush()
    os._exit(1)


def fork_holding_signals() -> int:
    """Fork; what is sent to the child waits until `exec_command` gives it the default handlers.

    Otherwise a TERM right after the fork ends in the executor's handler, which the child has
    inherited, and the task lives on until KILL.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def spawn(command: Spec, launch: Spec) -> int:
    """Fork a child in a session of its own that becomes the command; returns its process id."""
    pid = fork_holding_signals()
    if pid == 0:
        os.setsid()
        signal.set_wakeup_fd(-1)
        exec_command(command, launch)
    return pid
