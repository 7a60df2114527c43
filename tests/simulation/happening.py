"""Faults happen: each begins at its time, lasts as long as it says, and is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Final

from kubedcos.errors import InvalidInput, Refused
from kubedcos.plan.interruption import Verb
from kubedcos.scheduler.steering import Operator as Person
from kubedcos.state.session import DEFAULT_TIMEOUT
from kubedcos.state.store import Deposed, StateError

from . import faults
from .link import CALM, Trouble
from .simulated_mesos import Behaviour
from .stage import Crash, Effects

if TYPE_CHECKING:
    from .drill import Drill

_ANN: Final = Person("ann", "a drill")
_AFTERWARDS: Final = {"pause": Verb.RESUME, "stop": Verb.START, "complete": Verb.RESTART}
_RETRIES: Final = 1800
"""Seconds for which an operator asks again for what the master cannot do yet."""


class Happening:
    """All faults of a drill."""

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self._mesos = drill.mesos
        self._troubles: list[Trouble] = []
        self._down: dict[str, int] = {}
        self._cuts = 0
        self._leaderless = 0
        self._failing = 0
        self._strangers = 0

    async def all(self) -> None:
        """Everything happens; returns when the last fault is over."""
        schedule = self._drill.schedule
        waiting = [self._happens(fault) for fault in schedule.faults]
        if schedule.setting.delete is not None:
            waiting.append(self._delete(schedule.setting.delete))
        await asyncio.gather(*waiting)

    async def _delete(self, after: float) -> None:
        await asyncio.sleep(after)
        self._drill.journal.note("fault", b"delete")
        self._drill.delete()

    async def _happens(self, fault: faults.Fault) -> None:
        await asyncio.sleep(fault.at)
        self._drill.journal.note("fault", repr(fault).encode())
        await self._HOW[type(fault)](self, fault)

    async def _messages(self, fault: faults.Messages) -> None:
        self._troubles.append(fault.trouble)
        self._drill.link.trouble = _together(self._troubles)
        await asyncio.sleep(fault.lasts)
        self._troubles.remove(fault.trouble)
        self._drill.link.trouble = _together(self._troubles)

    async def _connection_breaks(self, _fault: faults.ConnectionBreaks) -> None:
        await self._mesos.disconnect()

    async def _scheduler_cut(self, fault: faults.SchedulerCut) -> None:
        self._cuts += 1
        self._drill.link.cut()
        await asyncio.sleep(fault.lasts)
        self._cuts -= 1
        if not self._cuts:
            self._drill.link.mend()

    async def _offers_rescinded(self, fault: faults.OffersRescinded) -> None:
        if self._mesos.cluster.leading:
            self._mesos.rescind_offers(fault.share)

    async def _agent_cut(self, fault: faults.AgentCut) -> None:
        await self._out_of_reach([fault.host], fault.lasts)

    async def _agent_slow(self, fault: faults.AgentSlow) -> None:
        self._mesos.slow(fault.host, fault.seconds)
        await asyncio.sleep(fault.lasts)
        self._mesos.slow(fault.host, 0.0)

    async def _agent_rebooted(self, fault: faults.AgentRebooted) -> None:
        self._mesos.reboot(fault.host)
        await self._out_of_reach([fault.host], fault.lasts)

    async def _agent_gone(self, fault: faults.AgentGone) -> None:
        self._mesos.reboot(fault.host)
        self._go_down(fault.host)
        await asyncio.sleep(fault.told)
        await self._say_gone(fault.host)
        await asyncio.sleep(fault.lasts - fault.told)
        self._mesos.replace_agent(fault.host)
        self._come_back(fault.host)

    async def _say_gone(self, host: str) -> None:
        await self._insist(lambda: self._mesos.cluster.leading and self._mesos.say_gone(host))

    async def _agent_drained(self, fault: faults.AgentDrained) -> None:
        drained = self._mesos.drain(fault.host, mark_gone=fault.gone)
        await asyncio.sleep(fault.lasts)
        if not drained:
            return
        if fault.gone:
            self._mesos.reboot(fault.host)
            await self._say_gone(fault.host)
            self._mesos.replace_agent(fault.host)
        else:
            await self._insist(
                lambda: self._mesos.cluster.leading and self._mesos.reactivate(fault.host)
            )

    async def _region_cut(self, fault: faults.RegionCut) -> None:
        hosts = [h for h, agent in self._mesos.agents.items() if agent.region == fault.region]
        await self._out_of_reach(hosts, fault.lasts)

    async def _master_ends(self, fault: faults.MasterEnds) -> None:
        self._leaderless += 1
        if self._mesos.cluster.leading:
            await self._mesos.cluster.end_master()
            await self._mesos.disconnect()
        await asyncio.sleep(fault.lasts)
        self._leaderless -= 1
        if not self._leaderless:
            self._mesos.cluster.elect_another()

    async def _scheduler_killed(self, fault: faults.SchedulerKilled) -> None:
        effects: Effects = self._drill.effects
        if not effects.dead:
            self._drill.down = fault.lasts
            effects.limit = effects.count + fault.effect

    async def _rival(self, _fault: faults.Rival) -> None:
        seat = self._drill.seat
        seat.cut()
        await asyncio.sleep(DEFAULT_TIMEOUT)
        seat.lost.set()

    async def _zookeeper_cut(self, fault: faults.ZooKeeperCut) -> None:
        zookeeper = self._drill.zookeeper
        zookeeper.cut(fault.lasts, arrives=bool(int(fault.at * 100) % 2))
        if zookeeper.ends_sessions:
            await asyncio.sleep(min(DEFAULT_TIMEOUT, fault.lasts))
            self._drill.seat.over.set()
        # Somebody who was held up by it may have made the time pass already.
        await asyncio.sleep(zookeeper.out_for)

    async def _store_fails(self, fault: faults.StoreFails) -> None:
        self._failing += 1
        self._drill.watched.failing = "after" if int(fault.at * 100) % 2 else "before"
        await asyncio.sleep(fault.lasts)
        self._failing -= 1
        if not self._failing:
            self._drill.watched.failing = ""

    async def _store_slow(self, fault: faults.StoreSlow) -> None:
        self._drill.watched.slow = fault.seconds
        await asyncio.sleep(fault.lasts)
        self._drill.watched.slow = 0.0

    async def _clock_jumps(self, fault: faults.ClockJumps) -> None:
        self._drill.clock.ahead += fault.by

    async def _task_ends(self, fault: faults.TaskEnds) -> None:
        if fault.task in self._mesos.live:
            self._mesos.fail(fault.task, fault.state, healthy=fault.healthy)

    async def _crash_loop(self, fault: faults.CrashLoop) -> None:
        usual = self._drill.usual.get(fault.task)
        if usual is None:
            return
        self._mesos.behaviours[fault.task] = Behaviour(
            usual.starts_after, usual.runs_after, usual.runs_after + 1.0, "TASK_FAILED"
        )
        await self._task_ends(faults.TaskEnds(fault.at, fault.task, "TASK_FAILED"))
        await asyncio.sleep(fault.lasts)
        self._mesos.behaviours[fault.task] = usual

    async def _not_ready(self, fault: faults.NotReady) -> None:
        workload = self._drill.workload
        if fault.silent:
            workload.silent.add(fault.task)
        else:
            workload.not_ready[fault.task] = "not well"
        await asyncio.sleep(fault.lasts)
        workload.silent.discard(fault.task)
        workload.not_ready.pop(fault.task, None)

    async def _no_command(self, fault: faults.NoCommand) -> None:
        self._drill.workload.fails_for.add(fault.task)
        await asyncio.sleep(fault.lasts)
        self._drill.workload.fails_for.discard(fault.task)

    async def _operator(self, fault: faults.Operator) -> None:
        scheduler = self._drill.scheduler
        verbs: dict[str, Callable[[str], object]] = {
            "restart": scheduler.pod_restart,
            "replace": scheduler.pod_replace,
            "reconsider": scheduler.pod_replace,
            "pause": scheduler.pod_pause,
        }
        if fault.verb in ("replace", "reconsider"):
            self._mesos.given_up.add(fault.pod)
        self._asked(lambda: verbs[fault.verb](fault.pod))
        # Also what failed may have been stored.
        if fault.verb == "pause":
            await asyncio.sleep(fault.lasts)
            await self._insist(
                lambda: self._asked(lambda: self._drill.scheduler.pod_resume(fault.pod))
            )
        elif fault.verb == "reconsider":
            await asyncio.sleep(fault.lasts)
            await self._insist(
                lambda: self._asked(lambda: self._drill.scheduler.pod_cancel_replace(fault.pod))
            )

    async def _update(self, fault: faults.Update) -> None:
        await self._insist(lambda: self._drill.update(fault))

    async def _plan_verb(self, fault: faults.PlanVerb) -> None:
        def ask(verb: Verb) -> bool:
            return self._asked(
                lambda: self._drill.scheduler.plan_steer(
                    verb, "deploy", fault.phase, fault.step, operator=_ANN
                )
            )

        ask(Verb(fault.verb))
        # Also what failed may have been stored.
        if afterwards := _AFTERWARDS.get(fault.verb):
            await asyncio.sleep(fault.lasts)
            await self._insist(lambda: ask(afterwards))

    def _asked(self, ask: Callable[[], object]) -> bool:
        """Whether a scheduler that lives took an operator's wish, or refused it for good."""
        if self._drill.effects.dead:
            return False
        try:
            ask()
        except (Refused, InvalidInput, KeyError):
            return True
        except Deposed:
            self._drill.begin_anew()
            return False
        except (StateError, Crash):
            return False
        return True

    async def _stranger(self, fault: faults.Stranger) -> None:
        self._strangers += 1
        if self._mesos.registered(fault.host) and self._mesos.engine.state.frameworks:
            self._mesos.plant(f"stranger-{self._strangers}", fault.host, silent=fault.silent)

    async def _out_of_reach(self, hosts: list[str], seconds: float) -> None:
        for host in hosts:
            self._go_down(host)
        await asyncio.sleep(seconds)
        for host in hosts:
            self._come_back(host)

    def _go_down(self, host: str) -> None:
        self._down[host] = self._down.get(host, 0) + 1
        self._mesos.cut(host)

    def _come_back(self, host: str) -> None:
        self._down[host] -= 1
        if not self._down[host]:
            self._mesos.return_agent(host)

    async def _insist(self, ask: Callable[[], bool]) -> None:
        """An operator asks until the master does it."""
        for _ in range(_RETRIES):
            if ask():
                return
            await asyncio.sleep(1)

    _HOW: Final[dict[type, Callable[[Happening, Any], Awaitable[None]]]] = {
        faults.Messages: _messages,
        faults.ConnectionBreaks: _connection_breaks,
        faults.SchedulerCut: _scheduler_cut,
        faults.OffersRescinded: _offers_rescinded,
        faults.AgentCut: _agent_cut,
        faults.AgentSlow: _agent_slow,
        faults.AgentRebooted: _agent_rebooted,
        faults.AgentGone: _agent_gone,
        faults.AgentDrained: _agent_drained,
        faults.RegionCut: _region_cut,
        faults.MasterEnds: _master_ends,
        faults.SchedulerKilled: _scheduler_killed,
        faults.Rival: _rival,
        faults.ZooKeeperCut: _zookeeper_cut,
        faults.StoreFails: _store_fails,
        faults.StoreSlow: _store_slow,
        faults.ClockJumps: _clock_jumps,
        faults.TaskEnds: _task_ends,
        faults.CrashLoop: _crash_loop,
        faults.NotReady: _not_ready,
        faults.NoCommand: _no_command,
        faults.Operator: _operator,
        faults.Update: _update,
        faults.PlanVerb: _plan_verb,
        faults.Stranger: _stranger,
    }


def _together(troubles: list[Trouble]) -> Trouble:
    """Of several troubles the worst of each kind."""
    worst = CALM
    for trouble in troubles:
        worst = replace(
            worst,
            **{
                part.name: max(getattr(worst, part.name), getattr(trouble, part.name))
                for part in fields(Trouble)
            },
        )
    return worst
