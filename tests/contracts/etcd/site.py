"""Components on loopback addresses, each started as its task would start it."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import waiting

from kubedcos.clock import SystemClock
from kubedcos.config import cluster
from kubedcos.kubernetes import components
from kubedcos.kubernetes.delivery import NotReady
from kubedcos.kubernetes.etcd_members import (
    EtcdRefused,
    EtcdUnreachable,
)
from kubedcos.kubernetes.etcd_membership import Applicant, EtcdMembership, Seat, client_url
from kubedcos.kubernetes.launcher import kubedcos_task
from kubedcos.kubernetes.logins import Logins
from kubedcos.kubernetes.payload import PRIVATE, Facts
from kubedcos.kubernetes.pki import new_key, private_key_pem
from kubedcos.kubernetes.recipe import Situation
from kubedcos.kubernetes.vault import MemorySecretStore, Vault
from kubedcos.scheduler.workload import AgentPlace

SPARE = 60.0
FAILURES = (NotReady, EtcdUnreachable, EtcdRefused)


@dataclass
class Site:
    """Hosts 127.77.0.N with etcd tasks on them."""

    folder: Path
    program: Path
    store: MemorySecretStore = field(default_factory=MemorySecretStore)
    tasks: dict[str, str] = field(default_factory=dict)
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.options = cluster.load("high_availability: true", "test")
        self.vault = Vault(self.store, self.options.name, SystemClock())
        self.logins = Logins(self.vault, SystemClock())

    @property
    def membership(self) -> EtcdMembership:
        """Of a scheduler that was started just now."""
        return EtcdMembership(
            self.store, self.logins.etcd, lambda: sorted(self.tasks.values()), lambda: False
        )

    def volume(self, address: str) -> Path:
        return self.folder / address / "sandbox" / "data"

    async def start(self, name: str, address: str) -> Seat:
        """Start the task of `name` there: ask until etcd takes it in, then run what it is told."""
        self.tasks[name] = address
        contents = frozenset(kubedcos_task.folders(str(self.volume(address))))
        one = Applicant(name, address, contents)
        seat: Seat = await until(lambda: self.membership.seat(one))
        self._run(name, address, seat)
        return seat

    def _run(self, name: str, address: str, seat: Seat) -> None:
        # All hosts are one here: what every host has at 127.0.0.1 would be there three times.
        self.launch(
            "etcd",
            self.situation("etcd", name, address, seat),
            self.program,
            {
                ",https://127.0.0.1:2379": "",
                "http://127.0.0.1:2381": f"http://{address}:2381",
            },
            "--unsafe-no-fsync",
        )

    def launch(
        self, kind: str, at: Situation, program: Path, changes: dict[str, str], *more: str
    ) -> None:
        """Run what the recipe of `kind` says, with some texts of its arguments changed."""
        name, address = at.pod_instance, at.place.address
        recipe = components.RECIPES[kind]
        payload = recipe.payload(at)
        private = self.folder / address / "private"
        private.mkdir(parents=True, exist_ok=True)
        for file in payload.files:
            (private / file.path).write_text(file.text)
        for key, signing_of in recipe.keys.items():
            signing, made = signing_of(at), new_key()
            authority = self.vault.authority(signing.ca)
            pem = authority.issue(made.public_key(), signing.profile, time.time())
            (private / f"{key}.crt").write_bytes(pem)
            (private / f"{key}.key").write_bytes(private_key_pem(made))
        argv = list(payload.argv[1:])
        folders = list(payload.directories)
        for old, new in {PRIVATE: str(private), **changes}.items():
            argv = [part.replace(old, new) for part in argv]
            folders = [folder.replace(old, new) for folder in folders]
        for folder in folders:
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            Path(folder).chmod(0o700)
        with (self.folder / f"{name}@{address}.log").open("ab") as log:
            self.running[name] = subprocess.Popen(
                [str(program), *argv, *more],
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], **payload.environment},
            )

    def situation(self, pod: str, name: str, address: str, seat: Seat | None = None) -> Situation:
        (task,) = components.service(self.options).pod(pod).tasks
        sandbox = str(self.volume(address).parent)
        return Situation(
            options=self.options,
            vault=self.vault,
            task=task,
            task_id=f"{name}-{task.name}__1",
            pod_instance=name,
            place=AgentPlace("id", address, address),
            volumes={"data": "data"},
            etcd=(),
            facts=Facts(address, sandbox, 2, 1 << 20, 1 << 30, may_raise_priority=False),
            seat=seat,
        )

    async def ready(self, name: str) -> None:
        async def look() -> bool:
            process = self.running[name]
            assert process.poll() is None, self.log(name)
            return (await self.membership.readiness(name, self.tasks[name])).ready

        await until(look)

    async def stage(self, name: str, address: str) -> Seat:
        seat = await self.start(name, address)
        await self.ready(name)
        return seat

    def log(self, name: str) -> str:
        text = (self.folder / f"{name}@{self.tasks[name]}.log").read_text()
        return "\n".join(text.splitlines()[-20:])

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        self.tasks.pop(name, None)

    def lose_volume(self, address: str) -> None:
        subprocess.run(["rm", "-rf", str(self.volume(address))], check=True)

    async def names(self) -> list[str]:
        listed = await self.membership.members().list()
        return [f"{one.name}{' (learner)' if one.learner else ''}" for one in listed]

    async def put(self, address: str, key: str, value: str) -> None:
        body = {name: base64.b64encode(t.encode()).decode() for name, t in _pair(key, value)}
        reply = await self.logins.etcd().post(f"{client_url(address)}/v3/kv/put", json=body)
        assert reply.status_code == 200, reply.text

    async def get(self, address: str, key: str) -> str:
        body = {"key": base64.b64encode(key.encode()).decode()}
        reply = await self.logins.etcd().post(f"{client_url(address)}/v3/kv/range", json=body)
        return base64.b64decode(reply.json()["kvs"][0]["value"]).decode()


def _pair(key: str, value: str) -> list[tuple[str, str]]:
    return [("key", key), ("value", value)]


async def until(look: Callable[[], Awaitable[Any]], seconds: float = SPARE) -> Any:
    """What `look` returns once it is true; what may pass is looked at again."""
    return await waiting.until(look, seconds, passing=FAILURES, pause=0.2)


@asynccontextmanager
async def site_with(folder: Path, program: Path) -> AsyncIterator[Site]:
    site = Site(folder, program)
    try:
        yield site
    finally:
        for name in list(site.running):
            site.kill(name)
        await site.logins.close()
