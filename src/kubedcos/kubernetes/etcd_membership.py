"""How etcd's tasks become members: the first founds the cluster, every other one joins it.

Members are added one by one, when their task asks for its keys: only then is its address known. A
member's data lie in a folder that is named for its number, so that data of a member that was
removed are never taken for those of its successor. Everything here may be cut off at any point and
is done again: what etcd itself lists is looked at each time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Final

import httpx2
import msgspec
import structlog

from kubedcos.kubernetes.delivery import NotReady
from kubedcos.kubernetes.etcd_members import EtcdMembers, EtcdRefused, EtcdUnreachable, Member, Seen
from kubedcos.kubernetes.etcd_reconfiguration import Move, WantedMember, next_step
from kubedcos.kubernetes.vault import SecretStore
from kubedcos.scheduler.workload import Readiness

CLIENT_PORT: Final = 2379
PEER_PORT: Final = 2380
FOUNDERS_FOLDER: Final = "etcd"
"""Within the volume; members that joined have their number behind it."""
_RECORD: Final = "etcd-members"
_MOST_STEPS: Final = 6
"""Changes of the membership for one task: its predecessor out, itself in, and some to spare."""

_log = structlog.get_logger(__name__)


class EtcdRecord(msgspec.Struct, frozen=True):
    """What is remembered of the membership, for when no member can be asked.

    Attributes:
        founder: pod instance that founded the cluster; empty as long as none did.
        founder_id: its number, once etcd told it; 0 before.
        established: the cluster was seen to work: it is never founded a second time.
        ids: numbers by pod instance.
        addresses: likewise.
    """

    founder: str = ""
    founder_id: int = 0
    established: bool = False
    ids: dict[str, int] = msgspec.field(default_factory=dict)
    addresses: dict[str, str] = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Applicant:
    """An etcd task that asks for its keys.

    Attributes:
        name: its pod instance, under which the member is known.
        address: of its agent.
        contents: folders that its volume has, relative to the volume.
    """

    name: str
    address: str
    contents: frozenset[str] = frozenset()

    @property
    def peer_url(self) -> str:
        """Where other members will reach it."""
        return peer_url(self.address)

    def has_data(self, folder: str) -> bool:
        """Whether `folder` has a log, without which a member is none."""
        return f"{folder}/member/wal" in self.contents


@dataclass(frozen=True, slots=True)
class Seat:
    """How a member is to be started.

    Attributes:
        folder: of its data, within the volume.
        founds: it is the first and only member of a new cluster.
        members: names and peer URLs of all members, this one included.
        stale: folders of the volume with data of members that are no more.
    """

    folder: str
    founds: bool
    members: tuple[tuple[str, str], ...]
    stale: tuple[str, ...] = ()


def peer_url(address: str) -> str:
    """Where a member at an agent's address is reached by others."""
    return f"https://{address}:{PEER_PORT}"


def client_url(address: str) -> str:
    """Where a member at an agent's address is reached by clients."""
    return f"https://{address}:{CLIENT_PORT}"


