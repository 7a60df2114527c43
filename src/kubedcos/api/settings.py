"""What the framework scheduler's service is told: one YAML file, typed.

Written by the role ``kubernetes_framework`` as ``/etc/kubedcos/scheduler.yml``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubedcos.config.problems import problems_of
from kubedcos.config.yaml_text import read_mapping
from kubedcos.errors import InvalidInput
from kubedcos.mesos.detector import detector
from kubedcos.scheduler.settings import RELEASE_ARRIVES
from kubedcos.state.session import DEFAULT_TIMEOUT

Port = Annotated[int, Field(ge=1, le=65535)]


class Section(BaseModel):
    """A part of the settings: nothing unknown, nothing changed later."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Api(Section):
    """Where operators and tasks reach the service."""

    listen: str = "0.0.0.0"  # noqa: S104  tasks on all agents ask it; TLS and tokens guard it
    """Address to listen on."""
    port: Port = 8443
    addresses: tuple[str, ...] = ()
    """IP addresses and names that others reach this host by; they go into its certificate."""
    front: str = ""
    """``HOST:PORT`` at which people reach the API servers of all clusters, wherever they run: that
    of `kubedcos scheduler front` here, or of anything that leads there. Empty: kubeconfigs name the
    agent that an API server is on."""
    schedulers: tuple[str, ...] = ()
    """Addresses of every host that runs a scheduler of this installation, this one included."""

    def own_urls(self) -> tuple[str, ...]:
        """Addresses of this host as URLs."""
        return self._urls(self.addresses)

    def urls(self) -> tuple[str, ...]:
        """Where the one that leads may be, this host first: who leads makes such lists."""
        return self._urls(tuple(dict.fromkeys((*self.addresses, *self.schedulers))))

    def _urls(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"https://{address}:{self.port}" for address in addresses)


class Mesos(Section):
    """How to reach Mesos, and as whom."""

    masters: str
    """``host:port,…`` or ``zk://host:port,…/path``."""
    principal: str = ""
    """For authentication and reservations; empty without."""
    secret_file: Path | None = None
    """File with the principal's secret and nothing else."""
    agent_principal: str = ""
    """For agents' HTTP API, where it asks for a login."""
    agent_secret_file: Path | None = None
    """File with that principal's secret and nothing else."""
    ca_file: Path | None = None
    """Authorities in PEM that vouch for masters and agents; with it they are asked by HTTPS."""
    cert_file: Path | None = None
    """Certificate of the service in PEM, for a Mesos that requires one."""
    key_file: Path | None = None
    """Key of that certificate."""
    failover_timeout_seconds: Annotated[float, Field(ge=60)] = 7 * 24 * 3600.0
    """How long Mesos keeps the tasks while no scheduler is connected."""
    agent_lost_seconds: Annotated[float, Field(ge=1)] = RELEASE_ARRIVES
    """When masters know that an agent is lost, counted from its last answer: half a minute more
    than ``--agent_ping_timeout`` times one more than ``--max_agent_ping_timeouts``. For so long
    what was released on an agent stays on the books: more than needed does no harm, and of several
    Mesos the most patient counts."""
    hostname: str = ""
    """Of this host, for Mesos' own pages."""


class Log(Section):
    """What the service logs on stderr, for systemd's journal."""

    format: Literal["console", "json"] = "console"
    """``console`` for people, ``json`` for programs: one object for each line."""
    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """The least that is shown."""


class State(Section):
    """Where the state is: in a file of this host, or in ZooKeeper for several schedulers."""

    zookeeper: str = ""
    """``zk://host:port,…/path``; empty for a file in `state_dir`."""
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "kubedcos"
    """Name by which ZooKeeper knows whose nodes they are."""
    password_file: Path | None = None
    """File with that user's password and nothing else; the same on all hosts."""
    seal_file: Path | None = None
    """File with the key that seals secrets in ZooKeeper; the same on all hosts, mode 0600."""
    session_timeout_seconds: Annotated[float, Field(ge=1, le=40)] = DEFAULT_TIMEOUT
    """How long ZooKeeper waits for a silent scheduler before another one leads."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.zookeeper and (self.password_file is None or self.seal_file is None):
            raise ValueError("zookeeper needs password_file and seal_file")
        return self


class DaemonSettings(Section):
    """All settings of the service."""

    state_dir: Path = Path("/var/lib/kubedcos")
    """Database, keys and the API's identity; for root alone."""
    state: State = State()
    api: Api = Api()
    log: Log = Log()
    mesos: Mesos

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state_dir / "state.db"

    @property
    def identity_dir(self) -> Path:
        """The API's authority, certificate and operator token."""
        return self.state_dir / "api"

    @property
    def secrets_dir(self) -> Path:
        """A folder for each cluster with its keys, while the state is in a file."""
        return self.state_dir / "clusters"


def load(path: Path) -> DaemonSettings:
    """Settings from the file `path`.

    Raises:
        InvalidInput: it cannot be read, or says something that makes no sense.
    """
    try:
        found = DaemonSettings.model_validate(read_mapping(path))
    except ValidationError as error:
        raise InvalidInput(problems_of(error, DaemonSettings, str(path))) from None
    try:
        detector(found.mesos.masters)
    except InvalidInput as error:
        # It leaves the password out, if there is one.
        where = f"{path}: mesos.masters"
        raise InvalidInput([replace(each, where=where) for each in error.problems]) from None
    return found
