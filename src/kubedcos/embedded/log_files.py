"""Where a process logs: stderr, and with ``--log_dir`` a file named and written as by Mesos."""

from __future__ import annotations

import getpass
import logging
import os
import sys
import time
from pathlib import Path
from typing import Final

from kubedcos.errors import InvalidInput, Problem

LEVELS: Final = {"INFO": logging.INFO, "WARNING": logging.WARNING, "ERROR": logging.ERROR}
"""Values of ``--logging_level``."""

_FORM: Final = "%(levelname).1s%(asctime)s.%(msecs)03d000 %(process)d %(module)s.py:%(lineno)d] "


def configure(program: str, hostname: str, level: str, *, quiet: bool, log_dir: str | None) -> None:
    """Log to stderr, unless `quiet`, and into a new file of `log_dir`.

    Raises:
        InvalidInput: the file cannot be made.
    """
    handlers: list[logging.Handler] = [] if quiet else [logging.StreamHandler(sys.stderr)]
    if log_dir is not None:
        try:
            handlers.append(logging.FileHandler(_new_file(program, hostname, level, Path(log_dir))))
        except OSError as error:
            wanted = "a directory that may be written to"
            problem = Problem("flag --log_dir", f"{log_dir}: {error.strerror}", wanted, "flag")
            raise InvalidInput([problem]) from error
    form = logging.Formatter(_FORM + "%(message)s", "%m%d %H:%M:%S")
    for handler in handlers:
        handler.setFormatter(form)
    logging.basicConfig(
        level=LEVELS.get(level, logging.INFO), handlers=handlers or [logging.NullHandler()]
    )
    logging.getLogger("kazoo").setLevel(logging.WARNING)


def _new_file(program: str, hostname: str, level: str, log_dir: Path) -> Path:
    log_dir.mkdir(parents=True, exist_ok=True)
    now = time.localtime()
    stamp = time.strftime("%Y%m%d-%H%M%S", now)
    path = log_dir / f"{program}.{hostname}.{getpass.getuser()}.log.{level}.{stamp}.{os.getpid()}"
    created = time.strftime("%Y/%m/%d %H:%M:%S", now)
    head = (
        f"Log file created at: {created}\nRunning on machine: {hostname}\n"
        "Log line format: [IWEF]mmdd hh:mm:ss.uuuuuu threadid file:line] msg\n"
    )
    path.write_text(head, encoding="utf-8")
    link = current(program, level, log_dir)
    scratch = link.with_name(f"{link.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(path.name)
    scratch.replace(link)
    return path


def current(program: str, level: str, log_dir: Path) -> Path:
    """A link that leads to the newest file."""
    return log_dir / f"{program}.{level}"


def log_file(
    shown_as: str, program: str, level: str, log_dir: str | None, external: str | None
) -> dict[str, Path]:
    """What `/files` shows as the log: the file of another program before one's own."""
    if external is not None:
        return {shown_as: Path(external)}
    return {} if log_dir is None else {shown_as: current(program, level, Path(log_dir))}
