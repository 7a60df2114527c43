import math
from pathlib import Path

import msgspec
import pytest

from kubedcos.embedded.agent.paths import Layout, Run
from kubedcos.embedded.agent.sandbox_gc import SandboxGc, longest_age
from kubedcos.embedded.agent.store import Store
from kubedcos.mesos.messages import AgentID, AgentInfo, FrameworkInfo, Resource, Scalar, TaskInfo

RUN = Run("f-1", "t-1", "c-1")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Layout(tmp_path / "work", tmp_path / "run"))


def framework(*, checkpoint: bool = True) -> FrameworkInfo:
    info = {"user": "root", "name": "f", "id": {"value": "f-1"}, "checkpoint": checkpoint}
    return msgspec.convert(info, FrameworkInfo)


def saved(store: Store, *, checkpoint: bool = True) -> None:
    task = {"name": "t", "task_id": {"value": "t-1"}, "agent_id": {"value": "S0"}}
    store.save_framework("S0", framework(checkpoint=checkpoint))
    store.save_task("S0", RUN, msgspec.convert(task, TaskInfo))


def test_identity(store: Store) -> None:
    assert store.identity() is None
    info = AgentInfo("host", id=AgentID("S0"))
    store.save_identity(info)
    assert store.identity() == info
    assert store.layout.latest.readlink() == Path("S0")
    store.forget_identity()
    assert store.identity() is None


def test_runs_come_back_with_their_updates(store: Store) -> None:
    saved(store)
    append = store.updates("S0", RUN)
    append({"ack": "1"})
    append({"ack": "2"})
    (found,) = store.runs("S0")
    assert (found.run, found.silent) == (RUN, False)
    assert found.records == [{"ack": "1"}, {"ack": "2"}]


def test_a_task_without_limit_comes_back(store: Store) -> None:
    """JSON has no infinity: Mesos writes it as text."""
    saved(store)
    task = next(store.runs("S0")).task
    task = msgspec.structs.replace(task, limits={"cpus": Scalar(math.inf)})
    store.save_task("S0", RUN, task)
    assert next(store.runs("S0")).task.limits["cpus"].value == math.inf


def test_a_torn_record_is_cut_off(store: Store) -> None:
    saved(store)
    append = store.updates("S0", RUN)
    append({"ack": "1"})
    with (store.layout.run("S0", RUN) / "updates").open("ab") as stream:
        stream.write(b'{"ack": "2')
    assert next(store.runs("S0")).records == [{"ack": "1"}]
    append({"ack": "3"})
    assert next(store.runs("S0")).records == [{"ack": "1"}, {"ack": "3"}]


def test_nobody_hears_of_frameworks_that_are_gone_or_do_not_checkpoint(store: Store) -> None:
    saved(store)
    store.shut_down("S0", "f-1")
    assert next(store.runs("S0")).silent
    saved(store, checkpoint=False)
    assert next(store.runs("S0")).silent


def test_a_framework_that_is_not_here_leaves_no_trace(store: Store) -> None:
    store.shut_down("S0", "f-2")
    assert not store.layout.framework("S0", "f-2").exists()


def test_resources_are_reached_in_two_steps(store: Store) -> None:
    resource = Resource("disk", "SCALAR")
    store.save_target((resource,))
    assert (store.resources(), store.target()) == ((), (resource,))
    store.save_resources((resource,))
    assert (store.resources(), store.target()) == ((resource,), None)


def test_a_boot_is_noticed_once(store: Store) -> None:
    assert not store.rebooted("a")
    assert not store.rebooted("a")
    assert store.rebooted("b")
    assert not store.rebooted("b")


class Clock:
    now = 0.0

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_old_sandboxes_are_removed_with_what_is_empty_above(store: Store) -> None:
    saved(store)
    layout = store.layout
    sandbox = layout.sandbox("S0", RUN)
    (sandbox / "d").mkdir(parents=True)
    (sandbox.parent / "latest").symlink_to("c-1")
    clock = Clock()
    gc = SandboxGc(layout, 1e9, -1.0, clock)
    gc.schedule("S0", RUN)
    clock.now = layout.run("S0", RUN).stat().st_mtime + 100
    gc.collect()
    assert sandbox.exists()
    gc.delay = 0
    gc.collect()
    assert not sandbox.exists()
    assert not layout.executor_sandboxes("S0", RUN).exists()
    assert list(store.runs("S0")) == []
    assert (gc.pending, gc.failed) == (0, 0)


def test_a_full_disk_shortens_the_age() -> None:
    assert longest_age(100, 0.1, 0.5) == pytest.approx(40)
    assert longest_age(100, 0.1, 0.95) == 0
