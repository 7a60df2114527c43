"""etcd's membership: a client of its own API, and what may be changed next.

etcd is changed one member at a time: a new one comes in as a learner, which has no vote, and is
promoted once it has the log; a member that is to go is removed before its successor is added,
because etcd admits nobody while a voter is not connected (``--strict-reconfig-check``). See etcd's
"Runtime reconfiguration" and "Learner" guides.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
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


# --- the client ----------------------------------------------------------------------------------


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
    """A cluster's membership, over the JSON gateway that every member serves.

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
        return tuple([Seen(member, await self._sound(member)) for member in await self.list()])

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
            raise EtcdUnreachable(f"{endpoint}: {error or type(error).__name__}") from None
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


# --- decisions -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """A member, and whether it answers and follows a leader."""

    member: Member
    healthy: bool


@dataclass(frozen=True, slots=True)
class WantedMember:
    """A member that there is to be; whoever has another URL is not it."""

    name: str
    peer_url: str


class Move(StrEnum):
    """What to do with the membership."""

    NOTHING = "NOTHING"
    """It is as wanted."""
    WAIT = "WAIT"
    """Something has to happen first; the reason says what."""
    REFUSE = "REFUSE"
    """It would cost the quorum, or there is none."""
    REMOVE = "REMOVE"
    ADD_LEARNER = "ADD_LEARNER"
    PROMOTE = "PROMOTE"


@dataclass(frozen=True, slots=True)
class NextStep:
    """One change of the membership, and why.

    Attributes:
        member_id: whom to remove or to promote.
        peer_url: whom to add.
    """

    move: Move
    reason: str
    member_id: int = 0
    peer_url: str = ""


def quorum(voters: int) -> int:
    """How many of so many voters have to be there."""
    return voters // 2 + 1


def next_step(members: Collection[Seen], wanted: Collection[WantedMember]) -> NextStep:
    """The one change that brings the membership closer to what is wanted.

    Learners that nobody wants go first, then voters that nobody wants, the dead before the living;
    a learner is promoted before another is added. No change is proposed after which the members
    that answer would be fewer than a quorum of those that vote.

    Args:
        members: as `EtcdMembers.survey` gives them.
        wanted: all that there are to be; empty makes no sense and is refused.
    """
    voters = [seen for seen in members if not seen.member.learner]
    learners = [seen for seen in members if seen.member.learner]
    there = sum(seen.healthy for seen in voters)
    if not wanted:
        return NextStep(Move.REFUSE, "a cluster of no members is none")
    if there < quorum(len(voters)):
        silent = ", ".join(seen.member.title for seen in voters if not seen.healthy)
        text = f"{there} of {len(voters)} members answer, {quorum(len(voters))} are a quorum"
        return NextStep(Move.REFUSE, f"{text}: {silent or 'nobody'} must come back first")
    urls = {member.peer_url for member in wanted}
    if (gone := next((s for s in learners if not _is_wanted(s, urls)), None)) is not None:
        reason = f"{gone.member.title} is a learner that is not wanted"
        return NextStep(Move.REMOVE, reason, gone.member.id)
    unwanted = sorted(
        (seen for seen in voters if not _is_wanted(seen, urls)),
        key=lambda seen: (seen.healthy, seen.member.name, seen.member.id),
    )
    if unwanted:
        return _removal(unwanted[0], voters)
    if learners:
        return _promotion(learners[0])
    return _addition(voters, wanted)


def _is_wanted(seen: Seen, urls: set[str]) -> bool:
    return not urls.isdisjoint(seen.member.peer_urls)


def _removal(seen: Seen, voters: Sequence[Seen]) -> NextStep:
    left = len(voters) - 1
    there = sum(other.healthy for other in voters if other is not seen)
    title = seen.member.title
    if left == 0:
        return NextStep(Move.REFUSE, f"{title} is the only member: with it all data would go")
    if there < quorum(left):
        text = f"without {title} {there} of {left} members would answer"
        return NextStep(Move.REFUSE, f"{text}, {quorum(left)} are a quorum")
    state = "answers, and is not wanted any more" if seen.healthy else "is gone for good"
    return NextStep(Move.REMOVE, f"{title} {state}", seen.member.id)


def _promotion(seen: Seen) -> NextStep:
    title = seen.member.title
    if not seen.member.started:
        return NextStep(Move.WAIT, f"{title} has not started yet")
    if not seen.healthy:
        return NextStep(Move.WAIT, f"{title} is a learner and does not answer")
    return NextStep(Move.PROMOTE, f"{title} is a learner", seen.member.id)


def _addition(voters: Sequence[Seen], wanted: Collection[WantedMember]) -> NextStep:
    known = {url for seen in voters for url in seen.member.peer_urls}
    missing = next((member for member in wanted if member.peer_url not in known), None)
    if missing is None:
        return NextStep(Move.NOTHING, f"all {len(voters)} members vote")
    silent = [seen.member.title for seen in voters if not seen.healthy]
    if silent:
        text = f"{', '.join(silent)} must answer before etcd admits {missing.name}"
        return NextStep(Move.WAIT, text)
    reason = f"{missing.name} is to be a member"
    return NextStep(Move.ADD_LEARNER, reason, peer_url=missing.peer_url)
