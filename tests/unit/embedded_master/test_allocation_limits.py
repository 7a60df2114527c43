"""The pause after an election, and the whitelist."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.embedded.master.allocation_limits import AllocationPause, Whitelist
from kubedcos.embedded.master.allocator import AllocationRules
from kubedcos.embedded.master.options import read_options, role_weights
from kubedcos.errors import InvalidInput

from .world import World


def test_a_pause_ends_with_enough_agents_or_with_time() -> None:
    pause = AllocationPause(agents=4, until=100.0)
    assert not pause.over(3, 99.0)
    assert pause.over(4, 0.0)
    assert pause.over(0, 100.0)


def test_a_whitelist_is_read_again_every_five_seconds(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_text("a\n\nb\n")
    hosts = Whitelist(path)
    assert hosts.hosts(0.0) == {"a", "b"}
    path.write_text("c\n")
    assert hosts.hosts(4.9) == {"a", "b"}
    assert hosts.hosts(5.0) == {"c"}
    path.unlink()
    assert hosts.hosts(10.0) == {"c"}
    path.write_text("")
    assert hosts.hosts(15.0) == set()
    assert Whitelist(None).hosts(0.0) is None


def test_only_agents_on_the_whitelist_are_offered() -> None:
    world = World()
    world.allocation = AllocationRules((), whitelist=frozenset({"elsewhere"}))
    world.agent()
    framework = world.framework()
    assert world.offers(framework) == []
    world.allocation = AllocationRules((), whitelist=frozenset({"h"}))
    world.allocate()
    assert len(world.offers(framework)) == 1


@pytest.mark.parametrize("text", ["a", "a=b", "a=0", "a=-1", "a b=1", "other=1"])
def test_wrong_weights_stop_the_master(text: str) -> None:
    with pytest.raises(InvalidInput, match="--weights"):
        role_weights(text, frozenset({"a", "b"}))


def test_flags_of_the_allocator() -> None:
    assert role_weights("a=2,b=0.5,,*=3", frozenset({"a", "b"})) == {"a": 2.0, "b": 0.5, "*": 3.0}
    given = ["--weights=a=2", "--whitelist=*", "--offer_constraints_re2_max_program_size=7"]
    options = read_options(["--ip=127.0.0.1", "--registry=in_memory", "--hostname=m", *given], {})
    assert (options.weights, options.whitelist) == ({"a": 2.0}, None)
    assert options.pattern_limits.max_memory == 4096
    assert options.pattern_limits.max_program == 7
