"""Gives back to Mesos what is reserved for the cluster and nobody lives in."""

from __future__ import annotations

from dataclasses import dataclass

from kubedcos.clock import Clock
from kubedcos.mesos.client import Connection
from kubedcos.offers.evaluation import AgentOffers
from kubedcos.offers.leftovers import leftovers, reservation_ids
from kubedcos.scheduler import translate
from kubedcos.scheduler.settings import FrameworkSettings, Pace
from kubedcos.scheduler.world import World


@dataclass(slots=True)
class Releaser:
    """Destroys volumes, unreserves resources, and forgets what is gone for sure.

    Attributes:
        cluster: its name, which is on each of its reservations.
    """

    cluster: str
    world: World
    settings: FrameworkSettings
    clock: Clock
    pace: Pace

    async def release(self, connection: Connection) -> list[str]:
        """Destroy and unreserve what is ours and not in use."""
        done = []
        in_use = self._in_use()
        for offers in self.world.offers():
            if offers.role != self.settings.role:
                continue
            found = leftovers(
                offers.resources,
                cluster=self.cluster,
                role=self.settings.role,
                in_use=in_use,
            )
            if found:
                operations = [translate.unreserve(found.unreserve, self.settings.role)]
                if found.destroy:
                    operations.insert(0, translate.destroy(found.destroy, self.settings.role))
                self.world.forget_offers(offers.offer_ids)
                await connection.call(translate.accept(offers.offer_ids, operations, 0.0))
                done.append(
                    f"released {len(found.unreserve)} resources and destroyed"
                    f" {len(found.destroy)} volumes on {offers.agent.hostname}"
                )
        return done

    def note_released(self) -> None:
        """Forget reservations that are gone for sure."""
        if not self.abandoned():
            return
        for offers in self.world.offers():
            # What is reserved for one role is not offered to another.
            if offers.role == self.settings.role:
                self._note_released_there(offers)

    def abandoned(self) -> set[str]:
        """Reservations that no pod instance lives in."""
        return set(self.world.reservations) - self._in_use()

    def _in_use(self) -> set[str]:
        if self.world.cluster.deleting:
            return set()
        return {pod.reservation_id for pod in self.world.pods.values()}

    def _note_released_there(self, offers: AgentOffers) -> None:
        """An agent that offers without a reservation does not have it.

        Only if the offers are newer than the end of every task that could hold it: resources in use
        are not offered.
        """
        agent_id = offers.agent.id
        if not self.world.newer_than_last_end(offers):
            return
        now = self.clock.time()
        if self.world.may_have_strays(agent_id, now, self.pace.stray_grace):
            return
        offered = reservation_ids(offers.resources, cluster=self.cluster)
        self.world.commit(
            remove=[
                self.world.reservations[id_]
                for id_ in self.abandoned() - offered
                if self.world.reservations[id_].agent.id == agent_id
                and not self.world.may_be_held(self.world.reservations[id_])
            ]
        )
