"""A foreign framework as a process: commands in, events out, one line of JSON each."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Self

from .installs import HERE, npm_packages, python_with

Json = dict[str, Any]
DEADLINE = 60.0


class Client:
    """Use as a context manager; at its end the process is killed."""

    def __init__(
        self, command: list[str], directory: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.events: list[Json] = []
        self._taken = 0
        self._news = threading.Condition()
        self._log = (directory / "client.log").open("ab")
        self._process = subprocess.Popen(
            command,
            cwd=directory,
            env=os.environ | (environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._news:
                self.events.append(json.loads(line))
                self._news.notify_all()

    def tell(self, **call: Any) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()

    def wait(self, event: str, **parts: Any) -> Json:
        """The next such event; those before it count as seen."""
        end = time.monotonic() + DEADLINE
        wanted = {"event": event, **parts}.items()
        with self._news:
            while True:
                for index in range(self._taken, len(self.events)):
                    if wanted <= self.events[index].items():
                        self._taken = index + 1
                        return self.events[index]
                rest = end - time.monotonic()
                assert rest > 0, f"no {dict(wanted)} within {DEADLINE} s; seen: {self.events}"
                self._news.wait(rest)

    def kill(self) -> None:
        """As `kill -9`."""
        self._process.kill()
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._log.close()


def avmesos(master: str, directory: Path, framework_id: str = "-") -> Client:
    """The Python client."""
    program = str(HERE / "clients/avmesos_framework.py")
    command = [str(python_with("avmesos")), program, f"http://{master}", framework_id]
    return Client(command, directory)


def mesos_framework(master: str, directory: Path, framework_id: str = "-") -> Client:
    """The JavaScript client."""
    modules = npm_packages() / "node_modules"
    program = str(HERE / "clients/mesos_framework.js")
    command = ["node", program, f"http://{master}", framework_id]
    return Client(command, directory, {"NODE_PATH": str(modules)})
