"""What Mesos demands of checks and health checks; texts are its own."""

from __future__ import annotations

from kubedcos.mesos.messages import CheckInfo, CommandInfo, HealthCheck

_KINDS = ("COMMAND", "HTTP", "TCP")


def check_fault(check: CheckInfo) -> str | None:
    """The first fault of a general check, or None."""
    if check.type is None:
        return "CheckInfo must specify 'type'"
    if check.type not in _KINDS:
        return f"'{check.type}' is not a valid check type"
    command = check.command.command if check.command is not None else None
    path = check.http.path if check.http is not None else None
    return (
        _part_fault(check, check.type, "check")
        or _command_fault(command, "Command check", "Check")
        or _path_fault(path, "HTTP check")
        or _times_fault(check, ("delay_seconds", "interval_seconds", "timeout_seconds"))
    )


def health_check_fault(check: HealthCheck) -> str | None:
    """The first fault of a health check, or None.

    One without a type counts as a COMMAND check; the recording of a real master lets it pass.
    """
    kind = check.type or "COMMAND"
    if kind not in _KINDS:
        return f"'{kind}' is not a valid health check type"
    scheme = check.http.scheme if check.http is not None else None
    path = check.http.path if check.http is not None else None
    times = ("delay_seconds", "grace_period_seconds", "interval_seconds", "timeout_seconds")
    return (
        _part_fault(check, kind, "health check")
        or _command_fault(check.command, "Command health check", "Health check")
        or (
            f"Unsupported HTTP health check scheme: '{scheme}'"
            if scheme not in (None, "http", "https")
            else None
        )
        or _path_fault(path, "HTTP health check")
        or _times_fault(check, times)
    )


def _part_fault(check: CheckInfo | HealthCheck, kind: str, name: str) -> str | None:
    if getattr(check, kind.lower()) is None:
        return f"Expecting '{kind.lower()}' to be set for {kind} {name}"
    return None


def _command_fault(command: CommandInfo | None, name: str, owner: str) -> str | None:
    if command is None:
        return None
    if command.value is None:
        wanted = "'shell command'" if command.shell else "'executable path'"
        return f"{name} must contain {wanted}"
    fault = command_fault(command)
    return f"{owner}'s `CommandInfo` is invalid: {fault}" if fault else None


def command_fault(command: CommandInfo) -> str | None:
    """The first fault of a command's environment, or None."""
    for variable in command.environment.variables if command.environment else ():
        start = f"Environment variable '{variable.name}' of type '{variable.type}' must"
        if variable.type == "UNKNOWN":
            return "Environment variable of type 'UNKNOWN' is not allowed"
        secret = variable.type == "SECRET"
        if secret and variable.secret is None:
            return f"{start} have a secret set"
        if not secret and variable.value is None:
            return f"{start} have a value set"
        if secret and variable.value is not None:
            return f"{start} not have a value set"
        if not secret and variable.secret is not None:
            return f"{start} not have a secret set"
    return None


def _path_fault(path: str | None, name: str) -> str | None:
    if path is not None and not path.startswith("/"):
        return f"The path '{path}' of {name} must start with '/'"
    return None


def _times_fault(check: CheckInfo | HealthCheck, names: tuple[str, ...]) -> str | None:
    wrong = next((name for name in names if getattr(check, name) < 0), None)
    return f"Expecting '{wrong}' to be non-negative" if wrong else None
