"""What is served before a scheduler leads: that it stands by, and where the one is that leads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from kubedcos import __version__
from kubedcos.errors import ExitCode
from kubedcos.scheduler import life

HEALTH: Final = "/v1/health"
_KNOWN_FOR_SECONDS: Final = 1.0
"""Strangers may ask as often as they like; ZooKeeper is not asked more often than this."""


class Front:
    """Serves the API once this scheduler leads, and before that a word about who does.

    Args:
        leader: finds out where the API of the scheduler that leads is; empty when nobody knows.

    Attributes:
        app: the API; None while this scheduler does not lead.
        taking_over: it leads and is reading the state.
    """

    def __init__(self, leader: Callable[[], Awaitable[str]]) -> None:
        self.app: ASGIApp | None = None
        self.taking_over = False
        self._find_leader = leader
        self._leader = ""
        self._asked_at = float("-inf")
        self._asking = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self.app is not None:
            await self.app(scope, receive, send)
            return
        answer = await self._health() if scope["path"] == HEALTH else await self._refusal()
        await answer(scope, receive, send)

    async def _health(self) -> JSONResponse:
        role = "taking-over" if self.taking_over else "standby"
        leader = await self._known_leader()
        stage = life.starting() if self.taking_over else life.standby(leader)
        return JSONResponse(
            {
                "version": __version__,
                "healthy": True,
                "stage": str(stage.stage),
                "role": role,
                "leader": leader or None,
            },
            stage.code,
            headers={"Cache-Control": "no-store"},
        )

    async def _refusal(self) -> JSONResponse:
        leader = await self._known_leader()
        if self.taking_over:
            text = "this scheduler has just taken over and is reading the state; ask again"
        elif leader:
            text = f"this scheduler stands by; {leader} leads"
        else:
            text = "this scheduler stands by, and none leads at the moment; ask again"
        return JSONResponse(
            {"error": text, "exit_code": int(ExitCode.INCOMPLETE), "leader": leader or None},
            503,
            headers={"Retry-After": "1", "Cache-Control": "no-store"},
        )

    async def _known_leader(self) -> str:
        async with self._asking:
            if time.monotonic() - self._asked_at >= _KNOWN_FOR_SECONDS:
                self._leader = await self._find_leader()
                self._asked_at = time.monotonic()
            return self._leader
