"""What may be changed next in etcd's membership. Pure.

etcd is changed one member at a time: a new one comes in as a learner, which has no vote, and is
promoted once it has the log; a member that is to go is removed before its successor is added,
because etcd admits nobody while a voter is not connected (``--strict-reconfig-check``). See etcd's
"Runtime reconfiguration" and "Learner" guides.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from kubedcos.kubernetes.etcd_members import Seen


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


def stop_objection(members: Collection[Seen], name: str) -> str:
    """Why a member must not stop now, be it to come back at once; empty when it may.

    A learner has no vote, and whoever is no member is missed by nobody.

    Args:
        members: as `EtcdMembers.survey` gives them.
        name: of the member that is to stop.
    """
    voters = [seen for seen in members if not seen.member.learner]
    others = [seen for seen in voters if seen.member.name != name]
    there, needed = sum(seen.healthy for seen in others), quorum(len(voters))
    if len(others) == len(voters) or there >= needed:
        return ""
    silent = ", ".join(seen.member.title for seen in others if not seen.healthy)
    without = f"without {name} {there} of {len(voters)} members would answer, {needed} are a quorum"
    return f"{without}: {silent} must come back" if silent else without


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
