"""What outlives the master."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.embedded.master import removal
from kubedcos.embedded.master.registry import (
    FILE_NAME,
    FileStore,
    Registry,
    forget_old,
    recover,
    registry_of,
)
from kubedcos.errors import InvalidInput

from .world import World


def test_a_new_master_expects_the_agents_of_the_last_one(tmp_path: Path) -> None:
    world = World()
    here, away, never = world.agent(), world.agent(), world.agent()
    world.perform(removal.unreachable(world.state, world.rules, away, now=5.0))
    removal.mark_gone(world.state, world.rules, never.id, now=6.0)
    store = FileStore(tmp_path / "new" / "dir")
    assert store.load() == Registry()
    store.save(registry_of(world.state))
    after = World()
    recover(after.state, store.load())
    assert after.state.recovered == {here.id: here.info}
    assert after.state.unreachable == {away.id: 5.0}
    assert after.state.gone == {never.id: 6.0}
    assert [path.name for path in (tmp_path / "new" / "dir").iterdir()] == [FILE_NAME]


def test_agents_that_are_still_expected_are_stored_again() -> None:
    world = World()
    agent = world.agent()
    after = World()
    recover(after.state, registry_of(world.state))
    assert registry_of(after.state).admitted == (agent.info,)


def test_a_damaged_registry_stops_the_master(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(InvalidInput, match=FILE_NAME):
        FileStore(tmp_path).load()


def test_a_work_dir_that_is_no_folder_stops_the_master(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match=r"file/.*: found Not a directory; wanted a registry"):
        FileStore(tmp_path / "file").load()


def test_old_and_surplus_losses_are_forgotten() -> None:
    world = World()
    world.state.unreachable = {"old": 0.0, "a": 90.0, "b": 95.0}
    assert forget_old(world.state, now=100.0, max_age=50.0, max_count=10)
    assert list(world.state.unreachable) == ["a", "b"]
    assert forget_old(world.state, now=100.0, max_age=50.0, max_count=1)
    assert list(world.state.unreachable) == ["b"]
    assert not forget_old(world.state, now=100.0, max_age=50.0, max_count=1)
