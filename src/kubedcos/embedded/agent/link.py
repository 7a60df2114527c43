"""The agent's side of the conversation with the master: sessions, updates, pings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from kubedcos.clock import Clock
from kubedcos.embedded.agent.agent import Agent
from kubedcos.embedded.agent.detector import Detector, Master
from kubedcos.embedded.connect import connect
from kubedcos.embedded.post import Reply, basic, post
from kubedcos.embedded.protocol import (
    AGENT_CAPABILITIES,
    LINK_INTERVAL,
    LINK_PATH,
    MASTER_PATH,
    MESOS_VERSION,
    SESSION_HEADER,
    AgentCall,
    AgentReply,
    MasterCall,
    Register,
    Reregister,
    StatusUpdate,
    decode_agent_reply,
    encode,
)
from kubedcos.errors import KubedcosError
from kubedcos.mesos.messages import AgentInfo, Capability, FrameworkID

log = logging.getLogger("kubedcos.embedded.agent")

LONGEST_BACKOFF: Final = 60.0
CALL_TIMEOUT: Final = 15.0
_CAPABILITIES: Final = tuple(Capability(name) for name in AGENT_CAPABILITIES)


class SessionLost(Exception):
    """The master is gone, or wants a new registration; the text says why."""


class Redirected(Exception):
    """Another master leads."""

    def __init__(self, master: Master) -> None:
        self.master = master
        super().__init__(master.url)


class Refused(KubedcosError):
    """The master does not know the agent's credential."""


class MarkedGone(KubedcosError):
    """An operator marked the agent gone: it ends for good."""


