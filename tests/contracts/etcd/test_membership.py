"""Real members of etcd, each at a loopback address of its own, started as their tasks would be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2
import pytest

from kubedcos.kubernetes.delivery import NotReady
from kubedcos.kubernetes.etcd_members import EtcdRefused, EtcdUnreachable
from kubedcos.kubernetes.etcd_membership import Applicant
from kubedcos.kubernetes.etcd_reconfiguration import Move, WantedMember, next_step

from .site import Site, site_with, until

pytestmark = pytest.mark.long

A, B, C, D = (f"127.77.0.{number}" for number in (1, 2, 3, 4))


def test_three_members_come_in_one_by_one_and_outlive_what_befalls_them(
    tmp_path: Path, etcd_program: Path
) -> None:
    async def story() -> None:
        async with site_with(tmp_path, etcd_program) as site:
            await site.stage("etcd-0", A)
            await site.put(A, "/a", "1")
            await site.stage("etcd-1", B)
            # A scheduler that was killed after it had added the learner finds it again.
            site.tasks["etcd-2"] = C
            added = await until(lambda: site.membership.members().add_learner(f"https://{C}:2380"))
            seat = await site.stage("etcd-2", C)
            assert seat.folder == f"etcd-{added.id:x}"
            assert await site.names() == ["etcd-0", "etcd-1", "etcd-2"]
            assert await site.get(C, "/a") == "1"

            # One restarts in place, with what it had.
            site.kill("etcd-1")
            assert not (await site.stage("etcd-1", B)).founds

            # One is lost and comes in elsewhere, while the others serve.
            site.kill("etcd-0")
            await until(lambda: _put(site, B, "/b", "2"))
            seat = await site.stage("etcd-0", D)
            assert seat.folder != "etcd"
            listed = {m.name: m.peer_urls for m in await site.membership.members().list()}
            assert listed["etcd-0"] == (f"https://{D}:2380",)
            assert len(listed) == 3
            assert await site.get(D, "/b") == "2"

            # One loses its volume, and must not vote with an empty log under its old number.
            site.kill("etcd-2")
            site.lose_volume(C)
            again = await site.stage("etcd-2", C)
            assert again.folder != f"etcd-{added.id:x}"
            assert await site.names() == ["etcd-0", "etcd-1", "etcd-2"]

            # Two of three: no quorum, and nobody makes it worse.
            site.kill("etcd-1")
            survey = await until(site.membership.members().survey)
            first = next(seen.member for seen in survey if seen.member.name == "etcd-0")
            others = [
                WantedMember(seen.member.name, *seen.member.peer_urls)
                for seen in survey
                if seen.member is not first
            ]
            assert next_step(survey, others).move is Move.REFUSE
            with pytest.raises((EtcdRefused, EtcdUnreachable)):  # etcd thinks so, too
                await site.membership.members().remove(first.id)
            site.kill("etcd-2")
            with pytest.raises(EtcdUnreachable):
                await site.membership.members().list()
            site.lose_volume(C)
            with pytest.raises(NotReady, match="etcd-2 has no data, and no quorum"):
                await site.membership.seat(Applicant("etcd-2", C))

            # All power is gone and comes back: whoever has its data starts with them.
            site.kill("etcd-0")
            await site.start("etcd-0", D)
            await site.start("etcd-1", B)
            await site.ready("etcd-0")
            await site.ready("etcd-1")
            assert await site.get(B, "/b") == "2"
            await site.stage("etcd-2", C)
            assert await site.names() == ["etcd-0", "etcd-1", "etcd-2"]

    asyncio.run(story())


async def _put(site: Site, address: str, key: str, value: str) -> bool:
    try:
        await site.put(address, key, value)
    except (AssertionError, httpx2.HTTPError):  # a leader is being elected
        return False
    return True
