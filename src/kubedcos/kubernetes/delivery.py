"""Key material for tasks: given once, to the task itself, for a short time.

A task has no secret that it could show. It proves who it is by what only it can do: write into its
own Mesos sandbox. It invents a random request, writes the request's hash there and sends the
request; the scheduler reads the hash back through Mesos and compares. What Mesos shows to others,
in ``/state`` or among the sandbox's files, is of no use to them: from a hash nobody makes the
request that it belongs to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import structlog

from kubedcos.clock import Clock
from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.kubernetes.grants import Grant, Grants
from kubedcos.kubernetes.payload import SANDBOX_PROOF, MaterialRequest, decode_request

LIFETIME: Final = 900.0
"""Seconds from launch within which a task may ask; fetching its programs is part of it."""
LARGEST_REQUEST: Final = 64 * 1024
_PATH: Final = re.compile(r"(/[A-Za-z0-9._-]+)+")
_HOSTNAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")

_log = structlog.get_logger(__name__)


class SandboxUnreadable(KubedcosError):
    """Mesos did not show the file; the text says why."""


class NotReady(KubedcosError):
    """What the task needs is not there yet; asking again may help. Its right to ask remains."""


class SandboxReader(Protocol):
    """Reads small files of tasks' sandboxes through Mesos."""

    async def read(self, address: str, task_id: str, name: str) -> str:
        """Text of file `name` in the sandbox of `task_id`, on the agent at `address`.

        Raises:
            SandboxUnreadable: no such file, no such task there, or no answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back to the task: an HTTP status and JSON."""

    status: int
    body: Mapping[str, Any]

    def __repr__(self) -> str:
        """Without the body, which may hold keys."""
        return f"Answer({self.status})"


def refused(status: int, reason: str) -> Answer:
    """An answer that says why there is nothing else."""
    return Answer(status, {"error": reason})


class Delivery:
    """Answers the requests of a cluster's tasks.

    Args:
        grants: who may ask.
        prepare: makes the reply to a request that was found good; raises InvalidInput, or NotReady
            when the task should ask again.
        reader: looks into sandboxes.
        clock: for the grants' age.
        alarm: told task id and reason when a grant is used twice; the task must then be ended,
            because somebody else has its keys or it lost its reply.
        lifetime: seconds that a grant is good for.
    """

    def __init__(
        self,
        grants: Grants,
        prepare: Callable[[Grant, MaterialRequest], Awaitable[Mapping[str, Any]]],
        reader: SandboxReader,
        clock: Clock,
        alarm: Callable[[str, str], None],
        lifetime: float = LIFETIME,
    ) -> None:
        self._grants = grants
        self._prepare = prepare
        self._reader = reader
        self._clock = clock
        self._alarm = alarm
        self._lifetime = lifetime

    async def handle(self, task_id: str, body: bytes, source: str) -> Answer:
        """Answer one request.

        Args:
            task_id: as in the URL.
            body: as received.
            source: address that it came from, for the log: between data centres it may be that of
                a router, so that nothing is decided by it.
        """
        log = _log.bind(task_id=task_id, source=source)
        grant = self._grants.all.get(task_id)
        if grant is None:
            log.warning("key material refused", reason="no such task")
            return refused(404, "no such task")
        if len(body) > LARGEST_REQUEST:
            return refused(413, f"more than {LARGEST_REQUEST} bytes")
        proof = hashlib.sha256(body).hexdigest()
        if grant.used_at:
            return await self._used_again(grant, proof, log)
        if self._clock.time() - grant.issued_at > self._lifetime:
            log.warning("key material was asked for too late")
            return refused(410, f"asked later than {self._lifetime:.0f} s after the launch")
        if (answer := await self._not_proven(grant, proof)) is not None:
            log.warning("key material refused", reason=answer.body["error"])
            return answer
        if self._grants.all.get(task_id) != grant:
            return refused(409, "the task ended or was served meanwhile")
        try:
            request = _checked(grant, decode_request(body))
            reply = await self._prepare(grant, request)
        except InvalidInput as error:
            log.warning("key material refused", reason=str(error))
            return refused(400, str(error))
        except NotReady as error:
            log.info("key material has to wait", reason=str(error))
            return refused(503, str(error))
        if self._grants.all.get(task_id) != grant:
            return refused(409, "the task ended or was served meanwhile")
        used = msgspec.structs.replace(
            grant, used_at=self._clock.time(), proof=proof, node=request.facts.hostname
        )
        self._grants.put(used)
        log.info("key material given", place=grant.place.address, node=used.node)
        return Answer(200, reply)

    async def _used_again(
        self, grant: Grant, proof: str, log: structlog.stdlib.BoundLogger
    ) -> Answer:
        """Alarm only when the caller proves to be, or to have overheard, the task."""
        if proof == grant.proof or await self._not_proven(grant, proof) is None:
            log.error("key material asked for a second time; the task has to end")
            self._alarm(grant.task_id, "its key material was asked for a second time")
        else:
            log.warning("key material refused", reason="used, and the caller proves nothing")
        return refused(409, "already used; this is reported")

    async def _not_proven(self, grant: Grant, proof: str) -> Answer | None:
        try:
            text = await self._reader.read(grant.place.address, grant.task_id, SANDBOX_PROOF)
        except SandboxUnreadable as error:
            return refused(503, f"cannot look into the sandbox: {error}")
        if text.strip() != proof:
            return refused(403, "the request's hash is not what stands in the task's sandbox")
        return None


def _checked(grant: Grant, request: MaterialRequest) -> MaterialRequest:
    """The request, if it is of this task and says nothing that could not be."""
    facts = request.facts
    problems = []
    if request.task_id != grant.task_id:
        problems.append(Problem("task_id", request.task_id, grant.task_id, id="bad-request"))
    if not _PATH.fullmatch(facts.sandbox):
        problems.append(Problem("facts.sandbox", repr(facts.sandbox), "an absolute path"))
    if not _HOSTNAME.fullmatch(facts.hostname):
        problems.append(Problem("facts.hostname", repr(facts.hostname), "a host name"))
    if facts.cpus < 1 or facts.mem_kb < 1 or facts.disk_bytes < 0:
        problems.append(Problem("facts", repr(facts), "positive numbers"))
    if problems:
        raise InvalidInput(problems)
    return request
