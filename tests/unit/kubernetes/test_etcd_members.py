"""etcd's membership changes one member at a time, and never by our doing below its quorum."""

from __future__ import annotations

import asyncio

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubedcos.kubernetes.etcd_members import EtcdMembers, EtcdRefused, EtcdUnreachable, Member, Seen
from kubedcos.kubernetes.etcd_reconfiguration import Move, WantedMember, next_step

from .fake_etcd import FakeEtcd, FakeMember


def seen(name: str, *, up: bool = True, learner: bool = False, started: bool = True) -> Seen:
    member = Member(
        id=sum(name.encode()),
        name=name if started else "",
        peer_urls=(f"https://{name}:2380",),
        client_urls=(f"https://{name}:2379",) if started else (),
        learner=learner,
    )
    return Seen(member, up and started)


def wanted(*names: str) -> list[WantedMember]:
    return [WantedMember(f"etcd-{at}", f"https://{name}:2380") for at, name in enumerate(names)]


THREE = [seen("a"), seen("b"), seen("c")]


@pytest.mark.parametrize(
    ("members", "names", "move", "about"),
    [
        ([seen("a")], "a", Move.NOTHING, "all 1 members vote"),
        ([seen("a")], "ab", Move.ADD_LEARNER, "etcd-1 is to be a member"),
        ([seen("a"), seen("b", learner=True)], "abc", Move.PROMOTE, "b is a learner"),
        (
            [seen("a"), seen("b", learner=True, started=False)],
            "abc",
            Move.WAIT,
            "the member at https://b:2380 has not started yet",
        ),
        (
            [seen("a"), seen("b", learner=True, up=False)],
            "ab",
            Move.WAIT,
            "b is a learner and does not answer",
        ),
        # A successor is not added beside the dead: the dead go first.
        ([*THREE[:2], seen("c", up=False)], "abd", Move.REMOVE, "c is gone for good"),
        ([*THREE[:2], seen("d", learner=True)], "abc", Move.REMOVE, "a learner that is not wanted"),
        # Who is dead but wanted is waited for, by others too.
        ([*THREE[:2], seen("c", up=False)], "abc", Move.NOTHING, "all 3 members vote"),
        ([seen("a"), seen("b", up=False)], "abc", Move.REFUSE, "1 of 2 members answer"),
        ([*THREE[:2], seen("c", up=False)], "abcd", Move.WAIT, "c must answer before"),
        # Whoever would be missed does not go.
        ([seen("a")], "b", Move.REFUSE, "a is the only member"),
        ([seen("a"), seen("b", up=False)], "b", Move.REFUSE, "b must come back first"),
        ([*THREE[:2], seen("c", up=False)], "bcd", Move.REFUSE, "without a 1 of 2 members"),
        (
            [*THREE, seen("d", up=False), seen("e", up=False)],
            "bcdef",
            Move.REFUSE,
            "without a 2 of 4 members would answer, 3 are a quorum",
        ),
        # The dead before the living.
        ([*THREE, seen("d", up=False)], "ab", Move.REMOVE, "d is gone for good"),
        (THREE, "ab", Move.REMOVE, "c answers, and is not wanted any more"),
        (
            [seen("a"), seen("b", up=False), seen("c", up=False)],
            "ade",
            Move.REFUSE,
            "1 of 3 members answer, 2 are a quorum: b, c must come back first",
        ),
        (THREE, "", Move.REFUSE, "a cluster of no members"),
    ],
)
def test_the_next_step(members: list[Seen], names: str, move: Move, about: str) -> None:
    step = next_step(members, wanted(*names))
    assert step.move is move
    assert about in step.reason


@given(
    st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=7),
    st.sets(st.sampled_from("abcdefghij"), min_size=1, max_size=5),
)
def test_no_step_costs_the_quorum(states: list[tuple[bool, bool, bool]], names: set[str]) -> None:
    members = [
        seen("abcdefg"[at], up=up, learner=learner, started=started)
        for at, (up, learner, started) in enumerate(states)
    ]
    step = next_step(members, wanted(*sorted(names)))
    after = list(members)
    match step.move:
        case Move.REMOVE:
            after = [one for one in members if one.member.id != step.member_id]
            assert len(after) == len(members) - 1
        case Move.PROMOTE:
            after = [
                Seen(_voter(one.member), one.healthy) if one.member.id == step.member_id else one
                for one in members
            ]
    voters = [one for one in after if not one.member.learner]
    if step.move not in (Move.REFUSE, Move.WAIT):
        assert 2 * sum(one.healthy for one in voters) > len(voters)


def _voter(member: Member) -> Member:
    return Member(member.id, member.name, member.peer_urls, member.client_urls, learner=False)


# --- the client ----------------------------------------------------------------------------------


