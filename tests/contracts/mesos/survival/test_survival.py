"""Nothing is lost that Mesos would have kept, nothing doubled, nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.contracts.mesos.engine import Cluster, wait_for

from .lab import CLEAN, Lab
from .points import POINTS, VICTIMS, Story, cells, running, slow_file
from .scheduler import TERMINAL, Scheduler

pytestmark = pytest.mark.long

CELLS = tuple(cells())
ALWAYS = {
    ("offer_out", "agent"),
    ("accept_sent", "master"),
    ("accept_sent", "agent"),
    ("resources_sent", "framework"),
    ("task_sent", "agent"),
    ("task_received", "master"),
    ("fetching", "agent"),
    ("starting_sent", "executor"),
    ("starting_unacknowledged", "framework-master"),
    ("running_unacknowledged", "agent"),
    ("running", "master-agent"),
    ("kill_passed_on", "agent"),
    ("terminating", "master"),
    ("end_sent", "agent"),
    ("end_unacknowledged", "framework"),
    ("end_acknowledged", "master"),
}
"""Each point once, each victim at least once; `--all-points` runs the whole table."""


@pytest.fixture(scope="module")
def labs(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Lab]]:
    if not cluster.own:
        pytest.skip("kills agents and masters; runs only where the tests start them")
    made: list[Lab] = []
    yield made
    for lab in made:
        lab.close()


@pytest.fixture
def lab(labs: list[Lab], tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The same lab again and again, so that each story also shows what the one before left."""
    if not labs or labs[-1].broken:
        labs.append(Lab(tmp_path_factory.mktemp("survival")))
    return labs[-1]


@pytest.mark.contract(behaviour="survival", recordings="agent-restart.jsonl")
@pytest.mark.parametrize(
    ("point", "victim", "outcome"), CELLS, ids=[f"{point}-{victim}" for point, victim, _ in CELLS]
)
def test_a_task_survives_what_it_can(
    lab: Lab, point: str, victim: str, outcome: str, request: pytest.FixtureRequest
) -> None:
    if (point, victim) not in ALWAYS and not request.config.getoption("--all-points"):
        pytest.skip("--all-points runs it")
    lab.broken = True
    scheduler = Scheduler(lab, f"{point}-{victim}")
    with slow_file() as (uri, gate):
        story = Story(lab, scheduler, gate=gate, uri=uri)
        try:
            POINTS[point](story)
            VICTIMS[victim](story)
            OUTCOMES[outcome](story)
        finally:
            story.release()
            scheduler.tear_down()
        wait_for(lambda: not lab.leftovers(), f"nothing left of {lab.leftovers()}", CLEAN)
    consistent(story)
    assert lab.started(scheduler.task_id) <= 1, "no task runs twice"
    lab.broken = False


@pytest.mark.contract(behaviour="survival")
def test_what_a_removed_framework_left_ends_when_its_agent_returns(lab: Lab) -> None:
    """A master tells a returning agent to shut down frameworks that are completed."""
    lab.broken = True
    scheduler = Scheduler(lab, "removed-meanwhile")
    running(Story(lab, scheduler))
    lab.kill_agent()
    scheduler.tear_down()
    assert lab.leftovers()
    lab.start_agent()
    wait_for(lambda: not lab.leftovers(), f"nothing left of {lab.leftovers()}", CLEAN)
    lab.broken = False


def stale(story: Story) -> None:
    story.scheduler.beside(story.scheduler.launch)
    status = story.scheduler.until("TASK_DROPPED")
    assert status["reason"] == "REASON_INVALID_OFFERS"


def never(story: Story) -> None:
    assert story.scheduler.reconciled() == "TASK_UNKNOWN"
    assert story.lab.started(story.scheduler.task_id) == 0


def dropped(story: Story) -> None:
    # On a busy machine the agent may be away for so long that the master gives it up.
    story.scheduler.until("TASK_DROPPED", "TASK_UNREACHABLE")
    never(story)


def gone(story: Story) -> None:
    story.scheduler.until("TASK_UNREACHABLE")
    never(story)


def runs(story: Story) -> None:
    story.scheduler.wait_for_state("TASK_RUNNING")
    wait_for(lambda: story.lab.started(story.scheduler.task_id) == 1, "the task runs once")
    story.scheduler.kill()
    killed(story)


def killed(story: Story) -> None:
    story.scheduler.until("TASK_KILLED")
    over(story)


def over(story: Story) -> None:
    story.scheduler.wait_for_state("TASK_UNKNOWN")
    assert story.lab.started(story.scheduler.task_id) == 1
    if story.reserves:
        story.scheduler.give_volume_back()


def failed(story: Story) -> None:
    status = story.scheduler.until("TASK_FAILED")
    assert status["reason"] == "REASON_EXECUTOR_TERMINATED"
    story.scheduler.wait_for_state("TASK_UNKNOWN")
    assert story.lab.started(story.scheduler.task_id) <= 1


OUTCOMES = {
    function.__name__: function
    for function in (stale, never, dropped, gone, runs, killed, over, failed)
}


def consistent(story: Story) -> None:
    """After an end there is only the same end, and only the framework's task is spoken of."""
    ends = [one for one in story.scheduler.told if one["state"] in TERMINAL]
    # What the master says by itself has no uuid.
    assert len({one["state"] for one in ends}) <= 1, story.scheduler.told
    assert len({one["uuid"] for one in ends if "uuid" in one}) <= 1, story.scheduler.told
    assert {one["task_id"]["value"] for one in story.scheduler.told} <= {story.scheduler.task_id}
