"""Whether this scheduler leads: it is alone on its machine, or one of several in ZooKeeper."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from kubedcos.api import identity
from kubedcos.api.identity import Identity
from kubedcos.api.settings import DaemonSettings, State
from kubedcos.errors import InvalidInput, Problem, Refused
from kubedcos.kubernetes.vault import FileSecretStore, SealedSecretStore, SecretStore
from kubedcos.mesos.zookeeper import zookeeper_address
from kubedcos.state.seal import Seal, read_seal
from kubedcos.state.session import ZooKeeperSession
from kubedcos.state.sqlite import SqliteStore
from kubedcos.state.store import Store

ELSEWHERE = "state-is-in-zookeeper"
"""File in the state folder of a host whose scheduler has its state in ZooKeeper; holds where."""


class Leadership(Protocol):
    """A place among the schedulers of an installation."""

    lost: asyncio.Event
    """Set when another scheduler may lead, after this one did."""

    async def enter(self, now: float) -> Identity:
        """Take a place, and show who the installation's API is; `now` is in seconds since 1970.

        Raises:
            KubedcosError: the state cannot be reached.
        """
        ...

    async def lead(self) -> None:
        """Wait until this scheduler leads.

        Raises:
            StateError: it cannot be found out.
        """
        ...

    async def store(self) -> Store:
        """The state as the one that led before left it, for the one that leads.

        Raises:
            StateError: it cannot be read.
        """
        ...

    def secrets(self, store: Store, cluster: str) -> SecretStore:
        """Where the keys of a cluster are kept, for the one that leads."""
        ...

    def prove(self) -> None:
        """Return if nobody else can lead at this moment.

        Raises:
            Deposed: somebody else may.
        """
        ...

    async def leader(self) -> str:
        """URL of the API of the scheduler that leads; empty when nobody knows."""
        ...

    async def close(self) -> None:
        """Give the place up."""
        ...


def leadership(settings: DaemonSettings) -> Leadership:
    """The kind of leadership that the settings ask for.

    Raises:
        InvalidInput: a file that they name is not there or not safe.
    """
    if settings.state.zookeeper:
        return AmongSeveral(settings, settings.state)
    return Alone(settings)


class Alone:
    """The only scheduler of its installation: the state is in a file of this host."""

    def __init__(self, settings: DaemonSettings) -> None:
        self.lost = asyncio.Event()
        self._settings = settings

    async def enter(self, now: float) -> Identity:
        """Refused where the state has been moved away."""
        elsewhere = self._settings.state_dir / ELSEWHERE
        if elsewhere.exists():
            raise Refused(
                f"the state of this host's scheduler is in {elsewhere.read_text().strip()}, says"
                f" {elsewhere}; wanted state.zookeeper in the settings. A scheduler that began"
                " anew here would start every task a second time. Remove that file only if the"
                " clusters are gone"
            )
        return identity.ensure(self._settings.identity_dir, self._settings.api.addresses, now)

    async def lead(self) -> None:
        """At once."""

    async def store(self) -> Store:
        """In a file; no other program can open it."""
        return SqliteStore(self._settings.database)

    def secrets(self, store: Store, cluster: str) -> SecretStore:  # noqa: ARG002  the seam's
        """One file each, for root alone."""
        return FileSecretStore(self._settings.secrets_dir / cluster / "vault")

    def prove(self) -> None:
        """Nobody else can lead while this program has the database locked."""

    async def leader(self) -> str:
        """This one."""
        return next(iter(self._settings.api.own_urls()), "")

    async def close(self) -> None:
        """Nothing to give up."""


class AmongSeveral:
    """One of several schedulers: the state is in ZooKeeper, and so is who leads."""

    def __init__(self, settings: DaemonSettings, state: State) -> None:
        self.lost = asyncio.Event()
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._seal = read_seal(named(state.seal_file), "settings: state.seal_file")
        self._session = session(settings, self._session_lost)

    def _session_lost(self) -> None:
        """Called in a thread of the session's."""
        self._loop.call_soon_threadsafe(self.lost.set)

    async def enter(self, now: float) -> Identity:
        """Connect; authority and token are those of the first scheduler that ever came.

        Args:
            now: seconds since 1970, for the authority's certificate.

        Raises:
            Refused: state in a file of this host would be left behind.
        """
        if self._settings.database.exists():
            raise Refused(
                f"{self._settings.database} holds the state of this host, and the settings say"
                " ZooKeeper: `kubedcos scheduler import` moves it there. A scheduler that began"
                " anew there would start every task a second time"
            )
        await asyncio.to_thread(self._session.start)
        settings = self._settings
        note = f"{settings.state.zookeeper}\n".encode()
        identity.write(settings.state_dir / ELSEWHERE, note, 0o600)
        return await asyncio.to_thread(
            identity.shared,
            settings.identity_dir,
            settings.api.addresses,
            now,
            sealed_once(self._session, self._seal),
        )

    async def lead(self) -> None:
        """Wait until those before have gone."""
        if not await asyncio.to_thread(self._session.lead):
            raise asyncio.CancelledError

    async def store(self) -> Store:
        """In ZooKeeper; no other scheduler can write."""
        return await asyncio.to_thread(self._session.store)

    def secrets(self, store: Store, cluster: str) -> SecretStore:
        """In the store, sealed."""
        return SealedSecretStore(store, cluster, self._seal)

    def prove(self) -> None:
        """ZooKeeper says so, or has said so a moment ago."""
        self._session.prove()

    async def leader(self) -> str:
        """Who stands first in ZooKeeper."""
        return await asyncio.to_thread(self._session.leader)

    async def close(self) -> None:
        """End the session, so that the next one leads at once."""
        await asyncio.to_thread(self._session.close)


def session(
    settings: DaemonSettings, on_lost: Callable[[], None] = lambda: None
) -> ZooKeeperSession:
    """A session as the settings say, not started.

    Raises:
        InvalidInput: the address makes no sense, or the password cannot be read.
    """
    state = settings.state
    address = zookeeper_address(state.zookeeper, "settings: state.zookeeper")
    return ZooKeeperSession(
        address.hosts,
        address.path,
        state.user,
        _password(named(state.password_file)),
        next(iter(settings.api.own_urls()), ""),
        timeout=state.session_timeout_seconds,
        on_lost=on_lost,
    )


def sealed_once(
    session: ZooKeeperSession, seal: Seal
) -> Callable[[str, Callable[[], bytes]], bytes]:
    """`ZooKeeperSession.once` for secrets."""

    def once(name: str, make: Callable[[], bytes]) -> bytes:
        return seal.open(name, session.once(name, lambda: seal.close(name, make())))

    return once


def named(path: Path | None) -> Path:
    """A file that the settings must name."""
    assert path is not None, "the settings' own check"
    return path


def _password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        where, wanted = "settings: state.password_file", "a file that the scheduler can read"
        raise InvalidInput([Problem(where, str(error), wanted, id="secret-file")]) from error