def cluster_of(*hosts: str) -> FakeEtcd:
    etcd = FakeEtcd()
    for at, host in enumerate(hosts):
        etcd.members.append(
            FakeMember(at + 1, f"https://{host}:2380", name=f"etcd-{at}", alive=True)
        )
    return etcd


def client(etcd: FakeEtcd, *hosts: str) -> EtcdMembers:
    found = etcd.client
    return EtcdMembers(lambda: found, [f"https://{host}:2379" for host in hosts or "abc"])


def test_members_are_listed_with_numbers_beyond_what_floats_hold() -> None:
    etcd = cluster_of("a", "b")
    etcd.members[0].id = 2**64 - 3
    etcd.members[1].learner = True
    first, second = asyncio.run(client(etcd).list())
    assert (first.id, first.name, first.learner) == (2**64 - 3, "etcd-0", False)
    assert second.learner
    assert second.client_urls == ("https://b:2379",)


def test_whoever_does_not_answer_is_passed_over() -> None:
    etcd = cluster_of("a", "b", "c", "d")
    etcd.at("a").alive = False
    etcd.at("b").learner = True
    assert len(asyncio.run(client(etcd).list())) == 4


def test_nobody_answers() -> None:
    etcd = cluster_of("a", "b", "c")
    for host in "ab":
        etcd.at(host).alive = False
    with pytest.raises(EtcdUnreachable, match=r"a:2379: refused; .*c:2379: etcd: no leader"):
        asyncio.run(client(etcd).list())
    with pytest.raises(EtcdUnreachable, match="no member of etcd is known"):
        asyncio.run(EtcdMembers(lambda: etcd.client, ()).list())


def test_what_is_not_etcd_is_no_answer() -> None:
    page = httpx2.Response(502, text="<html>")
    web = httpx2.AsyncClient(transport=httpx2.MockTransport(lambda _: page))
    with pytest.raises(EtcdUnreachable, match="502, not an answer of etcd"):
        asyncio.run(EtcdMembers(lambda: web, ["https://a:2379"]).list())


def test_a_learner_comes_in_once_even_if_the_answer_is_lost() -> None:
    etcd = cluster_of("a", "b")
    etcd.lost_answers = 1
    added = asyncio.run(client(etcd).add_learner("https://d:2380"))
    assert added.learner
    assert added.peer_urls == ("https://d:2380",)
    assert etcd.changes == ["add d"]
    with pytest.raises(EtcdRefused, match="too many learner members"):
        asyncio.run(client(etcd).add_learner("https://e:2380"))


def test_a_promotion_and_a_removal_are_done_once_even_if_the_answer_is_lost() -> None:
    etcd = cluster_of("a", "b", "c", "d")
    etcd.at("d").learner = True
    etcd.lost_answers = 1
    asyncio.run(client(etcd).promote(etcd.at("d").id))
    etcd.lost_answers = 1
    asyncio.run(client(etcd).remove(etcd.at("c").id))
    asyncio.run(client(etcd).remove(12345))
    assert etcd.changes == ["promote etcd-3@d", "remove etcd-2@c"]


def test_a_learner_that_lags_is_not_promoted() -> None:
    etcd = cluster_of("a", "b", "c")
    lagging = etcd.at("c")
    lagging.learner, lagging.caught_up = True, False
    with pytest.raises(EtcdRefused, match="in sync with leader"):
        asyncio.run(client(etcd).promote(lagging.id))


def test_a_survey_says_who_answers() -> None:
    etcd = cluster_of("a", "b", "c")
    etcd.at("b").alive = False
    survey = asyncio.run(client(etcd).survey())
    assert {one.member.name: one.healthy for one in survey} == {
        "etcd-0": True,
        "etcd-1": False,
        "etcd-2": True,
    }
    assert asyncio.run(client(etcd).alarms()) == ()


def test_a_member_is_replaced_step_by_step() -> None:
    """From three members, one of them dead, to three with a new one, by next_step alone."""
    etcd = cluster_of("a", "b", "c")
    etcd.at("c").alive = False
    etcd_client = client(etcd, "a", "b")
    for _ in range(10):
        step = next_step(asyncio.run(etcd_client.survey()), wanted("a", "b", "d"))
        if step.move is Move.NOTHING:
            break
        match step.move:
            case Move.REMOVE:
                asyncio.run(etcd_client.remove(step.member_id))
            case Move.ADD_LEARNER:
                asyncio.run(etcd_client.add_learner(step.peer_url))
            case Move.PROMOTE:
                asyncio.run(etcd_client.promote(step.member_id))
            case Move.WAIT:
                etcd.start("etcd-2", "d")
    assert etcd.changes == ["remove etcd-2@c", "add d", "promote etcd-2@d"]
    assert etcd.names() == ["etcd-0@a", "etcd-1@b", "etcd-2@d"]


def test_members_that_were_never_started_are_called_by_their_place() -> None:
    member = Member(1, "", ("https://d:2380",))
    assert Seen(member, healthy=False).member.title == "the member at https://d:2380"
