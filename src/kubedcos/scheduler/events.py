"""What each event of a subscription does to the world, and what is answered at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kubedcos.mesos import messages as wire
from kubedcos.mesos.client import Connection, SubscriptionLost
from kubedcos.scheduler import translate
from kubedcos.scheduler.cycle import Cycle
from kubedcos.scheduler.launching import confirmed
from kubedcos.scheduler.probing import ProbeResult
from kubedcos.scheduler.roll_call import asked_for
from kubedcos.scheduler.task_updates import ENDS, apply
from kubedcos.scheduler.world import Record
from kubedcos.state.records import TaskRecord

_IN_REACH = frozenset({"TASK_STARTING", "TASK_RUNNING", "TASK_KILLING"})
_OUT_OF_SIGHT = frozenset({"TASK_UNKNOWN", "TASK_UNREACHABLE"})
_NOT_ALIVE = ENDS | {"TASK_UNKNOWN", "TASK_UNREACHABLE"}


class Outbox:
    """Stands in for a connection while events are taken in: answers wait until all is stored."""

    def __init__(self, subscribed: wire.Subscribed) -> None:
        self.subscribed = subscribed
        self.calls: list[wire.Call] = []

    async def call(self, call: wire.Call) -> None:
        """Keep a call; whoever made the outbox sends it."""
        self.calls.append(call)

    async def next_event(self) -> wire.Event:
        """Nothing comes out of an outbox."""
        raise SubscriptionLost("an outbox has no events")

    async def close(self) -> None:
        """Nothing to close."""


@dataclass(slots=True)
class EventHandler:
    """Takes events in; decisions are left to the next cycle."""

    cycle: Cycle

    async def take(self, connection: Connection, event: wire.Event) -> None:
        """Take one event; unknown ones are ignored, as Mesos asks."""
        world = self.cycle.world
        world.heard.events += 1
        if event.offers is not None:
            offers = [translate.offer(message) for message in event.offers.offers]
            world.take_offers(offers, self.cycle.clock.time())
        elif event.rescind is not None:
            world.forget_offers([event.rescind.offer_id.value])
        elif event.update is not None:
            await self._update(connection, event.update.status)
        elif event.inverse_offers is not None:
            self._inverse_offers(event.inverse_offers)
        elif event.rescind_inverse_offer is not None:
            id_ = event.rescind_inverse_offer.inverse_offer_id.value
            agent_id = world.heard.inverse_offers.pop(id_, "")
            world.heard.unavailable.pop(agent_id, None)
        elif (gone := _agent_gone(event)) is not None and gone in world.agents:
            world.lose_agent(world.agents[gone].agent, self.cycle.clock.time())

    def probed(self, result: ProbeResult) -> None:
        """Take the answer of a component; it counts if the task is still the one asked."""
        world = self.cycle.world
        task = world.task(result.task_id)
        if task is None:
            world.readiness.pop(result.task_id, None)
        elif result.readiness.ready:
            world.readiness.pop(result.task_id, None)
            if world.is_unready(task):
                world.commit([replace(task, ready=True)])
        else:
            world.readiness[result.task_id] = result.readiness.reason

    def _inverse_offers(self, message: wire.InverseOffers) -> None:
        """Mesos wants agents vacated: remember from when on; the cycle answers."""
        heard, now = self.cycle.world.heard, self.cycle.clock.time()
        for offer in message.inverse_offers:
            if offer.agent_id is not None:
                start = offer.unavailability.start.nanoseconds / 1_000_000_000
                heard.unavailable[offer.agent_id.value] = (start, now)
                heard.inverse_offers[offer.id.value] = offer.agent_id.value

    async def _update(self, connection: Connection, status: wire.TaskStatus) -> None:
        """News of a task: stored first, then acknowledged, so that none is lost."""
        update = translate.task_update(status)
        if update.away is not None and status.agent_id is not None:
            said = (update.away, self.cycle.clock.monotonic())
            self.cycle.world.heard.away[status.agent_id.value] = said
        if agent_id := asked_for(update.task_id):
            self._told_of_agent(agent_id, update.state)
            return
        self.cycle.reconciliation.answered(update.task_id)
        task = self.cycle.world.task(update.task_id)
        if task is None:
            # A task of an earlier life that came back: its place has been taken.
            agent = status.agent_id.value if status.agent_id else ""
            heard = self.cycle.world.heard
            if update.state in ENDS and update.task_id in heard.strays:
                del heard.strays[update.task_id]
                heard.last_end = heard.events
            elif update.state not in _NOT_ALIVE:
                heard.strays[update.task_id] = agent
                await connection.call(translate.kill(update.task_id, agent))
        else:
            self._apply(task, apply(task, update, self.cycle.clock.time(), self.cycle.pace))
        answer = translate.acknowledge(status)
        if answer is not None:
            await connection.call(answer)

    def _told_of_agent(self, agent_id: str, state: str) -> None:
        """What a task would be if it were on an agent says how the agent is."""
        self.cycle.roll_call.answered(agent_id)
        world, now = self.cycle.world, self.cycle.clock.time()
        known = world.agents.get(agent_id)
        if known is None:
            return
        if state == "TASK_GONE":
            world.regain_agent(agent_id, now)
            return
        world.lose_agent(known.agent, now)
        lost_at = now if known.lost_at is None else known.lost_at
        unknown = state == "TASK_UNKNOWN" and now - lost_at >= self.cycle.pace.unknown_grace
        if state == "TASK_GONE_BY_OPERATOR" or unknown:
            world.forget_agent(agent_id)

    def _apply(self, old: TaskRecord, new: TaskRecord) -> None:
        world = self.cycle.world
        if new is old:
            return
        put: list[Record] = [new, *confirmed(world, new)]
        remove: list[Record] = []
        if new.state == "TASK_GONE_BY_OPERATOR":
            gone = new.agent.id
            put = [new]
            remove += [home for home in world.pods.values() if home.agent.id == gone]
            remove += [asked for asked in world.reservations.values() if asked.agent.id == gone]
            remove += [agent for agent in world.agents.values() if agent.agent.id == gone]
        world.commit(put, remove)
        if new.alive and new.state == "TASK_UNREACHABLE":
            world.lose_agent(new.agent, new.state_at)
        elif new.alive and new.state in _IN_REACH:
            world.regain_agent(new.agent.id, self.cycle.clock.time())
        if not new.alive:
            world.heard.last_end = world.heard.events
            world.readiness.pop(new.task_id, None)
            self.cycle.workload.task_ended(new.task_id)
        elif not old.alive or old.state in _OUT_OF_SIGHT:
            # Late news of a task that is lost looks like its return: ask which it is.
            self.cycle.reconciliation.question(new.task_id, self.cycle.clock.monotonic())


def _agent_gone(event: wire.Event) -> str | None:
    """The agent that Mesos removed; a failure with an executor id is that executor's end."""
    failure = event.failure
    if failure is None or failure.agent_id is None or failure.executor_id is not None:
        return None
    return failure.agent_id.value
