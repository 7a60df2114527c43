"""What a master does when elections are decided."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from kubedcos.clock import SystemClock
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.leadership import Leadership
from kubedcos.embedded.master.options import read_options
from kubedcos.embedded.master.registry import Registry, RegistryLost
from kubedcos.mesos.messages import MasterInfo, encode

from .world import domain


class Ended(Exception):
    """The process would have ended."""


def story(told: Callable[[Engine, Leadership], Awaitable[None]], *, region: str = "dc-a") -> None:
    async def run() -> None:
        flags = ["--ip=127.0.0.1", "--hostname=h", "--registry=in_memory", "--zk=zk://z:1/mesos"]
        flags.append("--domain=" + encode(domain(region)).decode())
        engine = Engine(read_options(flags, {}), SystemClock())

        def end(reason: str) -> None:
            raise Ended(reason)

        await told(engine, Leadership(engine, end))
        await engine.close()

    asyncio.run(run())


OTHER = MasterInfo(id="other", ip=0, pid="master@o:1", domain=domain("dc-a"))


def test_it_leads_when_the_registry_is_read() -> None:
    async def told(engine: Engine, leadership: Leadership) -> None:
        leadership.led_by(OTHER)
        assert engine.leader == OTHER
        leadership.led_by(engine.state.info)
        assert not engine.elected
        assert engine.leader == engine.state.info
        assert leadership.recovering is not None
        await leadership.recovering
        assert engine.elected
        leadership.led_by(engine.state.info)

    story(told)


@pytest.mark.parametrize("recovered", [True, False])
@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (OTHER, "Conceded leadership to another master... committing suicide!"),
        (None, "Lost leadership after indecisive election... committing suicide!"),
        ("lost", "Lost candidacy as a leader... committing suicide!"),
    ],
)
def test_a_deposed_leader_ends(outcome: Any, reason: str, recovered: bool) -> None:
    async def told(engine: Engine, leadership: Leadership) -> None:
        leadership.led_by(engine.state.info)
        assert leadership.recovering is not None
        if recovered:
            await leadership.recovering
        tell = leadership.lost if outcome == "lost" else partial(leadership.led_by, outcome)
        with pytest.raises(Ended, match=re.escape(reason)):
            tell()

    story(told)


def test_a_follower_goes_on() -> None:
    async def told(engine: Engine, leadership: Leadership) -> None:
        leadership.led_by(OTHER)
        leadership.lost()
        assert engine.leader is None
        leadership.led_by(None)
        leadership.led_by(OTHER)
        assert engine.leader == OTHER

    story(told)


def test_all_masters_are_in_one_region() -> None:
    async def told(_engine: Engine, leadership: Leadership) -> None:
        with pytest.raises(Ended, match="must use the same region"):
            leadership.led_by(OTHER)

    story(told, region="dc-b")


class Unreadable:
    """A registry that is out of reach, or is taken away."""

    def load(self) -> Registry:
        raise RegistryLost("out of reach")

    def save(self, _registry: Registry) -> None:
        raise RegistryLost("taken away")


def test_without_its_registry_no_master_leads() -> None:
    async def told(engine: Engine, leadership: Leadership) -> None:
        reasons: list[str] = []
        leadership._end = reasons.append
        engine.store = Unreadable()
        leadership.led_by(engine.state.info)
        assert leadership.recovering is not None
        await leadership.recovering
        assert reasons == ["Recovery failed: out of reach"]
        assert not engine.elected
        engine.unfit = reasons.append
        with pytest.raises(RegistryLost):
            engine._save_registry()
        assert reasons[-1] == "taken away... committing suicide!"

    story(told)