class EtcdMembership:
    """The membership of one cluster's etcd.

    Args:
        store: where the record is kept.
        client: HTTP client that logs in to etcd.
        tasks: addresses of the agents of etcd's present tasks.
        in_use: whether the cluster was staged beyond etcd; then it is never founded anew, also
            if nothing is remembered of it.
    """

    def __init__(
        self,
        store: SecretStore,
        client: Callable[[], httpx2.AsyncClient],
        tasks: Callable[[], Iterable[str]],
        in_use: Callable[[], bool],
    ) -> None:
        self._store = store
        self._client = client
        self._tasks = tasks
        self._in_use = in_use

    @property
    def record(self) -> EtcdRecord:
        """What is remembered."""
        value = self._store.get(_RECORD)
        return EtcdRecord() if value is None else msgspec.json.decode(value, type=EtcdRecord)

    @property
    def established(self) -> bool:
        """Whether the cluster was ever seen to work: it is never founded a second time."""
        return self.record.established or self._in_use()

    def members(self) -> EtcdMembers:
        """A client of all members that are known."""
        known = dict.fromkeys([*self.record.addresses.values(), *self._tasks()])
        return EtcdMembers(self._client, [client_url(address) for address in known])

    async def seat(self, one: Applicant) -> Seat:
        """How the task is to start, after etcd was told of it if need be.

        Raises:
            NotReady: etcd cannot take it in now; the text says why.
        """
        try:
            survey = await self.members().survey()
        except (EtcdUnreachable, EtcdRefused) as error:
            return self._seat_alone(one, str(error))
        self._learn(survey)
        try:
            return await self._join(one, survey)
        except (EtcdUnreachable, EtcdRefused) as error:
            raise NotReady(f"{one.name} cannot join now: {error}") from None

    async def readiness(self, name: str, address: str) -> Readiness:
        """Whether the member at `address` votes and follows a leader; a learner is promoted.

        Raises:
            EtcdUnreachable: no member that has a quorum answers.
            EtcdRefused: etcd refuses to promote it: it has not caught up.
        """
        members = self.members()
        listed = await members.list()
        own = next((one for one in listed if peer_url(address) in one.peer_urls), None)
        if own is None:
            return _not_yet(f"etcd lists no member at {address}")
        if not own.started:
            return _not_yet(f"{name} has not joined etcd yet")
        status = await members.status(client_url(address))
        if status.member_id != own.id:
            return _not_yet(f"another etcd answers at {address}")
        if status.errors:
            return _not_yet(f"{name} says {', '.join(status.errors)}")
        if own.learner:
            await members.promote(own.id)
            _log.info("etcd member promoted", member=name, address=address)
            return _not_yet(f"{name} has just been given its vote")
        if not status.leader:
            return _not_yet(f"{name} follows no leader")
        self._learn([Seen(one, healthy=True) for one in listed])
        return Readiness(ready=True)

    # --- inside -----------------------------------------------------------------------------------

    def _seat_alone(self, one: Applicant, why: str) -> Seat:
        """No quorum answers: whoever has its data may start with them, and the first may found."""
        record = self.record
        folder = self._folder(record, record.ids.get(one.name, record.founder_id))
        known = one.name in record.ids or record.founder in {"", one.name}
        if known and one.has_data(folder):
            others = {n: a for n, a in record.addresses.items() if n != one.name}
            listed = sorted({**others, one.name: one.address}.items())
            if not record.founder:
                self._save(msgspec.structs.replace(record, founder=one.name))
            members = tuple((name, peer_url(address)) for name, address in listed)
            return Seat(folder, founds=len(members) == 1, members=members)
        if self.established:
            raise NotReady(f"{one.name} has no data, and no quorum of etcd takes it in: {why}")
        if record.founder not in {"", one.name}:
            raise NotReady(f"{one.name} joins after {record.founder} has founded etcd")
        self._save(EtcdRecord(founder=one.name, addresses={one.name: one.address}))
        _log.info("etcd is founded", member=one.name, address=one.address)
        return Seat(FOUNDERS_FOLDER, founds=True, members=((one.name, one.peer_url),))

    async def _join(self, one: Applicant, survey: tuple[Seen, ...]) -> Seat:
        members = self.members()
        for _ in range(_MOST_STEPS):
            own = next((s.member for s in survey if one.peer_url in s.member.peer_urls), None)
            record = self.record
            lost = own is not None and self._is_lost(record, own, one)
            if own is not None and not lost:
                self._save(_with(record, one, own.id))
                return self._seat_of(one, self._folder(record, own.id), survey)
            step = next_step(survey, self._wanted(one, survey, lost=lost))
            log = _log.bind(member=one.name, address=one.address, reason=step.reason)
            match step.move:
                case Move.REMOVE:
                    await members.remove(step.member_id)
                    log.info("etcd member removed", id=f"{step.member_id:x}")
                case Move.ADD_LEARNER:
                    added = await members.add_learner(step.peer_url)
                    # Remembered at once: its folder is named for it, also if nobody answers later.
                    if one.peer_url in added.peer_urls:
                        self._save(_with(self.record, one, added.id))
                    log.info("etcd learner added", id=f"{added.id:x}")
                case Move.PROMOTE:
                    await members.promote(step.member_id)
                case _:
                    raise NotReady(f"{one.name} cannot join now: {step.reason}")
            survey = await members.survey()
        raise NotReady(f"{one.name} cannot join now: etcd's membership does not come to rest")

    def _wanted(
        self, one: Applicant, survey: Collection[Seen], *, lost: bool
    ) -> list[WantedMember]:
        """Everybody but the task's predecessor and learners of tasks that are no more.

        A member whose data are lost has to go before it may come again.
        """
        tasks = {peer_url(address) for address in self._tasks()}
        stay = [
            WantedMember(seen.member.title, url)
            for seen in survey
            for url in seen.member.peer_urls
            if seen.member.name != one.name
            and url != one.peer_url
            and (not seen.member.learner or url in tasks)
        ]
        return stay if lost and stay else [*stay, WantedMember(one.name, one.peer_url)]

    def _seat_of(self, one: Applicant, folder: str, survey: Collection[Seen]) -> Seat:
        listed = []
        for seen in survey:
            for url in seen.member.peer_urls:
                name = one.name if url == one.peer_url else seen.member.name
                if not name:
                    raise NotReady(f"{one.name} joins after {seen.member.title} has started")
                listed.append((name, url))
        stale = sorted(
            found
            for found in one.contents
            if "/" not in found and found != folder and found.startswith(FOUNDERS_FOLDER)
        )
        return Seat(folder, founds=False, members=tuple(sorted(listed)), stale=tuple(stale))

    def _is_lost(self, record: EtcdRecord, own: Member, one: Applicant) -> bool:
        """Whether the member at the task's address is another's, or one that has lost its data."""
        if not own.started:
            return False
        return own.name != one.name or not one.has_data(self._folder(record, own.id))

    @staticmethod
    def _folder(record: EtcdRecord, member_id: int) -> str:
        founded = member_id in {0, record.founder_id}
        return FOUNDERS_FOLDER if founded else f"{FOUNDERS_FOLDER}-{member_id:x}"

    def _learn(self, survey: Collection[Seen]) -> None:
        """Remember what etcd lists."""
        started = [seen.member for seen in survey if seen.member.started]
        record = self.record
        ids = {member.name: member.id for member in started}
        addresses = {member.name: _address(member.peer_urls[0]) for member in started}
        # Only the founder is a voter that this program never added.
        founder = record.founder or (started[0].name if len(started) == 1 else "")
        founder_id = record.founder_id
        if not founder_id and not record.established:
            founder_id = ids.get(founder, 0)
        self._save(EtcdRecord(founder, founder_id, established=True, ids=ids, addresses=addresses))

    def _save(self, record: EtcdRecord) -> None:
        if record != self.record:
            self._store.put(_RECORD, msgspec.json.encode(record))


def _with(record: EtcdRecord, one: Applicant, member_id: int) -> EtcdRecord:
    return msgspec.structs.replace(
        record,
        ids={**record.ids, one.name: member_id},
        addresses={**record.addresses, one.name: one.address},
    )


def _address(url: str) -> str:
    return url.removeprefix("https://").rpartition(":")[0]


def _not_yet(reason: str) -> Readiness:
    return Readiness(ready=False, reason=reason)
