"""Looked up or looked through: the answers are the same."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from kubedcos.model.offer import Agent
from kubedcos.model.service import Goal, ServiceSpec, TaskSpec
from kubedcos.scheduler.world import World, running
from kubedcos.state.memory import MemoryStore
from kubedcos.state.records import PodRecord, TaskRecord

SPEC = ServiceSpec("k8s", "k8s", (), ())
AGENTS = tuple(Agent(f"S{number}", f"host-{number}") for number in range(3))
STATES = ("INTENDED", "TASK_RUNNING", "TASK_KILLING", "TASK_FINISHED", "TASK_FAILED")

tasks = st.builds(
    lambda number, index, name, goal, agent, state, ended, ready, kill_asked: TaskRecord(
        f"pod-{index}-{name}__{number}",
        "pod",
        index,
        TaskSpec(name, name, 1.0, 1, 1, goal=goal),
        agent,
        state=state,
        ended_at=ended,
        ready=ready,
        kill_asked=kill_asked,
    ),
    st.integers(0, 2),
    st.integers(0, 2),
    st.sampled_from("xy"),
    st.sampled_from(Goal),
    st.sampled_from(AGENTS),
    st.sampled_from(STATES),
    st.sampled_from([None, 5.0]),
    st.booleans(),
    st.booleans(),
)
pods = st.builds(
    lambda index, agent, confirmed: PodRecord("pod", index, agent, "r", confirmed=confirmed),
    st.integers(0, 2),
    st.sampled_from(AGENTS),
    st.booleans(),
)
steps = st.lists(st.tuples(st.booleans(), tasks | pods), max_size=30)


def _is_unready(task: TaskRecord) -> bool:
    if task.ready or task.kill_asked:
        return False
    if task.spec.goal is Goal.FINISHED:
        return task.state == "TASK_FINISHED"
    return task.alive and task.state == "TASK_RUNNING"


@given(steps)
def test_every_question_has_the_answer_of_a_look_at_all(
    found: list[tuple[bool, TaskRecord | PodRecord]],
) -> None:
    world = World(MemoryStore(), SPEC)
    for gone, record in found:
        table = world.tasks if isinstance(record, TaskRecord) else world.pods
        known = table.get(record.key)
        if not gone:
            world.commit([record])
        elif known is not None:
            world.commit(remove=[known])
    everything = list(world.tasks.values())
    alive = [task for task in everything if task.alive]
    assert sorted(task.key for task in world.alive) == sorted(task.key for task in alive)
    for index in range(3):
        of_pod = {task.key for task in alive if task.index == index}
        assert {task.key for task in world.of_pod(f"pod-{index}")} == of_pod
        agents = {task.agent.id for task in alive if task.index == index}
        home = world.pods.get(f"pod-{index}")
        if not agents and home is not None and home.confirmed:
            agents = {home.agent.id}
        placed = world.surroundings().placed.get(("pod", index))
        assert placed.id in agents if placed is not None else not agents
    for agent in AGENTS:
        there = {task.key for task in alive if task.agent == agent}
        assert {task.key for task in world.on_agent(agent.id)} == there
    for task in everything:
        assert world.task(task.task_id) is not None
        assert world.is_unready(task) == _is_unready(task)
    assert world.task("nobody") is None
    known_running = {it.launch.task_id: it for it in world.running()}
    assert known_running == {
        task.task_id: running(task) for task in alive if task.state == "TASK_RUNNING"
    }
    assert {task.key for task in world.unready} == {t.key for t in everything if _is_unready(t)}


def test_the_newest_record_is_found() -> None:
    world = World(MemoryStore(), SPEC)
    task = TaskRecord("t-1", "pod", 0, TaskSpec("t", "t", 1.0, 1, 1), AGENTS[0])
    world.commit([task])
    world.commit([replace(task, task_id="t-2", agent=AGENTS[1])])
    assert world.task("t-1") is None
    assert world.on_agent("S0") == ()
    assert [found.task_id for found in world.on_agent("S1")] == ["t-2"]
