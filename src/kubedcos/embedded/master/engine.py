"""The running master: keeps the state, carries out effects, and lets time pass."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from typing import Any, Final

from kubedcos.clock import Clock
from kubedcos.embedded.files import Files
from kubedcos.embedded.log_files import log_file
from kubedcos.embedded.master import (
    agents,
    draining,
    frameworks,
    inverse_offers,
    operation_feedback,
    removal,
)
from kubedcos.embedded.master.agent_observer import AgentObserver
from kubedcos.embedded.master.allocation_limits import AllocationPause, Whitelist
from kubedcos.embedded.master.allocator import AllocationRules, allocate
from kubedcos.embedded.master.changes import take_changes
from kubedcos.embedded.master.channels import Channel, HttpChannel
from kubedcos.embedded.master.counting import count
from kubedcos.embedded.master.effects import (
    Allocate,
    CloseStream,
    DropAgent,
    Effect,
    Effects,
    OpenChannel,
    SaveRegistry,
    ToAgent,
    ToFramework,
    ToStream,
)
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.operator_stream import OperatorStreams
from kubedcos.embedded.master.options import MasterOptions
from kubedcos.embedded.master.registrar import Registrar
from kubedcos.embedded.master.registry import (
    FileStore,
    MemoryStore,
    Registry,
    RegistryLost,
    RegistryStore,
    encoded,
    forget_old,
    recover,
    registry_of,
)
from kubedcos.embedded.master.state import AgentRecord, MasterState
from kubedcos.embedded.master.streams import Stream
from kubedcos.embedded.protocol import MESOS_VERSION
from kubedcos.embedded.timers import Timer
from kubedcos.embedded.tls import Tls
from kubedcos.embedded.verbosity import Verbosity
from kubedcos.mesos.messages import Address, Capability, Event, MasterInfo

_log = logging.getLogger(__name__)

ChannelTo = Callable[[AgentRecord, Callable[[], None]], Channel]
"""How to begin the conversation with an agent; what is to be called once when a call fails."""
TIMED: Final = (
    "allocator/mesos/allocation_run_ms",
    "registrar/state_store_ms",
)
"""Metrics that tell how long something takes."""


def master_info(options: MasterOptions, identity: str) -> MasterInfo:
    """Who this master is; a new id at each start, as in Mesos."""
    packed = ipaddress.IPv4Address(options.address).packed
    return MasterInfo(
        id=identity,
        ip=int.from_bytes(packed, "little"),
        port=options.advertise_port,
        pid=f"master@{options.address}:{options.advertise_port}",
        hostname=options.hostname,
        version=MESOS_VERSION,
        address=Address(hostname=options.hostname, ip=options.address, port=options.advertise_port),
        domain=options.domain,
        capabilities=tuple(map(Capability, ("AGENT_UPDATE", "AGENT_DRAINING", "QUOTA_V2"))),
    )


class Engine:
    """One master process.

    Args:
        options: from the flags.
        clock: source of time.
        chance: source of all identifiers, secrets among them, and of the order of agents.
        channel: how agents are reached.

    Attributes:
        store: where the registry is; to be set before the election, if not as the flags say.
        unfit: called with the reason when this master must not lead any longer.
    """

    def __init__(
        self,
        options: MasterOptions,
        clock: Clock,
        *,
        chance: random.Random | None = None,
        channel: ChannelTo | None = None,
    ) -> None:
        self.options = options
        self.clock = clock
        self._chance = chance or random.SystemRandom()
        self._channel_to = channel or partial(_over_http, options.tls)
        self.state = MasterState(
            info=master_info(options, self.new_uuid()),
            start_time=clock.time(),
        )
        self.leader: MasterInfo | None = None
        self.streams: dict[str, Stream] = {}
        self.timers = {name: Timer() for name in TIMED}
        self.verbosity = Verbosity(logging.getLogger("kubedcos"))
        self.files = Files(
            log_file(
                "/master/log",
                "mesos-master",
                options.flags.required("logging_level"),
                options.flags.text("log_dir"),
                options.flags.text("external_log_file"),
            )
        )
        self.operators = OperatorStreams(options.max_operator_streams)
        self.channels: dict[str, Channel] = {}
        self.framework_rules = frameworks.FrameworkRules(
            allowed_roles=options.roles,
            root_submissions=options.root_submissions,
            max_completed_frameworks=options.max_completed_frameworks,
            max_completed_tasks=options.max_completed_tasks,
            max_unreachable_tasks=options.max_unreachable_tasks,
            pattern_limits=options.pattern_limits,
        )
        self.agent_rules = agents.AgentRules(
            ping_timeout=options.agent_ping_timeout,
            max_ping_timeouts=options.max_agent_ping_timeouts,
            require_domain=options.require_agent_domain,
        )
        self._allocation = AllocationRules(
            options.min_allocatable,
            filter_gpu_resources=options.filter_gpu_resources,
            excluded=options.fair_sharing_excluded,
        )
        store_dir = None if options.in_memory else options.work_dir
        self.store: RegistryStore = MemoryStore() if store_dir is None else FileStore(store_dir)
        self.unfit: Callable[[str], None] = _log.error
        self.registrar = Registrar(self._save_registry, self.perform, clock)
        # SystemRandom would ask the kernel for each of thousands of agents.
        self._shuffle = random.Random(self._chance.getrandbits(64))  # noqa: S311  no secret
        self._recovery_deadline: float | None = None
        self._allocation_pause: AllocationPause | None = None
        self._whitelist = Whitelist(options.whitelist)
        self._background: set[asyncio.Task[None]] = set()
        self._observer = AgentObserver(self)

    @property
    def elected(self) -> bool:
        """Whether this master leads and has read its registry."""
        return self.state.elected_time is not None

    def elect(self, registry: Registry) -> None:
        """Begin to lead with the registry of the last leader, and let time pass."""
        if self.elected:
            return
        now = self.clock.time()
        self.state.weights = dict(self.options.weights)
        recover(self.state, registry)
        if self.state.weights != registry.weights:
            self.perform([SaveRegistry()])
        self.state.elected_time = now
        if self.state.quotas:
            self._allocation_pause = AllocationPause(
                agents=int(len(self.state.recovered) * self.options.agent_recovery_factor),
                until=now + self.options.allocator_recovery_timeout,
            )
        self.leader = self.state.info
        self._recovery_deadline = now + self.options.agent_reregister_timeout
        self.spawn(self._tick())
        if self.options.offer_timeout is not None:
            self.spawn(self._time_out(self.options.offer_timeout))
        _log.info("elected; %d agents are expected back", len(self.state.recovered))

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine beside everything else."""
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def new_uuid(self) -> str:
        """An identifier that nobody has."""
        return str(uuid.UUID(int=self._chance.getrandbits(128), version=4))

    def new_session(self) -> str:
        """A token for an agent's session."""
        return f"{self._chance.getrandbits(128):032x}"

    def new_stream(self, *, announced: bool = True) -> Stream:
        """A stream for a subscription that is about to be made."""
        stream = Stream(self.new_uuid(), frameworks.HEARTBEAT_INTERVAL, announced=announced)
        self.streams[stream.id] = stream
        return stream

    def stream_ended(self, stream_id: str) -> None:
        """The client is gone, or has got all of a closed stream."""
        self.streams.pop(stream_id, None)
        self.operators.remove(stream_id)
        self.perform(frameworks.disconnected(self.state, stream_id, now=self.clock.time()))

    def perform(self, effects: Effects) -> None:
        """Carry out effects, in order; allocation, if asked for, once and last."""
        changes = take_changes(self.state)
        count(self.state, changes, effects)
        self.operators.tell(self.state, changes)
        for effect in effects:
            self._perform(effect)
        settled = draining.settle(self.state, self.framework_rules, now=self.clock.time())
        if settled:
            self.perform(settled)
        asked = [effect.agent_id for effect in effects if isinstance(effect, Allocate)]
        if asked:
            some = tuple(agent_id for agent_id in asked if agent_id is not None)
            self._allocate(some if len(some) == len(asked) else ())

    def _perform(self, effect: Effect) -> None:
        match effect:
            case ToFramework(framework_id, event):
                framework = self.state.frameworks.get(framework_id)
                self._to_stream(framework.stream_id if framework else None, event)
            case ToStream(stream_id, event):
                self._to_stream(stream_id, event)
            case CloseStream(stream_id):
                if stream_id in self.streams:
                    self.streams[stream_id].close()
            case ToAgent(agent_id, call, operation):
                if agent_id in self.channels:
                    taken = partial(self._carried_out, operation) if operation else None
                    self.channels[agent_id].send(call, taken)
            case OpenChannel(agent):
                self._open_channel(agent)
            case DropAgent(agent_id):
                if agent_id in self.channels:
                    self.channels.pop(agent_id).end()
            case SaveRegistry():
                self._save_registry()
            case Allocate(_):
                pass

    def _save_registry(self) -> None:
        try:
            with self.timers["registrar/state_store_ms"].timed():
                self.store.save(registry_of(self.state))
        except RegistryLost as error:
            self.unfit(f"{error}... committing suicide!")
            raise

    def _carried_out(self, operation: str) -> None:
        now = self.clock.time()
        self.perform(operation_feedback.carried_out(self.state, operation, now=now))

    def _to_stream(self, stream_id: str | None, event: Event) -> None:
        if stream_id is not None and stream_id in self.streams:
            self.streams[stream_id].send(event)

    def _allocate(self, agent_ids: tuple[str, ...] = ()) -> None:
        now = self.clock.time()
        if self._allocation_pause is not None:
            if not self._allocation_pause.over(len(self.state.agents), now):
                return
            self._allocation_pause = None
        rules = replace(self._allocation, whitelist=self._whitelist.hosts(now))
        self.state.count("allocator/mesos/allocation_runs")
        with self.timers["allocator/mesos/allocation_run_ms"].timed():
            effects = allocate(
                self.state, rules, now=now, shuffle=self._shuffle, agent_ids=agent_ids
            )
        self.perform(effects)
        self.perform(inverse_offers.make(self.state, now=self.clock.time()))

    def registry_size(self) -> int:
        """Bytes of the registry as it would be stored."""
        return len(encoded(registry_of(self.state)))

    def _open_channel(self, agent: AgentRecord) -> None:
        old = self.channels.get(agent.id)
        if old is not None:
            old.end()
        session = agent.session
        self.channels[agent.id] = self._channel_to(
            agent, lambda: self.agent_disconnected(agent.id, session)
        )
        self._observer.observe(agent.id)

    def agent_disconnected(self, agent_id: str, session: str) -> None:
        """The link of that session broke, or a call of it failed."""
        agent = self.state.agents.get(agent_id)
        if agent is not None and agent.session == session:
            _log.info("agent %s disconnected", agent.named())
            now = self.clock.time()
            self.perform(agents.disconnected(self.state, self.framework_rules, agent, now=now))

    async def _tick(self) -> None:
        """What happens each allocation interval."""
        while True:
            await self.clock.sleep(self.options.allocation_interval)
            try:
                self._pass_time(self.clock.time())
            except Exception:
                _log.exception("a cycle of the master failed; the next one goes on")

    async def _time_out(self, patience: float) -> None:
        """Take back offers that nobody answered in time; the oldest stand first."""
        while True:
            now = self.clock.time()
            oldest = next(iter(self.state.offers.values()), None)
            due = oldest.created + patience if oldest is not None else now + patience
            if oldest is None or due > now:
                await self.clock.sleep(due - now)
                continue
            offers = self.state.offers.values()
            late = [offer for offer in offers if offer.created + patience <= now]
            self.perform(rescind(self.state, late))

    def _pass_time(self, now: float) -> None:
        self.perform(frameworks.expired(self.state, self.framework_rules, now=now))
        self.perform(operation_feedback.repeated(self.state, now=now))
        if self.options.offer_timeout is not None:
            oldest = now - self.options.offer_timeout
            self.perform(inverse_offers.late(self.state, oldest=oldest))
        if self._recovery_deadline is not None and now >= self._recovery_deadline:
            self._recovery_deadline = None
            self.perform(removal.not_recovered(self.state, now=now))
        if forget_old(
            self.state,
            now=now,
            max_age=self.options.registry_max_agent_age,
            max_count=self.options.registry_max_agent_count,
        ):
            self.perform([SaveRegistry()])
        self._allocate()

    async def close(self) -> None:
        """Stop everything that runs."""
        for stream in self.streams.values():
            stream.close()
        for channel in self.channels.values():
            channel.end()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)


def _over_http(tls: Tls | None, agent: AgentRecord, on_failure: Callable[[], None]) -> Channel:
    return HttpChannel(agent.address, agent.info.port, agent.session, on_failure, tls)
