"""A whole master without a network: requests go in at its HTTP edge, time passes by hand."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master.app import MasterApp
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.options import read_options
from kubedcos.embedded.master.registry import Registry, registry_of
from kubedcos.embedded.master.responses import BadRequest
from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.protocol import MasterCall
from kubedcos.mesos.messages import TERMINAL_STATES, Resource
from kubedcos.mesos.resources import Resources, amount_of

Json = dict[str, Any]
FLAGS = ("--ip=127.0.0.1", "--registry=in_memory", "--hostname=m")
# Counted, or remembered for the next decision: no state that anybody sees.
PASSING = {"counters", "filters"}


class VirtualClock:
    """Stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:  # noqa: ARG002
        await asyncio.Event().wait()


@dataclasses.dataclass
class Answer:
    """Status and text; `stream` is set for a subscription."""

    status: int
    text: str
    stream: Any = None

    @property
    def ok(self) -> bool:
        """Whether the call had, or may have had, an effect."""
        return self.status < 400


class Channel:
    """Takes the calls for an agent."""

    def __init__(self) -> None:
        self.calls: list[MasterCall] = []
        self.taken: list[Callable[[], None]] = []
        self.ended = asyncio.Event()

    def send(self, call: MasterCall, taken: Callable[[], None] | None = None) -> None:
        self.calls.append(call)
        if taken is not None:
            self.taken.append(taken)

    def end(self) -> None:
        self.ended.set()

    async def ping(self, _call: MasterCall, _deadline: float) -> bool:
        return True


class Driven:
    """The master, and everything that was sent to it."""

    def __init__(self, *flags: str) -> None:
        self.clock = VirtualClock()
        self.loop = asyncio.new_event_loop()
        self.engine: Engine = self.inside(self._made, *flags)
        self.app = MasterApp(self.engine)

    def _made(self, *flags: str) -> Engine:
        engine = Engine(
            read_options([*FLAGS, *flags], {}),
            self.clock,
            chance=random.Random(1),
            channel=lambda _agent, _on_failure: Channel(),
        )
        engine.elect(Registry())
        return engine

    def inside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """What `work` returns, or what it has to wait for."""

        async def run() -> Any:
            result = work(*arguments)
            return await result if isinstance(result, Awaitable) else result

        return self.run(run())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.run(self.engine.close())
        self.loop.close()

    @property
    def state(self) -> MasterState:
        return self.engine.state

    def send(
        self, path: str, body: bytes, headers: dict[str, str] | None = None, method: str = "POST"
    ) -> Answer:
        """The answer; an exception of the master gets through to the test."""
        given = {"content-type": "application/json"} | (headers or {})
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), v.encode()) for name, v in given.items()],
        }

        async def answered() -> Any:
            try:
                answer = self.app._answer(Request(scope), path, body)
                return await answer if isinstance(answer, Awaitable) else answer
            except BadRequest as error:
                return error.response

        answer = self.inside(answered)
        if isinstance(answer, Response):
            return Answer(answer.status_code, bytes(answer.body).decode())
        return Answer(200, "", answer)

    def call(self, path: str, value: Any, headers: dict[str, str] | None = None) -> Answer:
        return self.send(path, json.dumps(value).encode(), headers)

    def pass_time(self, seconds: float) -> None:
        self.clock.now += seconds
        for channel in list(self.engine.channels.values()):
            assert isinstance(channel, Channel)
            while channel.taken:
                self.inside(channel.taken.pop(0))
        self.inside(self.engine._pass_time, self.clock.now)

    def snapshot(self) -> Any:
        """All that a refused call may not change, the registry included."""
        return frozen(self.state), frozen(registry_of(self.state))


def frozen(value: Any) -> Any:
    """A copy that later changes do not reach, and that compares by content."""
    if isinstance(value, MasterState) or dataclasses.is_dataclass(value):
        names = [f.name for f in dataclasses.fields(value) if f.compare and f.name not in PASSING]
        return tuple((name, frozen(getattr(value, name))) for name in names)
    if isinstance(value, msgspec.Struct | Resources):
        return value
    if isinstance(value, Mapping):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list | tuple | deque):
        return [frozen(item) for item in value]
    return set(value) if isinstance(value, set) else value


def check(state: MasterState) -> None:
    """What holds after every call, whatever it was."""
    for agent in state.agents.values():
        tasks = [
            Resources(task.resources)
            for task in state.tasks.values()
            if task.agent_id.value == agent.id and task.state not in TERMINAL_STATES
        ]
        executors = [
            Resources(executor.resources) for _, executor in state.executors_of(agent_id=agent.id)
        ]
        held = [*tasks, *executors]
        used = sum(held, Resources())
        offered = Resources(
            resource
            for offer in state.offers.values()
            if offer.agent_id == agent.id
            for resource in offer.resources
        )
        assert used == state.used(agent_id=agent.id)
        assert offered == state.offered(agent_id=agent.id)
        # Two that hold the same are counted twice, though ranges hide it when they are united; one
        # that names a port twice holds it once. Mesos' detectOverlappingSetAndRangeResources.
        assert sum(map(_count, held)) + _count(offered) == _count(used + offered)
        taken = used.unallocated() + offered.unallocated()
        assert agent.total.contains(taken), f"{taken} is more than {agent.total}"
        assert _positive(agent.total)
    for offer in state.offers.values():
        assert offer.agent_id in state.agents
        framework = state.frameworks[offer.framework_id]
        assert framework.connected
        assert offer.role in framework.roles
    for framework_id, _ in state.tasks:
        assert framework_id in state.frameworks


def _positive(resources: Resources) -> bool:
    return all(amount > 0 for _, amount in resources.amounts() if isinstance(amount, int))


def _count(resources: Iterable[Resource]) -> int:
    """How many ports and thousandths there are."""
    total = 0
    for resource in resources:
        amount = amount_of(resource)
        total += amount if isinstance(amount, int) else sum(b - a + 1 for a, b in amount)
    return total
