"""Members of etcd come in one by one, whatever is cut off on the way; nothing is founded twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import pytest

from kubedcos.kubernetes.delivery import NotReady
from kubedcos.kubernetes.etcd_members import EtcdRefused, EtcdUnreachable
from kubedcos.kubernetes.etcd_membership import Applicant, EtcdMembership, Seat
from kubedcos.kubernetes.vault import MemorySecretStore

from .fake_etcd import FakeEtcd

pytestmark = pytest.mark.long


@dataclass
class Site:
    """Agents a, b, c, … with etcd tasks, their volumes, and a scheduler that may forget itself."""

    etcd: FakeEtcd = field(default_factory=FakeEtcd)
    store: MemorySecretStore = field(default_factory=MemorySecretStore)
    tasks: dict[str, str] = field(default_factory=dict)
    volumes: dict[str, set[str]] = field(default_factory=dict)
    logs: dict[tuple[str, str], int] = field(default_factory=dict)
    in_use: bool = False
    turns: ClassVar[asyncio.Runner]

    @property
    def membership(self) -> EtcdMembership:
        """Of a scheduler that was started just now."""
        client = self.etcd.client
        return EtcdMembership(
            self.store, lambda: client, lambda: sorted(self.tasks.values()), lambda: self.in_use
        )

    def ask(self, name: str, agent: str) -> Seat:
        """The task of `name` on `agent` asks for its keys."""
        self.tasks[name] = agent
        one = Applicant(name, agent, frozenset(self.volumes.setdefault(agent, set())))
        return self.turns.run(self.membership.seat(one))

    def run(self, name: str, agent: str) -> Seat:
        """It asks, and etcd starts with what it was told."""
        seat = self.ask(name, agent)
        for folder in seat.stale:
            self.volumes[agent] -= {folder, f"{folder}/member", f"{folder}/member/wal"}
            del self.logs[agent, folder]
        self.volumes[agent] |= {seat.folder, f"{seat.folder}/member", f"{seat.folder}/member/wal"}
        known = any(member.host == agent for member in self.etcd.members)
        if known:
            self._sound(name, agent, seat)
        self.etcd.start(name, agent, founder=not known)
        self.logs[agent, seat.folder] = self.etcd.at(agent).id
        return seat

    def _sound(self, name: str, agent: str, seat: Seat) -> None:
        """A log is that of the member itself, and a voter has one."""
        member = self.etcd.at(agent)
        log = self.logs.get((agent, seat.folder))
        assert log in {None, member.id}, f"{name} starts with the log of another"
        assert log == member.id or not member.name, f"{name} has forgotten its log"
        assert (name, member.peer_url) in seat.members
        assert len(seat.members) == len(self.etcd.members), "etcd would refuse this list"

    def ready(self, name: str) -> str:
        """Empty when ready, else why not."""
        return self.turns.run(self.membership.readiness(name, self.tasks[name])).reason

    def stage(self, *agents: str) -> None:
        for at, agent in enumerate(agents):
            self.run(f"etcd-{at}", agent)
            while self.ready(f"etcd-{at}"):
                pass
        self.in_use = True

    @property
    def alive(self) -> int:
        return sum(member.alive for member in self.etcd.members if not member.learner)

    @property
    def voters(self) -> int:
        return sum(not member.learner for member in self.etcd.members)

    def stop(self, name: str, *, lose_volume: bool = False) -> None:
        agent = self.tasks.pop(name)
        self.etcd.at(agent).alive = False
        if lose_volume:
            self.volumes[agent] = set()
            self.logs = {place: id_ for place, id_ in self.logs.items() if place[0] != agent}


@pytest.fixture(scope="module", autouse=True)
def _turns() -> Iterator[None]:
    """One event loop for all: there are thousands of turns."""
    with asyncio.Runner() as Site.turns:
        yield


@pytest.fixture
def three() -> Site:
    site = Site()
    site.stage("a", "b", "c")
    site.etcd.changes.clear()
    return site


def test_the_first_founds_and_the_others_join_one_by_one() -> None:
    site = Site()
    seat = site.run("etcd-0", "a")
    assert seat == Seat("etcd", founds=True, members=(("etcd-0", "https://a:2380"),))
    assert site.ready("etcd-0") == ""
    seat = site.run("etcd-1", "b")
    assert not seat.founds
    assert seat.folder == f"etcd-{site.etcd.at('b').id:x}"
    assert seat.members == (("etcd-0", "https://a:2380"), ("etcd-1", "https://b:2380"))
    assert site.ready("etcd-1") == "etcd-1 has just been given its vote"
    assert site.ready("etcd-1") == ""
    site.run("etcd-2", "c")
    site.ready("etcd-2")
    assert site.etcd.names() == ["etcd-0@a", "etcd-1@b", "etcd-2@c"]
    assert site.etcd.changes == ["add b", "promote etcd-1@b", "add c", "promote etcd-2@c"]


def test_the_others_wait_for_the_founder() -> None:
    site = Site()
    site.ask("etcd-0", "a")
    with pytest.raises(NotReady, match="etcd-1 joins after etcd-0 has founded etcd"):
        site.ask("etcd-1", "b")


def test_a_founder_that_never_worked_may_found_elsewhere() -> None:
    site = Site()
    site.ask("etcd-0", "a")
    assert site.ask("etcd-0", "b").members == (("etcd-0", "https://b:2380"),)


def test_a_request_that_comes_twice_adds_one_member() -> None:
    site = Site()
    site.stage("a")
    first = site.ask("etcd-1", "b")
    assert site.ask("etcd-1", "b") == first
    site.etcd.lost_answers = 1  # of the next addition, if there were one
    assert site.run("etcd-1", "b") == first
    assert site.etcd.changes == ["add b"]


def test_a_scheduler_killed_after_the_addition_goes_on() -> None:
    site = Site()
    site.stage("a")
    site.tasks["etcd-1"] = "b"
    asyncio.run(site.membership.members().add_learner("https://b:2380"))
    site.run("etcd-1", "b")
    assert site.etcd.changes == ["add b"]
    assert site.etcd.names() == ["etcd-0@a", "etcd-1@b (learner)"]


def test_a_learner_that_lags_is_not_ready() -> None:
    site = Site()
    site.stage("a")
    site.run("etcd-1", "b")
    site.etcd.at("b").caught_up = False
    with pytest.raises(EtcdRefused, match="in sync with leader"):
        site.ready("etcd-1")
    assert site.etcd.at("b").learner


@pytest.mark.parametrize("name", ["etcd-0", "etcd-1"])
def test_a_restart_in_place_changes_nothing(three: Site, name: str) -> None:
    agent = three.tasks[name]
    before = f"etcd-{three.etcd.at(agent).id:x}" if name == "etcd-1" else "etcd"
    three.stop(name)
    seat = three.run(name, agent)
    assert (seat.folder, seat.founds, seat.stale) == (before, False, ())
    assert three.etcd.changes == []
    assert three.ready(name) == ""


def test_a_member_that_moves_takes_the_place_of_its_predecessor(three: Site) -> None:
    three.stop("etcd-0")
    seat = three.run("etcd-0", "d")
    assert three.etcd.changes == ["remove etcd-0@a", "add d"]
    assert ("etcd-0", "https://d:2380") in seat.members
    three.ready("etcd-0")
    assert three.etcd.names() == ["etcd-0@d", "etcd-1@b", "etcd-2@c"]
    # The founder's folder is not the successor's: it would start with a removed member's data.
    assert seat.folder != "etcd"


def test_a_predecessor_that_still_runs_is_removed_too(three: Site) -> None:
    three.run("etcd-2", "d")
    assert three.etcd.changes == ["remove etcd-2@c", "add d"]


def test_a_member_without_its_data_comes_in_anew(three: Site) -> None:
    """It must not vote with a log that it has forgotten."""
    old = three.etcd.at("b").id
    three.stop("etcd-1", lose_volume=True)
    seat = three.run("etcd-1", "b")
    assert three.etcd.changes == ["remove etcd-1@b", "add b"]
    assert three.etcd.at("b").id != old
    assert seat.folder == f"etcd-{three.etcd.at('b').id:x}"


def test_data_of_a_member_that_was_removed_go(three: Site) -> None:
    agent = three.etcd.at("c")
    three.stop("etcd-2")
    three.etcd.members.remove(agent)  # by hand, say
    seat = three.run("etcd-2", "c")
    assert seat.stale == (f"etcd-{agent.id:x}",)
    assert three.etcd.changes == ["add c"]


def test_nobody_joins_while_a_voter_is_away(three: Site) -> None:
    three.stop("etcd-1")
    with pytest.raises(NotReady, match=r"etcd-1 must answer before etcd admits etcd-3"):
        three.ask("etcd-3", "d")
    assert three.etcd.changes == []


def test_a_learner_of_a_task_that_is_no_more_makes_room(three: Site) -> None:
    three.ask("etcd-3", "d")
    del three.tasks["etcd-3"]
    three.run("etcd-3", "e")
    assert three.etcd.changes == ["add d", "remove ?@d", "add e"]


def test_without_a_quorum_whoever_has_data_starts_with_them(three: Site) -> None:
    """All agents had no power: nobody can ask anybody, and all come back."""
    for name in ("etcd-0", "etcd-1", "etcd-2"):
        three.stop(name)
    folders = [three.run(f"etcd-{at}", agent).folder for at, agent in enumerate("abc")]
    assert folders[0] == "etcd"
    assert folders[1:] == [f"etcd-{three.etcd.at(agent).id:x}" for agent in "bc"]
    assert three.etcd.changes == []
    assert three.ready("etcd-1") == ""


def test_without_a_quorum_nobody_else_comes_in(three: Site) -> None:
    for name in ("etcd-1", "etcd-2"):
        three.stop(name)
    with pytest.raises(NotReady, match="etcd-1 has no data, and no quorum of etcd takes it in"):
        three.ask("etcd-1", "d")
    with pytest.raises(EtcdUnreachable):
        three.ready("etcd-0")


@pytest.mark.parametrize("remembered", [True, False])
def test_a_cluster_whose_data_are_lost_is_not_founded_anew(*, remembered: bool) -> None:
    site = Site()
    site.stage("a")
    if not remembered:
        site.store.delete("etcd-members")  # staged by a version that kept no such record
    site.stop("etcd-0", lose_volume=True)
    with pytest.raises(NotReady, match="etcd-0 has no data"):
        site.ask("etcd-0", "a")


def test_a_cluster_of_before_there_were_records_grows() -> None:
    site = Site()
    site.stage("a")
    site.store.delete("etcd-members")
    site.stop("etcd-0")
    assert site.run("etcd-0", "a").folder == "etcd"
    site.store.delete("etcd-members")
    site.run("etcd-1", "b")
    site.stop("etcd-0")
    assert site.membership.record.founder == "etcd-0"
    assert site.run("etcd-0", "a").folder == "etcd"


def test_another_etcd_at_the_address_is_not_ours(three: Site) -> None:
    three.tasks["etcd-1"] = "x"
    assert three.ready("etcd-1") == "etcd lists no member at x"


@pytest.mark.parametrize("seed", range(300))
def test_whatever_befalls_members_the_cluster_comes_to_rest_with_three(seed: int) -> None:
    """Tasks die, move and lose volumes; answers get lost; the scheduler forgets what it can."""
    chance = random.Random(seed)
    site = Site()
    site.stage("a", "b", "c")
    names = ["etcd-0", "etcd-1", "etcd-2"]
    for _ in range(12):
        name = chance.choice(names)
        # Faults alone do not take the quorum here; what this program does must not, either.
        spare = site.voters == 3 and site.alive == 3
        match chance.randrange(5):
            case 0 if spare and name in site.tasks:
                site.stop(name, lose_volume=chance.random() < 0.4)
            case 1:
                site.etcd.lost_answers = chance.randrange(2)
            case _:
                _try(site, name, chance)
        assert site.alive > site.voters // 2, f"{site.etcd.names()} after {site.etcd.changes}"
    site.etcd.lost_answers = 0
    for _ in range(4):
        for name in names:
            _try(site, name, chance)
    assert [member.split("@")[0] for member in site.etcd.names()] == names


def _try(site: Site, name: str, chance: random.Random) -> None:
    """What the scheduler does for a member that runs, and for one that does not."""
    with contextlib.suppress(NotReady, EtcdRefused, EtcdUnreachable):
        if name in site.tasks and any(
            member.host == site.tasks[name] and member.alive for member in site.etcd.members
        ):
            for _ in range(2):
                site.ready(name)
        else:
            free = sorted(set("abcdef") - set(site.tasks.values()))
            home = site.tasks.get(name)
            site.run(name, home or chance.choice(free))
