"""A master that does what a test tells it, and agents as processes beside it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from kubedcos.embedded.agent.cgroup_layout import CgroupPlan, parse_mounts
from kubedcos.embedded.agent.cgroups import Cgroups
from kubedcos.embedded.agent.executor.kernel import MNT_DETACH, unmount
from kubedcos.embedded.agent.executor.mount_table import mount_table
from kubedcos.embedded.post import post
from kubedcos.embedded.protocol import AGENT_PATH, LINK_INTERVAL, LINK_PATH, SESSION_HEADER

from .container_lab import Lab

Json = dict[str, Any]
PATIENCE = 20.0
"""Seconds that anything may take."""


class FakeMaster:
    """Listens on loopback; `calls` are the agents' calls, newest last."""

    def __init__(self) -> None:
        self.calls: list[Json] = []
        self.headers: list[dict[str, str]] = []
        self.acknowledge = True
        self.status = 200
        self.agent_id = "m-S0"
        self.session = ""
        self.address = ("", 0)
        self.port = 0
        self.reply_extra: Json = {}
        self._sessions = 0
        self._links: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self._news = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_links()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def drop_links(self) -> None:
        for writer in self._links:
            writer.close()
        self._links.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        if first.split()[1] == LINK_PATH:
            self._links.append(writer)
            await self._hold_link(reader, writer)
            return
        call = json.loads(await reader.readexactly(int(headers["content-length"])))
        status, body = self.status, self._answer(call) if self.status == 200 else b"no"
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()
        async with self._news:
            self.calls.append(call)
            self.headers.append(headers)
            self._news.notify_all()
        if call["type"] == "STATUS_UPDATE" and self.acknowledge:
            task = asyncio.create_task(self.ack(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _hold_link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write into the link as a master does: an agent gives up one that is silent."""
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            while not reader.at_eof():
                writer.write(b"\n")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(reader.read(), LINK_INTERVAL)
        writer.close()

    def _answer(self, call: Json) -> bytes:
        if call["type"] not in ("REGISTER", "REREGISTER"):
            return b"{}"
        part = call[call["type"].lower()]
        self.address = (part["address"], part["agent_info"].get("port", 5051))
        self._sessions += 1
        self.session = f"session-{self._sessions}"
        reply = {"agent_id": {"value": self.agent_id}, "session": self.session}
        # Nobody pings here unless a test does.
        reply |= {"ping_timeout_seconds": 600.0}
        return json.dumps(reply | self.reply_extra).encode()

    async def send(self, kind: str, **part: Any) -> int:
        body = json.dumps({"type": kind, kind.lower(): part}).encode()
        reply = await post(*self.address, AGENT_PATH, body, headers={SESSION_HEADER: self.session})
        return reply.status

    async def ack(self, call: Json) -> None:
        update = call["status_update"]
        with contextlib.suppress(OSError):
            await self.send(
                "ACKNOWLEDGE",
                framework_id=update["framework_id"],
                task_id=update["status"]["task_id"],
                uuid=update["status"]["uuid"],
            )

    async def wait_for(self, wanted: Any, seconds: float = PATIENCE) -> Any:
        """Until `wanted(self)` is true; its value."""
        async with asyncio.timeout(seconds), self._news:
            while not (value := wanted(self)):
                await self._news.wait()
            return value

    def statuses(self, task_id: str) -> list[Json]:
        """Statuses of a task in the order of their arrival, repetitions left out."""
        found: dict[str, Json] = {}
        for call in self.calls:
            if call["type"] == "STATUS_UPDATE":
                status = call["status_update"]["status"]
                if status["task_id"]["value"] == task_id:
                    found.setdefault(status["uuid"], status)
        return list(found.values())

    def states(self, task_id: str) -> list[str]:
        return [status["state"] for status in self.statuses(task_id)]

    async def until_state(self, task_id: str, state: str, seconds: float = PATIENCE) -> Json:
        def seen(master: FakeMaster) -> Json | None:
            return next((s for s in master.statuses(task_id) if s["state"] == state), None)

        status: Json = await self.wait_for(seen, seconds)
        return status

    async def registered(self, kind: str = "REGISTER", count: int = 1) -> Json:
        def seen(master: FakeMaster) -> Json | None:
            calls = [call for call in master.calls if call["type"] == kind]
            return calls[count - 1] if len(calls) >= count else None

        call: Json = await self.wait_for(seen)
        return call


def framework(name: str = "f-1", *, checkpoint: bool = True, user: str = "root") -> Json:
    kinds = ("MULTI_ROLE", "PARTITION_AWARE", "TASK_KILLING_STATE")
    return {
        "id": {"value": name},
        "name": name,
        "user": user,
        "checkpoint": checkpoint,
        "roles": ["lab"],
        "capabilities": [{"type": kind} for kind in kinds],
    }


def scalar(name: str, value: float) -> Json:
    return {
        "name": name,
        "type": "SCALAR",
        "scalar": {"value": value},
        "allocation_info": {"role": "lab"},
    }


def task(name: str, shell: str, **more: Any) -> Json:
    command_info = {"value": shell} | more.pop("command", {})
    return {
        "name": name,
        "task_id": {"value": name},
        "agent_id": {"value": "m-S0"},
        "resources": [scalar("cpus", 0.1), scalar("mem", 32), *more.pop("resources", [])],
        "command": command_info,
    } | more


class AgentProcess:
    """Agent processes, one after the other, with the same directories."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, master: FakeMaster, *flags: str, port: int = 0) -> None:
        self.process = subprocess.Popen(self.command(master.port, *flags, port=port))

    def command(self, master_port: int, *flags: str, port: int = 0) -> list[str]:
        given = {
            "master": f"127.0.0.1:{master_port}",
            "ip": "127.0.0.1",
            "hostname": "127.0.0.1",
            "port": str(port),
            "work_dir": f"{self.directory}/work",
            "runtime_dir": f"{self.directory}/run",
            "fetcher_cache_dir": f"{self.directory}/cache",
            "launcher": "posix",
            "isolation": "posix/cpu,posix/mem",
            "resources": "cpus:4;mem:1024;disk:1024;ports:[31000-31009]",
            "attributes": "rack:r1",
            "registration_backoff_factor": "50ms",
            "executor_shutdown_grace_period": "1secs",
            "executor_environment_variables": json.dumps({"PATH": os.environ["PATH"]}),
        }
        for flag in flags:
            name, _, value = flag.removeprefix("--").partition("=")
            given[name] = value
        arguments = [f"--{name}={value}" for name, value in given.items()]
        return [sys.executable, "-m", "kubedcos.embedded.agent", *arguments]

    def kill(self) -> None:
        """kill -9; what it started goes on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(timeout=60)

    async def get(self, master: FakeMaster, path: str) -> Any:
        host, port = master.address

        def fetch() -> Any:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=60) as answer:
                return json.load(answer)

        return await asyncio.to_thread(fetch)

    def sandbox_file(self, task_id: str, name: str) -> str:
        pattern = f"work/slaves/*/frameworks/*/executors/{task_id}/runs/latest/{name}"
        return next(self.directory.glob(pattern)).read_text()

    def journal_pids(self) -> list[int]:
        """Executors that were ever started here."""
        pids = []
        for journal in self.directory.glob(
            "work/meta/slaves/*/frameworks/*/executors/*/runs/*/journal"
        ):
            for line in journal.read_text().splitlines():
                record = json.loads(line)
                pids += [part["pid"] for part in record.values() if "pid" in part]
        return pids


@pytest.fixture
def short_directory() -> Iterator[Path]:
    """A directory with a short name; removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="kda"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def agent_process(short_directory: Path) -> Iterator[AgentProcess]:
    """To be started by the test; ended with everything that it started."""
    agent = AgentProcess(short_directory)
    yield agent
    if agent.process is not None and agent.process.poll() is None:
        agent.process.kill()
        agent.process.wait()
    _end_all(str(short_directory).encode())
    for entry in reversed(mount_table()):
        if entry.target.startswith(f"{short_directory}/"):
            unmount(entry.target, MNT_DETACH)
    plan = CgroupPlan(swept=parse_mounts(Path("/proc/mounts").read_text()))
    left = Cgroups(plan, f"kubedcos-test-{short_directory.name}")
    for hierarchy in plan.swept:
        for path in (hierarchy.mount / left.root).glob("*/"):
            left.destroy(path.name, 10)
        with contextlib.suppress(OSError):
            (hierarchy.mount / left.root).rmdir()


def _end_all(mark: bytes) -> None:
    """Kill whatever names the test's directory."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            texts = ((process / name).read_bytes() for name in ("cmdline", "environ"))
            if any(mark in text for text in texts):
                os.kill(int(process.name), 9)


@pytest.fixture
def lab(agent_process: AgentProcess) -> Iterator[Lab]:
    """What containers need; removed afterwards."""
    made = Lab(agent_process.directory)
    yield made
    made.close()


Story = Callable[[Any], Awaitable[None]]
Play = Callable[[Story], None]


@pytest.fixture
def play(wire: SimpleNamespace) -> Play:
    """Run a story with a master."""

    def run(story: Story) -> None:
        async def with_master() -> None:
            async with wire.FakeMaster() as master:
                await story(master)

        asyncio.run(with_master())

    return run


@pytest.fixture
def wire() -> SimpleNamespace:
    """What goes over the wire: `FakeMaster`, and messages to send."""
    return SimpleNamespace(FakeMaster=FakeMaster, framework=framework, task=task, scalar=scalar)


async def one_task_runs(master: Any, agent_process: AgentProcess, wire: SimpleNamespace) -> None:
    """The agent is registered, and runs task ``t``, which sleeps."""
    agent_process.start(master)
    await master.registered()
    await master.send("RUN_TASKS", framework=wire.framework(), tasks=[wire.task("t", "sleep 600")])
    await master.until_state("t", "TASK_RUNNING")
