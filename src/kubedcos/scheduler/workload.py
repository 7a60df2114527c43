"""What the scheduler asks of the thing it runs: the seam between scheduling and Kubernetes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kubedcos.model.service import ServiceSpec, TaskSpec


@dataclass(frozen=True, slots=True)
class AgentPlace:
    """Where a task runs or is about to run.

    Attributes:
        agent_id: Mesos agent id.
        hostname: as the agent registered it.
        address: IP address of the agent, from the offer's URL; empty when Mesos gave none.
        region: fault domain region; empty when the agent has no domain.
        zone: fault domain zone; likewise.
        attributes: text attributes of the agent.
    """

    agent_id: str
    hostname: str
    address: str
    region: str = ""
    zone: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launch:
    """A task that is about to be launched: everything that its command may depend on.

    `ports` maps port names to the numbers granted; `volumes` maps volume names to the paths in
    the sandbox.
    """

    task_id: str
    pod: str
    index: int
    spec: TaskSpec
    place: AgentPlace
    ports: Mapping[str, int]
    volumes: Mapping[str, str]

    @property
    def pod_instance(self) -> str:
        """Name of the pod instance, such as ``kube-node-2``."""
        return f"{self.pod}-{self.index}"


@dataclass(frozen=True, slots=True)
class Uri:
    """A file that Mesos' fetcher brings into the sandbox before the command starts."""

    value: str
    output_file: str = ""
    executable: bool = False
    extract: bool = False
    cache: bool = True


@dataclass(frozen=True, slots=True)
class Command:
    """What Mesos is asked to run. Everybody who may read `/state` sees it: no secrets.

    `shell` is run by ``/bin/sh -c`` in the sandbox.
    """

    shell: str
    uris: Sequence[Uri] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunningTask:
    """A task of ours that Mesos runs, as probes see it.

    Attributes:
        healthy: what Mesos' health check said last; None before it ran.
    """

    launch: Launch
    state: str
    addresses: tuple[str, ...] = ()
    healthy: bool | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a component says of itself; `reason` is shown to people while it is not ready."""

    ready: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Departure:
    """A pod instance that is about to leave its place, or has left it.

    Attributes:
        place: where it is or was.
        tasks: those of it that Mesos still runs, as far as it can say.
        since: when its leaving began, in seconds since 1970; deadlines count from here.
        returns: it only stops for a restart in place; finished is such a departure when it is back
            in use, and it is finished without having been prepared when there is no restart.
    """

    pod: str
    index: int
    place: AgentPlace
    tasks: tuple[RunningTask, ...]
    since: float
    returns: bool = False

    @property
    def pod_instance(self) -> str:
        """Name of the pod instance, such as ``kube-node-2``."""
        return f"{self.pod}-{self.index}"


class Workload(Protocol):
    """A service that the scheduler stages: its shape, its commands and its own word on readiness.

    All methods are called on the event loop. `command` must be quick and may remember what it
    issued (one-time tokens); it is called once for each task id, after the intent to launch was
    stored and before ACCEPT is sent.
    """

    @property
    def spec(self) -> ServiceSpec:
        """The service to run."""
        ...

    def command(self, launch: Launch, peers: Sequence[RunningTask]) -> Command:
        """The command of a task, given the tasks of this service that already run."""
        ...

    async def probe(self, task: RunningTask, peers: Sequence[RunningTask]) -> Readiness:
        """Ask the component itself whether it is ready. Must not raise; has a deadline of its own.

        For goal FINISHED it is asked once more after the task ended well; a step of such tasks is
        complete when this says ready.
        """
        ...

    async def may_stop(self, departure: Departure, peers: Sequence[RunningTask]) -> Readiness:
        """Whether a member of a quorum may end now, be it for a moment.

        The members themselves have to be asked each time: whoever does not answer is none to count
        on, whatever Mesos says. The reason is shown while the answer is no.
        """
        ...

    async def prepare_departure(
        self, departure: Departure, peers: Sequence[RunningTask]
    ) -> Readiness:
        """Do what has to be done before the tasks of a pod instance end at their place for good.

        A node is drained, a member leaves its ensemble. Called again until it says ready, also
        after a restart of the program, so that it has to find done what is done; the reason is
        shown meanwhile. When its own deadline has passed it says ready although it is not, with
        the reason.
        """
        ...

    async def finish_departure(
        self, departure: Departure, peers: Sequence[RunningTask]
    ) -> Readiness:
        """Remove what is left of a pod instance at its old place, now that its tasks ended there.

        Or are given up, their agent being lost. It is launched elsewhere when this says ready;
        called again until then. One that returns runs again at its place, and is taken into use.
        """
        ...

    def task_ended(self, task_id: str) -> None:
        """A task ended in whatever way: withdraw what was issued for it."""
        ...
