"""Thousands of agents, one framework over HTTP: is a simulated cluster quick enough to test with?

Starts `kubedcos lab simulate` as a process of its own and talks to it as any framework does. Each
line holds what was measured against what is allowed on two cores; below 1 is well. The last lines
compare parts of the same run, so that they mean the same on any machine.

    python bench/thousands.py [--agents 5000] [--tasks 10000]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from kubedcos.mesos import messages as wire
from kubedcos.mesos.recordio import RecordDecoder

ALLOWED = {"agents": 5000, "tasks": 10000}
"""What the limits below are for; they grow and shrink with the numbers asked for."""
REGISTRATION_SECONDS, OFFERS_SECONDS, TASKS_SECONDS, MEMORY_MIB = 60.0, 3.0, 180.0, 1536.0
ROLE = "bench"
AT_ONCE = 500
"""Tasks on their way: more would only wait, and their updates would be repeated meanwhile."""
CAPABILITIES = ("MULTI_ROLE", "RESERVATION_REFINEMENT", "PARTITION_AWARE", "REGION_AWARE")


class Simulation:
    """A running `kubedcos lab simulate`."""

    def __init__(self, process: subprocess.Popen[bytes], address: str) -> None:
        self._process = process
        self.address = address

    def metric(self, name: str) -> float:
        url = f"http://{self.address}/metrics/snapshot"
        with urllib.request.urlopen(url, timeout=60) as answer:
            return float(json.load(answer)[name])

    def get(self, path: str) -> int:
        """Bytes of an answer."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=60) as answer:
            return len(answer.read())

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory_mib(self) -> float:
        """The most memory that it ever held."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text().splitlines()
        [peak] = [line for line in lines if line.startswith("VmHWM:")]
        return int(peak.split()[1]) / 1024


@contextmanager
def simulation(agents: int) -> Iterator[Simulation]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "kubedcos.cli.main", "lab", "simulate", "--seed=1"]
    command += [f"--agents={agents}", f"--port={port}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield Simulation(process, f"127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def registered(running: Simulation, agents: int, started: float) -> float:
    """Seconds from the start of the process until all agents are registered."""
    while True:
        try:
            if running.metric("master/slaves_active") == agents:
                return time.monotonic() - started
        except OSError:
            pass
        if time.monotonic() - started > 10 * REGISTRATION_SECONDS:
            raise SystemExit("the agents do not register")
        time.sleep(0.2)


class Framework:
    """A framework that costs little: one connection for events, one for calls, no library.

    What is measured is the master; a client that needs more time for a call than the master does
    would be measured instead.
    """

    def __init__(self, address: str) -> None:
        self._host, _, port = address.partition(":")
        self._port = int(port)
        self._stream_id = ""
        self._framework_id: wire.FrameworkID | None = None
        self._decoder = RecordDecoder()
        self._records: deque[bytes] = deque()

    async def subscribe(self) -> None:
        self._events, writer = await asyncio.open_connection(self._host, self._port, limit=2**26)
        capabilities = tuple(map(wire.FrameworkCapability, CAPABILITIES))
        info = wire.FrameworkInfo("root", "bench", roles=(ROLE,), capabilities=capabilities)
        call = wire.Call("SUBSCRIBE", subscribe=wire.CallSubscribe(info))
        writer.write(self._request(wire.encode(call)))
        status, headers = await _head(self._events)
        assert status == 200, status
        self._stream_id = headers["mesos-stream-id"]
        self._writer = writer
        self._answers, self._calls = await asyncio.open_connection(self._host, self._port)
        subscribed = (await self.next_event()).subscribed
        assert subscribed is not None
        self._framework_id = subscribed.framework_id

    async def next_event(self) -> wire.Event:
        while not self._records:
            size = int(await self._events.readline(), 16)
            self._records += self._decoder.feed((await self._events.readexactly(size + 2))[:-2])
        return wire.decode_event(self._records.popleft())

    async def call(self, *calls: wire.Call) -> None:
        """Send calls, one behind the other, and await their answers."""
        for call in calls:
            whole = msgspec.structs.replace(call, framework_id=self._framework_id)
            self._calls.write(self._request(wire.encode(whole)))
        for call in calls:
            status, headers = await _head(self._answers)
            text = await self._answers.readexactly(int(headers.get("content-length", 0)))
            if status != 202:
                raise SystemExit(f"{call.type}: {status} {text.decode()}")

    def _request(self, body: bytes) -> bytes:
        lines = [
            "POST /api/v1/scheduler HTTP/1.1",
            f"Host: {self._host}:{self._port}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        if self._stream_id:
            lines.append(f"Mesos-Stream-Id: {self._stream_id}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


async def _head(reader: asyncio.StreamReader) -> tuple[int, dict[str, str]]:
    """Status and headers of an answer."""
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}


async def offers(framework: Framework, agents: int) -> list[wire.Offer]:
    """Offers of all agents."""
    found: list[wire.Offer] = []
    while len(found) < agents:
        event = await framework.next_event()
        found += event.offers.offers if event.offers is not None else ()
    return found


def scalar(name: str, value: float) -> wire.Resource:
    return wire.Resource(
        name, "SCALAR", wire.Scalar(value), allocation_info=wire.AllocationInfo(ROLE)
    )


def accept(offer: wire.Offer, names: list[str]) -> wire.Call:
    """Small tasks on an offer; what is left over is not wanted back."""
    infos = tuple(
        wire.TaskInfo(
            name,
            wire.TaskID(name),
            offer.agent_id,
            resources=(scalar("cpus", 0.1), scalar("mem", 32)),
            command=wire.CommandInfo(value="serve"),
        )
        for name in names
    )
    launch = wire.Operation("LAUNCH", launch=wire.OperationLaunch(infos))
    body = wire.CallAccept((offer.id,), (launch,), wire.Filters(3600.0))
    return wire.Call(type="ACCEPT", accept=body)


def acknowledgement(status: wire.TaskStatus) -> wire.Call:
    assert status.agent_id is not None
    assert status.uuid is not None
    body = wire.CallAcknowledge(status.agent_id, status.task_id, status.uuid)
    return wire.Call(type="ACKNOWLEDGE", acknowledge=body)


async def launch(framework: Framework, found: list[wire.Offer], tasks: int) -> list[float]:
    """Launch tasks evenly over the offers and acknowledge until all run.

    Returns:
        When each task's TASK_RUNNING was acknowledged.
    """
    share = -(-tasks // len(found))
    names = [f"task-{number:06d}" for number in range(tasks)]
    waiting = deque(
        accept(offer, mine)
        for number, offer in enumerate(found)
        if (mine := names[number * share : (number + 1) * share])
    )
    running: list[float] = []
    heard: set[str] = set()
    while len(running) < tasks:
        # As many launches at a time as the events of the ones before leave room for.
        while waiting and len(names) - len(waiting) * share - len(running) < AT_ONCE:
            await framework.call(waiting.popleft())
        event = await framework.next_event()
        status = event.update.status if event.update is not None else None
        if status is None or status.uuid is None or status.uuid in heard:
            continue
        heard.add(status.uuid)
        await framework.call(acknowledgement(status))
        if status.state == "TASK_RUNNING":
            running.append(time.monotonic())
        elif status.state != "TASK_STARTING":
            raise SystemExit(f"{status.task_id}: {status.state} {status.message}")
    return running


def show(what: str, measured: float, limit: float, unit: str) -> None:
    print(f"{what:44} {measured:8.2f} {unit:4} of {limit:7.1f}: ratio {measured / limit:.3f}")


async def main(agents: int, tasks: int) -> None:
    of_agents, of_tasks = agents / ALLOWED["agents"], tasks / ALLOWED["tasks"]
    started = time.monotonic()
    with simulation(agents) as running:
        seconds = registered(running, agents, started)
        show(f"{agents} agents registered", seconds, REGISTRATION_SECONDS * of_agents, "s")
        show("  CPU of the simulation", running.cpu_seconds(), REGISTRATION_SECONDS, "s")
        before, cpu = time.monotonic(), running.cpu_seconds()
        framework = Framework(running.address)
        await framework.subscribe()
        found = await offers(framework, agents)
        show(f"{agents} offers", time.monotonic() - before, OFFERS_SECONDS * of_agents, "s")
        show("  CPU of the simulation", running.cpu_seconds() - cpu, OFFERS_SECONDS, "s")
        before, cpu = time.monotonic(), running.cpu_seconds()
        times = await launch(framework, found, tasks)
        show(f"{tasks} tasks run", times[-1] - before, TASKS_SECONDS * of_tasks, "s")
        show("  CPU of the simulation", running.cpu_seconds() - cpu, TASKS_SECONDS, "s")
        before, cpu = time.monotonic(), running.cpu_seconds()
        size = await asyncio.to_thread(running.get, "/state")
        print(
            f"/state: {size / 2**20:.1f} MiB within {time.monotonic() - before:.2f} s,"
            f" {running.cpu_seconds() - cpu:.2f} s of CPU"
        )
        show("memory", running.memory_mib(), MEMORY_MIB, "MiB")
        quarter = len(times) // 4
        first, last = times[quarter] - times[0], times[-1] - times[-1 - quarter]
        print(f"the last quarter of the tasks to the first: ratio {last / first:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agents", type=int, default=ALLOWED["agents"])
    parser.add_argument("--tasks", type=int, default=ALLOWED["tasks"])
    chosen = parser.parse_args()
    asyncio.run(main(chosen.agents, chosen.tasks))
