"""Real members of etcd, each at a loopback address of its own, started as their tasks would be."""

from __future__ import annotations

import asyncio
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

import httpx2
import pytest

from kubedcos.clock import SystemClock
from kubedcos.config import cluster
from kubedcos.errors import KubedcosError
from kubedcos.kubernetes import components
from kubedcos.kubernetes.delivery import NotReady
from kubedcos.kubernetes.etcd_members import (
    EtcdRefused,
    EtcdUnreachable,
    Move,
    WantedMember,
    next_step,
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
        at = self._situation(name, address, seat)
        payload = components.RECIPES["etcd"].payload(at)
        private = self.folder / address / "private"
        private.mkdir(parents=True, exist_ok=True)
        for file in payload.files:
            (private / file.path).write_text(file.text)
        for key, signing_of in components.RECIPES["etcd"].keys.items():
            signing, made = signing_of(at), new_key()
            authority = self.vault.authority(signing.ca)
            pem = authority.issue(made.public_key(), signing.profile, time.time())
            (private / f"{key}.crt").write_bytes(pem)
            (private / f"{key}.key").write_bytes(private_key_pem(made))
        for made_folder in payload.directories:
            Path(made_folder).mkdir(parents=True, exist_ok=True, mode=0o700)
            Path(made_folder).chmod(0o700)
        # All hosts are one here: what every host has at 127.0.0.1 would be there three times.
        argv = [
            part.replace(PRIVATE, str(private))
            .replace(",https://127.0.0.1:2379", "")
            .replace("http://127.0.0.1:2381", f"http://{address}:2381")
            for part in payload.argv[1:]
        ]
        log = (self.folder / f"{name}@{address}.log").open("ab")
        self.running[name] = subprocess.Popen(
            [str(self.program), *argv, "--unsafe-no-fsync"],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"], **payload.environment},
        )
        log.close()

    def _situation(self, name: str, address: str, seat: Seat) -> Situation:
        (task,) = components.service(self.options).pod("etcd").tasks
        sandbox = str(self.volume(address).parent)
        return Situation(
            options=self.options,
            vault=self.vault,
            task=task,
            task_id=f"{name}-peer__1",
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
        process.wait(10)
        del self.tasks[name]

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
    reason: KubedcosError | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    if found := await look():
                        return found
                except FAILURES as error:
                    reason = error
                await asyncio.sleep(0.2)
    except TimeoutError:
        pytest.fail(f"it never came true: {reason}")


@asynccontextmanager
async def site_with(folder: Path, program: Path) -> AsyncIterator[Site]:
    site = Site(folder, program)
    try:
        yield site
    finally:
        for name in list(site.running):
            site.kill(name)
        await site.logins.close()


A, B, C, D = (f"127.77.0.{number}" for number in (1, 2, 3, 4))


def test_three_members_come_in_one_by_one_and_outlive_what_befalls_them(
    tmp_path: Path, etcd_program: Path
) -> None:
    async def story() -> None:
        async with site_with(tmp_path, etcd_program) as site:
            await site.stage("etcd-0", A)
            await site.put(A, "/a", "1")
            await site.stage("etcd-1", B)
            # A scheduler that was killed after it had added the learner finds it again.
            site.tasks["etcd-2"] = C
            added = await until(lambda: site.membership.members().add_learner(f"https://{C}:2380"))
            seat = await site.stage("etcd-2", C)
            assert seat.folder == f"etcd-{added.id:x}"
            assert await site.names() == ["etcd-0", "etcd-1", "etcd-2"]
            assert await site.get(C, "/a") == "1"

            # One restarts in place, with what it had.
            site.kill("etcd-1")
            assert not (await site.stage("etcd-1", B)).founds

            # One is lost and comes in elsewhere, while the others serve.
            site.kill("etcd-0")
            await until(lambda: _put(site, B, "/b", "2"))
            seat = await site.stage("etcd-0", D)
            assert seat.folder != "etcd"
            listed = {m.name: m.peer_urls for m in await site.membership.members().list()}
            assert listed["etcd-0"] == (f"https://{D}:2380",)
            assert len(listed) == 3
            assert await site.get(D, "/b") == "2"

            # One loses its volume, and must not vote with an empty log under its old number.
            site.kill("etcd-2")
            site.lose_volume(C)
            again = await site.stage("etcd-2", C)
            assert again.folder != f"etcd-{added.id:x}"
            assert await site.names() == ["etcd-0", "etcd-1", "etcd-2"]

            # Two of three: no quorum, and nobody makes it worse.
            site.kill("etcd-1")
            survey = await until(site.membership.members().survey)
            first = next(seen.member for seen in survey if seen.member.name == "etcd-0")
            others = [
                WantedMember(seen.member.name, *seen.member.peer_urls)
                for seen in survey
                if seen.member is not first
            ]
            assert next_step(survey, others).move is Move.REFUSE
            with pytest.raises((EtcdRefused, EtcdUnreachable)):  # etcd thinks so, too
                await site.membership.members().remove(first.id)
            site.kill("etcd-2")
            with pytest.raises(EtcdUnreachable):
                await site.membership.members().list()
            site.lose_volume(C)
            with pytest.raises(NotReady, match="etcd-2 has no data, and no quorum"):
                await site.membership.seat(Applicant("etcd-2", C))

            # All power is gone and comes back: whoever has its data starts with them.
            site.kill("etcd-0")
            await site.start("etcd-0", D)
            await site.start("etcd-1", B)
            await site.ready("etcd-0")
            await site.ready("etcd-1")
            assert await site.get(B, "/b") == "2"
            await site.stage("etcd-2", C)
            assert await site.names() == ["etcd-0", "etcd-1", "etcd-2"]

    asyncio.run(story())


async def _put(site: Site, address: str, key: str, value: str) -> bool:
    try:
        await site.put(address, key, value)
    except (AssertionError, httpx2.HTTPError):  # a leader is being elected
        return False
    return True
