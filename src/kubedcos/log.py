"""How a service of ours logs: one line for each event, for people or, as JSON, for programs.

Modules log with the standard library or with structlog, which gives all lines their form. Secrets
are taken out of every line on its way, whatever a library may have put into it.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Iterable, MutableMapping
from enum import StrEnum
from typing import Any, Final

import structlog

from kubedcos.redaction import Redactor

KEPT_LINES: Final = 2000
_FIELDS: Final = frozenset({"cluster", "operator", "why", "pod", "task_id", "request"})
"""Names that `extra` of a log call may carry into a line."""


_SHOWN_BEFORE: Final = frozenset({"event", "level", "logger", "timestamp", "exception", "cluster"})


class Form(StrEnum):
    """Forms of a line."""

    CONSOLE = "console"
    JSON = "json"


class Recent(logging.Handler):
    """Keeps the last lines in memory, for a support archive."""

    def __init__(self, formatter: logging.Formatter, most: int = KEPT_LINES) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._lines: deque[str] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one line."""
        try:
            self._lines.append(self.format(record))
        except Exception:
            self.handleError(record)

    def lines(self) -> tuple[str, ...]:
        """The last lines, the oldest first."""
        return tuple(self._lines)


def set_up(
    form: Form = Form.CONSOLE, level: str = "INFO", secrets: Iterable[str | bytes] = ()
) -> Recent:
    """Have everything logged on stderr in this form.

    Args:
        form: of the lines.
        level: the least that is shown.
        secrets: texts that no line may show.

    Returns:
        What keeps the last lines.
    """
    redactor = Redactor(secrets)

    def redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        redacted: MutableMapping[str, Any] = redactor.data(event)
        return redacted

    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(allow=_FIELDS),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if form is Form.CONSOLE:
        renderer = _console
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *shared[:2],
            *shared[3:],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    recent = Recent(formatter)
    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(formatter)
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(shown)
    root.addHandler(recent)
    root.setLevel(level)
    # It tells of every request at INFO.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    logging.getLogger("kazoo").setLevel(logging.WARNING)
    return recent


def _console(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    """A line as systemd's journal wants it: level, where, what; the journal has the time."""
    text = f"{str(event.get('level', '')).upper()} {event.get('logger', '')}: {event['event']}"
    told = [
        f"{name}={found!r}"
        for name, found in sorted(event.items())
        if name not in _SHOWN_BEFORE and found not in ("", None)
    ]
    if told:
        text += f" [{', '.join(told)}]"
    trace = event.get("exception")
    return f"{text}\n{trace}" if trace else text
