"""Group commit: many decisions that change the registry are stored together.

The registry is stored as a whole, so storing it for each of a thousand agents that register at
once would cost a thousand times the whole. Decisions wait here instead; when their turn comes they
are taken one after the other, the registry is stored once, and only then does anything of them
become visible: no effect is carried out and no answer given before the store has returned, and
nothing else runs in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from kubedcos.clock import Clock
from kubedcos.embedded.master.effects import Effects, SaveRegistry

T = TypeVar("T")
Decision = Callable[[], tuple[T, Effects]]


class Registrar:
    """Decisions on their way to the store.

    Args:
        save: stores the registry as it is now, durably.
        perform: carries out effects.
        clock: tells how long storing and what follows it take. While decisions keep coming, it is
            at most half of the time.
    """

    def __init__(
        self, save: Callable[[], None], perform: Callable[[Effects], None], clock: Clock
    ) -> None:
        self._save = save
        self._perform = perform
        self._clock = clock
        self._waiting: list[tuple[Decision[Any], asyncio.Future[Any]]] = []
        self._next = 0.0

    def submit(self, decide: Decision[T]) -> asyncio.Future[T]:
        """Take a decision soon; the result, or what it raised, once it is stored."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        if not self._waiting:
            loop.call_later(max(self._next - self._clock.monotonic(), 0.0), self._commit)
        self._waiting.append((decide, future))
        return future

    def _commit(self) -> None:
        waiting, self._waiting = self._waiting, []
        decided: list[tuple[asyncio.Future[Any], Any]] = []
        effects: Effects = []
        for decide, future in waiting:
            try:
                result, wanted = decide()
            except Exception as error:
                _settle(future, error=error)
                continue
            decided.append((future, result))
            effects += wanted
        try:
            self._store(effects)
        except Exception as error:
            for future, _ in decided:
                _settle(future, error=error)
            return
        for future, result in decided:
            _settle(future, result)

    def _store(self, effects: Effects) -> None:
        started = self._clock.monotonic()
        if any(isinstance(effect, SaveRegistry) for effect in effects):
            self._save()
        self._perform([effect for effect in effects if not isinstance(effect, SaveRegistry)])
        ended = self._clock.monotonic()
        self._next = ended + (ended - started)


def _settle(
    future: asyncio.Future[Any], result: object = None, error: Exception | None = None
) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