class MasterLink:
    """Registers the agent and keeps it registered.

    Attributes:
        master: the one that the agent is registered with, or tries to.
        registered: whether a session stands.
    """

    def __init__(self, agent: Agent, detector: Detector, info: AgentInfo, clock: Clock) -> None:
        """Args: the agent; how masters are found; AgentInfo as configured, perhaps without id."""
        self.agent = agent
        self.detector = detector
        self.info = info
        self.clock = clock
        self.master: Master | None = None
        self.session: str | None = None
        self._settled = asyncio.Event()
        self._settled.set()
        self._wake = asyncio.Event()
        self._lost: asyncio.Future[str] | None = None
        self._pinged = 0.0
        self._backoff = self._first_backoff()
        agent.changed = self._wake.set

    @property
    def registered(self) -> bool:
        """Whether a session stands."""
        return self.session is not None

    async def run(self) -> None:
        """Until cancelled.

        Raises:
            Refused: the agent must end, and leave its executors alone.
            MarkedGone: it must end, and everything with it.
        """
        redirected: Master | None = None
        while True:
            self.master = redirected or await self.detector.leader()
            redirected = None
            try:
                await self._converse(self.master)
            except Redirected as redirect:
                redirected = redirect.master
                await self.clock.sleep(min(self._backoff, 1.0))
            except (SessionLost, OSError, msgspec.DecodeError) as error:
                log.info("No session with master %s: %s", self.master.url, error)
                await self.clock.sleep(random.uniform(0, self._backoff))  # noqa: S311  no secret
                self._backoff = min(self._backoff * 2, LONGEST_BACKOFF)

    def _first_backoff(self) -> float:
        return self.agent.settings.flags.seconds("registration_backoff_factor")

    async def _converse(self, master: Master) -> None:
        """One session from registration to its end, which is always an exception."""
        self._settled.clear()
        try:
            reply = await self._register(master)
        finally:
            self._settled.set()
        self._backoff = self._first_backoff()
        self._lost = asyncio.get_running_loop().create_future()
        self._pinged = self.clock.monotonic()
        session = reply.session
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._hold_link(master, session))
                tasks.create_task(self._send_updates(master, session))
                tasks.create_task(self._await_pings(reply))
                tasks.create_task(self._await_loss())
                tasks.create_task(self._await_leader(master))
        except BaseExceptionGroup as group:
            expected = (SessionLost, Redirected, Refused, MarkedGone, OSError)
            for error in group.exceptions:
                if isinstance(error, expected):
                    raise error from None
            raise
        finally:
            self.session = None

    async def _register(self, master: Master) -> AgentReply:
        """(Re-)register; the reply opens the session."""
        agent = self.agent
        if agent.info is None or agent.info.id is None:
            part = Register(
                agent_info=self.info,
                address=agent.settings.advertise_ip,
                version=MESOS_VERSION,
                checkpointed_resources=agent.resources,
                capabilities=_CAPABILITIES,
            )
            call = AgentCall("REGISTER", register=part)
        else:
            runs = [run for run in agent.live() if not run.silent]
            executors = agent.groups.listed()
            frameworks = {run.run.framework_id: run.framework for run in runs}
            for entry in executors:
                framework_id = entry.framework_id.value
                frameworks[framework_id] = agent.frameworks[framework_id]
            again = Reregister(
                agent_info=msgspec.structs.replace(self.info, id=agent.info.id),
                address=agent.settings.advertise_ip,
                version=MESOS_VERSION,
                tasks=tuple(run.view() for run in runs),
                executors=executors,
                frameworks=tuple(frameworks.values()),
                checkpointed_resources=agent.resources,
                capabilities=_CAPABILITIES,
            )
            call = AgentCall("REREGISTER", agent_id=agent.info.id, reregister=again)
        reply = await self._post(master, call, None)
        if reply.agent_id is None or not reply.session:
            raise SessionLost("the master's reply has no session")
        self.session = reply.session
        log.info(
            "%s with master %s; agent id %s",
            "Registered" if call.type == "REGISTER" else "Re-registered",
            master.url,
            reply.agent_id.value,
        )
        agent.registered(reply.agent_id, self.info)
        agent.unknown_tasks(reply.unknown_tasks)
        return reply

    def _headers(self, session: str | None) -> dict[str, str]:
        credential = self.agent.settings.credential
        headers = {SESSION_HEADER: session} if session is not None else {}
        if credential is not None:
            headers["Authorization"] = basic(credential.principal, credential.secret)
        return headers

    async def _post(self, master: Master, call: AgentCall, session: str | None) -> AgentReply:
        reply = await post(
            master.host,
            master.port,
            MASTER_PATH,
            encode(call),
            headers=self._headers(session),
            deadline=CALL_TIMEOUT,
            tls=self.agent.settings.tls,
        )
        _check(reply, master.url + MASTER_PATH)
        return decode_agent_reply(reply.body)

    async def _hold_link(self, master: Master, session: str) -> None:
        """Read the link until it breaks; the master writes into it all the time."""
        reader, writer = await connect(master.host, master.port, self.agent.settings.tls)
        try:
            lines = [f"GET {LINK_PATH} HTTP/1.1", f"Host: {master.host}:{master.port}"]
            lines += [f"{name}: {value}" for name, value in self._headers(session).items()]
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
            status = (await reader.readline()).split()
            if len(status) < 2 or status[1] != b"200":
                raise SessionLost(f"the master refused the link: {b' '.join(status).decode()}")
            while True:
                async with asyncio.timeout(4 * LINK_INTERVAL):
                    if not await reader.read(4096):
                        raise SessionLost("the master closed the link")
        except TimeoutError as error:
            raise SessionLost("the link went silent") from error
        finally:
            writer.close()

    async def _send_updates(self, master: Master, session: str) -> None:
        while True:
            self._wake.clear()
            agent_id = self.agent.info.id if self.agent.info else None
            exits = self.agent.groups.exits
            while exits:
                part = exits[0]
                call = AgentCall("EXITED_EXECUTOR", agent_id=agent_id, exited_executor=part)
                await self._post(master, call, session)
                exits.remove(part)
            for run in self.agent.live():
                status = None if run.silent else run.stream.take(self.clock.monotonic())
                if status is None:
                    continue
                update = StatusUpdate(FrameworkID(run.run.framework_id), status, run.state)
                call = AgentCall("STATUS_UPDATE", agent_id=agent_id, status_update=update)
                await self._post(master, call, session)
            due = [at for run in self.agent.live() if (at := run.stream.due_at()) is not None]
            wait = max(0.0, min(due) - self.clock.monotonic()) if due else None
            # Not asyncio.wait_for, which before Python 3.12 forgets a cancellation that meets news.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._wake.wait()

    async def _await_pings(self, reply: AgentReply) -> None:
        patience = reply.ping_timeout_seconds * reply.max_ping_timeouts
        while True:
            left = self._pinged + patience - self.clock.monotonic()
            if left <= 0:
                raise SessionLost("no pings from the master")
            await self.clock.sleep(left)

    async def _await_loss(self) -> None:
        assert self._lost is not None
        raise SessionLost(await self._lost)

    async def _await_leader(self, master: Master) -> None:
        await self.detector.changed(master)
        raise SessionLost("another master leads")

    async def take(self, session: str | None, call: MasterCall) -> bool:
        """A call of the master: carry it out; False when it is of another session.

        Raises:
            KubedcosError: it could not be carried out.
        """
        await self._settled.wait()
        if self.session is None or session != self.session:
            return False
        self._pinged = self.clock.monotonic()
        if call.ping is not None:
            if not call.ping.connected and self._lost is not None and not self._lost.done():
                self._lost.set_result("the master holds us for disconnected")
            return True
        await self.agent.handle(call)
        return True

    async def unregister(self) -> None:
        """Tell the master that the agent goes for good, as soon as it knows us."""
        # The answer to a registration may be on its way.
        while self.master is None or self.session is None or self.agent.info is None:  # noqa: ASYNC110  rare
            await asyncio.sleep(0.05)
        call = AgentCall("UNREGISTER", agent_id=self.agent.info.id)
        with contextlib.suppress(OSError, SessionLost, Redirected, msgspec.DecodeError):
            await self._post(self.master, call, self.session)


def _check(reply: Reply, url: str) -> None:
    """Raise what an answer other than 200 means; see `protocol`."""
    if reply.status == 200:
        return
    if reply.status == 307:
        parts = urlsplit(urljoin(url, reply.headers.get("location", "")))
        raise Redirected(Master(parts.hostname or "", parts.port or 5050))
    text = reply.body.decode("utf-8", "replace").strip()
    if reply.status == 401:
        raise Refused("Master refused authentication")
    if reply.status == 410:
        raise MarkedGone(text or "Agent has been marked gone")
    raise SessionLost(f"status {reply.status}: {text}")
