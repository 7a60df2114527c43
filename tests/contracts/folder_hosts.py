"""Hosts that are folders of this machine, for roles to run on.

Ansible's modules run in a mount namespace each, in which the folder's `etc` and `run`, and
`usr/local/lib` where it has that, lie over the machine's own; systemd is a double, and what a
service would answer is up to the test.
"""

from __future__ import annotations

import json
import shlex
import shutil
import socketserver
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.systemd_double import Systemd

from .ansible_runs import ROOT, ansible_playbook

PYTHON = """exec unshare --mount --propagation private sh -c '
mount --bind "$0/etc" /etc && mount --bind "$0/run" /run &&
{{ test ! -d "$0/usr/local/lib" || mount --bind "$0/usr/local/lib" /usr/local/lib; }} &&
PATH="$0/systemd/bin:$PATH" exec "$@"
' {folder} {python} "$@\""""


@dataclass(frozen=True)
class FolderHost:
    """One of them.

    Attributes:
        name: as in the inventory.
        folder: holds `etc`, `run`, and the double's state.
        systemd: its double.
    """

    name: str
    folder: Path
    systemd: Systemd

    @classmethod
    def make(cls, folder: Path, units: Mapping[str, Mapping[str, Any]], *groups: str) -> FolderHost:
        """Make the host with these units, not running yet, and these groups of users."""
        systemd = Systemd.install(folder / "systemd", units)
        (folder / "etc/systemd/system").mkdir(parents=True)
        (folder / "run").mkdir()
        for name in ("passwd", "group", "nsswitch.conf"):
            shutil.copy(f"/etc/{name}", folder / "etc" / name)
        with (folder / "etc/group").open("a") as known:
            known.writelines(f"{name}:x:{64000 + at}:\n" for at, name in enumerate(groups))
        for name, text in (
            ("journalctl", "echo 'what the service logged'"),
            ("python", PYTHON.format(folder=shlex.quote(str(folder)), python=sys.executable)),
        ):
            program = systemd.programs / name
            program.write_text(f"#!/bin/sh\n{text}\n")
            program.chmod(0o755)
        return cls(folder.name, folder, systemd)

    @property
    def variables(self) -> dict[str, str]:
        """How Ansible reaches it."""
        return {
            "ansible_connection": "local",
            "ansible_python_interpreter": str(self.systemd.programs / "python"),
        }


@dataclass(frozen=True)
class Run:
    """What came of a playbook.

    Attributes:
        changed: names of tasks that changed something, once for each host.
        failed: messages of tasks that failed and were not rescued.
        text: all that was printed.
    """

    changed: Sequence[str]
    failed: Sequence[str]
    text: str


def run_role(
    role: str,
    hosts: Mapping[FolderHost, Mapping[str, Any]],
    variables: Mapping[str, Any],
    tasks: str = "main",
    *,
    together: bool = True,
) -> Run:
    """Run a role on all of the hosts.

    Args:
        role: its name, which may be a template where it is not the same everywhere.
        hosts: variables of each host.
        variables: of all of them.
        tasks: which of its files of tasks.
        together: whether what fails on one host ends the run on the others.
    """
    folder = next(iter(hosts)).folder.parent
    inventory = {host.name: {**host.variables, **given} for host, given in hosts.items()}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": inventory}}))
    play = {
        "hosts": "all",
        "gather_facts": False,
        "any_errors_fatal": together,
        "vars": variables,
        "tasks": [
            {
                "name": "The role",
                f"ansible.builtin.{'include' if '{{' in role else 'import'}_role": {
                    "name": role,
                    "tasks_from": tasks,
                },
            }
        ],
    }
    (folder / "play.json").write_text(json.dumps([play]))
    done = ansible_playbook(
        folder / "hosts.json",
        folder / "play.json",
        ANSIBLE_ROLES_PATH=str(ROOT / "roles"),
        ANSIBLE_STDOUT_CALLBACK="ansible.posix.json",
    )
    text = done.stdout + done.stderr
    assert done.stdout.lstrip().startswith("{"), text
    (played,) = json.loads(done.stdout)["plays"]
    results = [
        (task["task"]["name"], result)
        for task in played["tasks"]
        for result in task["hosts"].values()
    ]
    return Run(
        [name for name, result in results if result.get("changed")],
        [f"{name}: {result.get('msg')}" for name, result in results if result.get("failed")]
        if done.returncode
        else [],
        text,
    )


@contextmanager
def answering(
    answer: Callable[[bytes], bytes],
    tls: ssl.SSLContext | None = None,
    address: str = "127.0.0.1",
    port: int = 0,
) -> Iterator[int]:
    """A port of a loopback address that gives each connection an answer to what it says first.

    Args:
        answer: from what was said.
        tls: answer by TLS.
        address: the address.
        port: a free one with 0.
    """

    class Conversation(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with (
                tls.wrap_socket(self.request, server_side=True) if tls else self.request
            ) as connection:
                connection.sendall(answer(connection.recv(4096)))

    with socketserver.ThreadingTCPServer((address, port), Conversation) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
