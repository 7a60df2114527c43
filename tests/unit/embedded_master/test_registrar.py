"""Decisions are stored together, and nothing of them is seen before."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kubedcos.clock import SystemClock
from kubedcos.embedded.master.effects import Allocate, Effects, SaveRegistry
from kubedcos.embedded.master.registrar import Registrar


class Log:
    """What happened, in order."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.fails = False

    def save(self) -> None:
        self.entries.append("save")
        if self.fails:
            raise OSError("disk full")

    def perform(self, effects: Effects) -> None:
        self.entries.append(f"perform {len(effects)}")

    def decision(self, name: str) -> Any:
        def decide() -> tuple[str, Effects]:
            self.entries.append(name)
            return name, [SaveRegistry(), Allocate()]

        return decide


def test_what_waits_together_is_stored_once_before_anything_is_seen() -> None:
    async def story() -> None:
        log = Log()
        registrar = Registrar(log.save, log.perform, SystemClock())
        answers = [registrar.submit(log.decision(name)) for name in ("one", "two", "three")]
        for answer, name in zip(answers, ("one", "two", "three"), strict=True):
            answer.add_done_callback(lambda _, name=name: log.entries.append(f"answer {name}"))
        assert await asyncio.gather(*answers) == ["one", "two", "three"]
        assert log.entries[:5] == ["one", "two", "three", "save", "perform 3"]
        assert log.entries[5:8] == ["answer one", "answer two", "answer three"]

    asyncio.run(story())


def test_a_refusal_reaches_only_who_asked() -> None:
    async def story() -> None:
        log = Log()
        registrar = Registrar(log.save, log.perform, SystemClock())

        def refuse() -> tuple[str, Effects]:
            raise LookupError("no")

        refused, admitted = registrar.submit(refuse), registrar.submit(log.decision("one"))
        with pytest.raises(LookupError):
            await refused
        assert await admitted == "one"

    asyncio.run(story())


def test_nothing_is_seen_of_what_could_not_be_stored() -> None:
    async def story() -> None:
        log = Log()
        log.fails = True
        registrar = Registrar(log.save, log.perform, SystemClock())
        with pytest.raises(OSError, match="disk full"):
            await registrar.submit(log.decision("one"))
        assert log.entries == ["one", "save"]

    asyncio.run(story())


def test_a_refusal_alone_stores_nothing() -> None:
    async def story() -> None:
        log = Log()
        registrar = Registrar(log.save, log.perform, SystemClock())
        assert await registrar.submit(lambda: ("seen", [])) == "seen"
        assert "save" not in log.entries

    asyncio.run(story())
