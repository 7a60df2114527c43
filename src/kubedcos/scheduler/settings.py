"""Who the framework is to Mesos, and at which pace the scheduler works."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.client import HttpConnector
from kubedcos.mesos.detector import detector
from kubedcos.mesos.freeing import MasterOperator
from kubedcos.mesos.tls import client_context

CAPABILITIES: Final = (
    "MULTI_ROLE",
    "RESERVATION_REFINEMENT",
    "PARTITION_AWARE",
    "TASK_KILLING_STATE",
    "REGION_AWARE",
)
"""Without REGION_AWARE Mesos would offer only agents of the masters' region, silently."""

_WEEK_SECONDS: Final = 7 * 24 * 3600.0
UNOWNED_SECONDS: Final = 300.0
"""For so long Mesos keeps a framework whose id may not be stored: nobody could ever remove it."""
RELEASE_ARRIVES: Final = 120.0
"""See `Pace.release_arrives`."""


@dataclass(frozen=True, slots=True)
class FrameworkSettings:
    """What Mesos is told of a framework.

    Attributes:
        name: the framework's name, and the cluster's.
        role: role of its pods, but for those of pools that name another.
        other_roles: roles that it subscribes with besides.
        masters: ``host:port,…`` or ``zk://host:port,…/path``.
        principal: for authentication and reservations; empty without.
        secret_file: file with the principal's secret and nothing else; None without authentication.
        ca_file: authorities in PEM that vouch for masters; with it they are spoken to by HTTPS.
        cert_file: certificate of ours in PEM, and `key_file` its key, where masters require one.
        failover_timeout: seconds for which Mesos keeps the tasks while no scheduler is connected.
        hostname: of the scheduler; Mesos-DNS makes ``<name>.mesos`` of it.
        webui_url: shown by Mesos' own pages.
        user: as whom tasks run; the components need root.
    """

    name: str
    role: str
    masters: str
    principal: str = ""
    secret_file: Path | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    failover_timeout: float = _WEEK_SECONDS
    hostname: str = ""
    webui_url: str = ""
    user: str = "root"
    other_roles: tuple[str, ...] = ()

    @property
    def roles(self) -> tuple[str, ...]:
        """All roles to subscribe with."""
        return tuple(dict.fromkeys((self.role, *self.other_roles)))


@dataclass(frozen=True, slots=True)
class Pace:
    """Times in seconds; the defaults suit a cluster of hundreds of agents.

    Attributes:
        tick: longest pause between two cycles while something is open.
        idle_tick: the same while everything is complete.
        probe_first: between the first two questions to a component that is not ready.
        probe_interval: between two of them when it has not been ready for long.
        probe_deadline: a probe that takes longer counts as not ready.
        decline_short: refusal while some step looks for resources.
        decline_long: refusal while none does; REVIVE lifts it.
        revive_interval: time in which one more REVIVE may be sent.
        revive_burst: so many may be saved up.
        revive_again: demand that no offer came for is voiced again after this time.
        suppress_after: no demand for so long means SUPPRESS.
        retry_first: wait after the first failure of a task; doubles with each further one.
        retry_most: longest such wait.
        stable_after: a task that was ready for so long has its failures forgiven.
        relocate_after: a pod instance without reservations whose missing task finds no room on
            its agent is moved as a whole after this time.
        kill_again: a task that was asked to end is asked again after this time.
        reconcile_first: wait for answers to the first explicit reconciliation; doubles.
        reconcile_most: longest such wait.
        linger: a task in a state that ought to pass is asked for again after this time.
        reconcile_all: time between two implicit reconciliations.
        unknown_grace: a task of which Mesos knows nothing, not even its agent, counts as lost
            after this time: the default of Mesos' own wait for agents after a master failover.
        departure_interval: between two tries to prepare or to finish a departure.
        departure_deadline: such a try that takes longer is given up and made anew.
        absent_after: an agent that holds a reservation and makes no offer for so long, although
            it is waited for, counts as away.
        stray_grace: an agent that is back for less than this time may have tasks that were given
            up; their resources are not offered, and yet not free.
        release_settles: the offer by which something was released, and that Mesos may have lost,
            has timed out after this time (master flag ``--offer_timeout``).
        release_arrives: an agent that was out of reach when something was released there is known
            to be lost after this time: five pings of 15 seconds and the one before them by default
            (master flags ``--max_agent_ping_timeouts`` and ``--agent_ping_timeout``; the service's
            ``mesos.agent_lost_seconds``).
        inverse_refuse: Mesos repeats what it wants of an agent after this time.
        leave_wait: a pod instance that is to go and is out of reach is forgotten after this time;
            what is left of it is ended and released when its agent returns.
        delete_wait: the deletion of a cluster waits for lost agents for this time; what is left
            there is written down and collected when they return.
    """

    tick: float = 1.0
    idle_tick: float = 10.0
    probe_first: float = 0.2
    probe_interval: float = 1.0
    probe_deadline: float = 15.0
    decline_short: float = 5.0
    decline_long: float = 3600.0
    revive_interval: float = 2.0
    revive_burst: int = 5
    revive_again: float = 30.0
    suppress_after: float = 10.0
    retry_first: float = 5.0
    retry_most: float = 300.0
    stable_after: float = 600.0
    relocate_after: float = 60.0
    kill_again: float = 10.0
    reconcile_first: float = 2.0
    reconcile_most: float = 30.0
    linger: float = 10.0
    reconcile_all: float = 900.0
    unknown_grace: float = 600.0
    departure_interval: float = 2.0
    departure_deadline: float = 60.0
    absent_after: float = 60.0
    stray_grace: float = 20.0
    release_settles: float = 150.0
    release_arrives: float = RELEASE_ARRIVES
    inverse_refuse: float = 60.0
    leave_wait: float = 600.0
    delete_wait: float = 600.0

    def probe_pause(self, asked_for: float) -> float:
        """Seconds until the next question to a component that was asked for so long."""
        return min(self.probe_interval, max(self.probe_first, asked_for / 10))


def secret(settings: FrameworkSettings) -> tuple[str, str] | None:
    """Principal and secret; None without authentication.

    Raises:
        InvalidInput: the secret cannot be read.
    """
    if settings.secret_file is None:
        return None
    try:
        found = settings.secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        where = f"framework {settings.name}: secret_file"
        wanted = "a file that the scheduler can read"
        problem = Problem(where, f"{settings.secret_file}: {error}", wanted, id="secret-file")
        raise InvalidInput([problem]) from error
    return settings.principal, found


def connector(settings: FrameworkSettings) -> HttpConnector:
    """The connection maker for these settings.

    Raises:
        InvalidInput: `masters` makes no sense, or the secret or a certificate cannot be read.
    """
    credentials, tls = _access(settings)
    return HttpConnector(detector(settings.masters), credentials, tls=tls)


def master_operator(settings: FrameworkSettings) -> MasterOperator:
    """The same principal as an operator; for errors see `connector`."""
    credentials, tls = _access(settings)
    return MasterOperator(detector(settings.masters), credentials, tls=tls)


def _access(
    settings: FrameworkSettings,
) -> tuple[tuple[str, str] | None, ssl.SSLContext | None]:
    """Credentials and TLS of a framework."""
    credentials = secret(settings)
    tls = None
    if settings.ca_file is not None:
        tls = client_context(settings.ca_file, settings.cert_file, settings.key_file)
    return credentials, tls
