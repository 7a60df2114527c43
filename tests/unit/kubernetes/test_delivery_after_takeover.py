"""A scheduler that takes over knows each one-time right as the one before it did."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from structlog.testing import capture_logs

from kubedcos.kubernetes.delivery import LIFETIME, Answer
from kubedcos.kubernetes.vault import SealedSecretStore
from kubedcos.scheduler.workload import Launch
from kubedcos.state.memory import MemoryStore
from kubedcos.state.seal import Seal
from kubedcos.state.store import Deposed

from .parts import Cluster, FakeClock, make_cluster


class Deposing(MemoryStore):
    """The view of a scheduler that was deposed without noticing: it reads and cannot write."""

    def __init__(self, disk: MemoryStore) -> None:
        super().__init__()
        self._documents = disk._documents

    def write(self, *_: Any) -> None:
        raise Deposed("this scheduler does not lead any more")


@dataclass
class Story:
    """Two schedulers, one after the other, and a task that the first one launched."""

    before: Cluster
    launch: Launch
    body: bytes
    disk: MemoryStore
    clock: FakeClock

    def take_over(self) -> Cluster:
        after = _scheduler(self.disk, self.clock)
        # Sandboxes are on the agents: whoever leads reads the same.
        after.sandboxes.files = self.before.sandboxes.files
        return after


def _scheduler(disk: MemoryStore, clock: FakeClock) -> Cluster:
    seal = Seal(b"0123456789abcdef0123456789abcdef")
    return make_cluster(store=SealedSecretStore(disk, "kubernetes", seal), clock=clock)


@pytest.fixture
def story() -> Story:
    disk, clock = MemoryStore(), FakeClock()
    before = _scheduler(disk, clock)
    launch = before.launch("etcd")
    before.workload.command(launch, ())
    return Story(before, launch, before.request(launch), disk, clock)


def ask(cluster: Cluster, launch: Launch, body: bytes) -> tuple[Answer, list[str]]:
    """The answer, and the warnings and errors that were logged."""
    with capture_logs() as logs:
        answer = asyncio.run(cluster.workload.delivery.handle(launch.task_id, body, "10.89.1.66"))
    return answer, [log["event"] for log in logs if log["log_level"] in {"warning", "error"}]


def test_a_right_that_was_not_used_is_good_after_a_takeover(story: Story) -> None:
    answer, logged = ask(story.take_over(), story.launch, story.body)
    assert (answer.status, logged) == (200, [])


def test_one_that_was_used_before_is_refused_after_it_and_the_task_is_ended(story: Story) -> None:
    assert ask(story.before, story.launch, story.body)[0].status == 200
    after = story.take_over()
    answer, logged = ask(after, story.launch, story.body)
    assert answer.status == 409
    assert "files" not in answer.body
    assert logged == ["key material asked for a second time; the task has to end"]
    assert [task for task, _ in after.alarms] == [story.launch.task_id]
    # Its successor has a right of its own.
    after.workload.task_ended(story.launch.task_id)
    next_one = after.launch("etcd", run="2")
    after.workload.command(next_one, ())
    assert ask(after, next_one, after.request(next_one))[0].status == 200
    assert ask(after, story.launch, story.body)[0].status == 404


def test_the_right_of_a_task_that_ended_is_gone_for_whoever_takes_over(story: Story) -> None:
    story.before.workload.task_ended(story.launch.task_id)
    answer, logged = ask(story.take_over(), story.launch, story.body)
    assert (answer.status, logged) == (404, ["key material refused"])


def test_one_is_good_until_its_last_second(story: Story) -> None:
    story.clock.now += LIFETIME
    assert ask(story.take_over(), story.launch, story.body)[0].status == 200


def test_one_that_is_too_old_is_refused_whoever_leads(story: Story) -> None:
    story.clock.now += LIFETIME + 1
    answer, logged = ask(story.take_over(), story.launch, story.body)
    assert (answer.status, logged) == (410, ["key material was asked for too late"])


def test_a_guessed_task_is_refused_and_logged(story: Story) -> None:
    after = story.take_over()
    guessed = after.launch("etcd", run="guessed")
    answer, logged = ask(after, guessed, story.body)
    assert (answer.status, logged) == (404, ["key material refused"])


def test_a_proof_on_another_agent_is_worth_nothing(story: Story) -> None:
    """Only the sandbox on the agent that the task was launched on is looked into."""
    after = story.take_over()
    place = (story.launch.place.address, story.launch.task_id, "kubedcos-proof")
    after.sandboxes.files["10.89.1.99", *place[1:]] = after.sandboxes.files.pop(place)
    answer, logged = ask(after, story.launch, story.body)
    assert (answer.status, logged) == (503, ["key material refused"])
    after.sandboxes.files[place] = "0" * 64
    answer, logged = ask(after, story.launch, story.body)
    assert (answer.status, logged) == (403, ["key material refused"])
    assert after.alarms == []


def test_one_that_was_deposed_gives_nothing_away(story: Story) -> None:
    """The use is stored before the answer is sent, and it cannot store any more."""
    old = _scheduler(Deposing(story.disk), story.clock)
    old.sandboxes.files = story.before.sandboxes.files
    with pytest.raises(Deposed):
        asyncio.run(old.workload.delivery.handle(story.launch.task_id, story.body, "10.89.1.11"))
    assert ask(story.take_over(), story.launch, story.body)[0].status == 200
