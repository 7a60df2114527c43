"""etcd's members: a client of its own API, over the JSON gateway that every member serves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx2
import msgspec

from kubedcos.errors import KubedcosError

DEADLINE = 5.0
"""Seconds for one call to one member; etcd itself gives up a proposal after about seven."""
_NOT_FOUND = 5
_UNAVAILABLE = 14
_LEARNERS_WORD = "not supported for learner"
"""What a learner answers; its code is another from version to version."""


class EtcdUnreachable(KubedcosError):
    """No member answered; the text has what each of them said."""


class EtcdRefused(KubedcosError):
    """etcd answered, and did not do it.

    Attributes:
        code: gRPC status code.
    """

    def __init__(self, code: int, message: str) -> None:
        self.code = code
        super().__init__(f"etcd: {message.removeprefix('etcdserver: ')}")


class Member(msgspec.Struct, frozen=True):
    """A member as etcd lists it.

    Attributes:
        id: etcd's number of it; a member that comes again has another.
        name: as it was started; empty as long as it was never started.
        peer_urls: where other members reach it.
        client_urls: where clients reach it; none as long as it was never started.
        learner: it gets the log and has no vote.
    """

    id: int = msgspec.field(default=0, name="ID")
    name: str = ""
    peer_urls: tuple[str, ...] = msgspec.field(default=(), name="peerURLs")
    client_urls: tuple[str, ...] = msgspec.field(default=(), name="clientURLs")
    learner: bool = msgspec.field(default=False, name="isLearner")

    @property
    def started(self) -> bool:
        """Whether it has been started once."""
        return bool(self.name)

    @property
    def title(self) -> str:
        """How it is called in sentences."""
        return self.name or f"the member at {', '.join(self.peer_urls)}"


class MemberStatus(msgspec.Struct, frozen=True):
    """What a member says of itself (``/v3/maintenance/status``).

    Attributes:
        member_id: its own id.
        leader: id of the leader that it follows; 0 when it knows none.
        raft_index: last entry of the log that it knows to be committed.
        raft_applied_index: last entry that it has carried out.
        db_size: bytes of its database file.
        learner: whether it has no vote.
        errors: what is wrong with it, such as ``NOSPACE``.
    """

    member_id: int
    leader: int = 0
    raft_index: int = 0
    raft_applied_index: int = 0
    db_size: int = 0
    learner: bool = False
    errors: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """It follows a leader and complains of nothing."""
        return self.leader != 0 and not self.errors


class Alarm(msgspec.Struct, frozen=True):
    """An alarm that a member raised: ``NOSPACE`` or ``CORRUPT``."""

    member_id: int = msgspec.field(default=0, name="memberID")
    alarm: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """A member, and whether it answers and follows a leader."""

    member: Member
    healthy: bool


class _Header(msgspec.Struct, frozen=True):
    member_id: int = 0


class _Members(msgspec.Struct, frozen=True):
    members: tuple[Member, ...] = ()


class _Added(msgspec.Struct, frozen=True):
    member: Member
    members: tuple[Member, ...] = ()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    header: _Header = _Header()
    leader: int = 0
    raft_index: int = 0
    raft_applied_index: int = 0
    db_size: int = 0
    is_learner: bool = False
    errors: tuple[str, ...] = ()


class _Alarms(msgspec.Struct, frozen=True):
    alarms: tuple[Alarm, ...] = ()


class _Fault(msgspec.Struct, frozen=True):
    code: int = 2
    message: str = ""


_A = TypeVar("_A")


class EtcdMembers:
    """A cluster's membership.

    Args:
        client: gives the HTTP client that logs in; called for each request.
        endpoints: client URLs of members, tried in this order. A member that has no quorum, or is
            a learner, refuses, and the next one is asked.
    """

    def __init__(self, client: Callable[[], httpx2.AsyncClient], endpoints: Sequence[str]) -> None:
        self._client = client
        self._endpoints = tuple(endpoints)

    async def list(self) -> tuple[Member, ...]:
        """All members, as a quorum knows them, by name and id.

        Raises:
            EtcdUnreachable: no member that has a quorum answered.
            EtcdRefused: etcd refused.
        """
        reply = await self._call("cluster/member/list", {"linearizable": True}, _Members)
        return tuple(sorted(reply.members, key=lambda member: (member.name, member.id)))

    async def add_learner(self, peer_url: str) -> Member:
        """Add a member without a vote; the member that has this URL already is no error.

        Raises:
            EtcdUnreachable: no member that has a quorum answered.
            EtcdRefused: etcd refused: there is a learner already, or a voter is not connected.
        """
        body = {"peerURLs": [peer_url], "isLearner": True}
        try:
            return (await self._call("cluster/member/add", body, _Added)).member
        except EtcdRefused:
            # An earlier try may have come through without its answer.
            for member in await self.list():
                if peer_url in member.peer_urls:
                    return member
            raise

    async def promote(self, member_id: int) -> None:
        """Give a learner its vote; for a voter nothing is done.

        Raises:
            EtcdUnreachable: no member that has a quorum answered.
            EtcdRefused: it has not caught up, or there is no such member.
        """
        try:
            await self._call("cluster/member/promote", {"ID": str(member_id)}, _Members)
        except EtcdRefused:
            if not any(m.id == member_id and not m.learner for m in await self.list()):
                raise

    async def remove(self, member_id: int) -> None:
        """Remove a member; one that is not there is no error.

        Raises:
            EtcdUnreachable: no member that has a quorum answered.
            EtcdRefused: etcd refused, because it would cost the quorum.
        """
        try:
            await self._call("cluster/member/remove", {"ID": str(member_id)}, _Members)
        except EtcdRefused as error:
            if error.code != _NOT_FOUND:
                raise

    async def alarms(self) -> tuple[Alarm, ...]:
        """Alarms that are on.

        Raises:
            EtcdUnreachable: no member answered.
            EtcdRefused: etcd refused.
        """
        return (await self._call("maintenance/alarm", {"action": "GET"}, _Alarms)).alarms

    async def status(self, endpoint: str) -> MemberStatus:
        """What the member at a client URL says of itself.

        Raises:
            EtcdUnreachable: it does not answer.
            EtcdRefused: it refused.
        """
        found = await self._ask(endpoint, "maintenance/status", {}, _Status)
        return MemberStatus(
            member_id=found.header.member_id,
            leader=found.leader,
            raft_index=found.raft_index,
            raft_applied_index=found.raft_applied_index,
            db_size=found.db_size,
            learner=found.is_learner,
            errors=found.errors,
        )

    async def survey(self) -> tuple[Seen, ...]:
        """All members, each with whether it answers and follows a leader.

        Raises:
            EtcdUnreachable: no member that has a quorum answered.
            EtcdRefused: etcd refused.
        """
        members = await self.list()
        sound = await asyncio.gather(*(self._sound(member) for member in members))
        return tuple(Seen(member, healthy) for member, healthy in zip(members, sound, strict=True))

    async def _sound(self, member: Member) -> bool:
        for url in member.client_urls:
            try:
                return (await self.status(url)).leader != 0
            except (EtcdUnreachable, EtcdRefused):
                continue
        return False

    async def _call(self, path: str, body: Mapping[str, Any], reply: type[_A]) -> _A:
        said = []
        for endpoint in self._endpoints:
            try:
                return await self._ask(endpoint, path, body, reply)
            except EtcdUnreachable as error:
                said.append(str(error))
            except EtcdRefused as error:
                if error.code != _UNAVAILABLE and _LEARNERS_WORD not in str(error):
                    raise
                said.append(f"{endpoint}: {error}")
        raise EtcdUnreachable("; ".join(said) or "no member of etcd is known")

    async def _ask(self, endpoint: str, path: str, body: Mapping[str, Any], reply: type[_A]) -> _A:
        try:
            answer = await self._client().post(
                f"{endpoint}/v3/{path}", json=dict(body), timeout=DEADLINE
            )
        except httpx2.HTTPError as error:
            raise EtcdUnreachable(f"{endpoint}: {str(error) or type(error).__name__}") from None
        try:
            if answer.is_success:
                return _decode(answer.content, reply)
            fault = _decode(answer.content, _Fault)
        except msgspec.MsgspecError as error:
            text = f"{endpoint}: {answer.status_code}, not an answer of etcd: {error}"
            raise EtcdUnreachable(text) from None
        raise EtcdRefused(fault.code, fault.message)


def _decode(content: bytes, reply: type[_A]) -> _A:
    # JSON of protocol buffers has 64-bit numbers as text.
    return msgspec.json.decode(content, type=reply, strict=False)
