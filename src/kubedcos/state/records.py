"""What the scheduler keeps of a cluster; `documents` has how it is written.

Times are seconds since 1970 UTC. A task record is keyed by pod instance and task name: there can
be but one current task of a name, by construction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from kubedcos.model.offer import Agent
from kubedcos.model.service import TaskSpec

CLUSTER: Final = "cluster"
TASK: Final = "task"
POD: Final = "pod"
RESERVATION: Final = "reservation"
STEP: Final = "step"
AGENT: Final = "agent"
RECOVERY: Final = "recovery"
INTERRUPTION: Final = "interruption"
ACTION: Final = "action"
EVENTS: Final = "events"
OPTIONS: Final = "options"
CONFIGURATION: Final = "configuration"
LEFTOVER: Final = "leftover"
LEFTOVERS: Final = "_leftovers"
"""Stands where a cluster's name stands, for records that outlive clusters; no cluster has it."""

MOST_ACTIONS: Final = 500
"""So many actions of operators are kept of a cluster; older ones are forgotten."""


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """Identity of the framework, and whether it is to go.

    Attributes:
        framework_id: empty before the first subscription.
        deleting: a delete was asked for and is not finished.
        deleting_since: when that was.
        delete_wait: seconds from then on for which lost agents are waited for.
        local_region: region of the masters as last heard.
    """

    framework_id: str = ""
    created_at: float = 0.0
    deleting: bool = False
    local_region: str = ""
    deleting_since: float = 0.0
    delete_wait: float = 0.0


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task from the intent to launch it until another takes its place.

    Attributes:
        state: ``INTENDED`` until Mesos speaks of it, then Mesos' own word.
        spec: as it was launched, whatever the service says by now.
        pod: name of the pod.
        healthy: what Mesos' health check said last; None before it ran.
        kill_asked: the scheduler wants it gone.
        configuration: number of the configuration that it was launched with; 0 in records from
            before there were any: then it is the cluster's first.
        ready: the component has said that it is ready.
        failures: attempts in a row that did not come to anything.
        not_before: no new attempt before this time.
        ended_at: None while it may be alive.
    """

    task_id: str
    pod: str
    index: int
    spec: TaskSpec
    agent: Agent
    ports: dict[str, int] = field(default_factory=dict)
    volumes: dict[str, str] = field(default_factory=dict)
    state: str = "INTENDED"
    message: str = ""
    reason: str = ""
    addresses: tuple[str, ...] = ()
    kill_asked: bool = False
    ready: bool = False
    failures: int = 0
    not_before: float = 0.0
    intended_at: float = 0.0
    state_at: float = 0.0
    running_at: float | None = None
    ended_at: float | None = None
    healthy: bool | None = None
    configuration: int = 0

    @property
    def pod_instance(self) -> str:
        """Name of the pod instance."""
        return f"{self.pod}-{self.index}"

    @property
    def key(self) -> str:
        """Key of the record: pod instance and task name."""
        return f"{self.pod_instance}/{self.spec.name}"

    @property
    def alive(self) -> bool:
        """Whether it may run: everything but a task whose end is certain."""
        return self.ended_at is None


@dataclass(frozen=True, slots=True)
class PodRecord:
    """Where a pod instance with reserved resources lives; keyed by pod instance.

    Attributes:
        confirmed: a task has run there, so its volumes hold data and it stays.
    """

    pod: str
    index: int
    agent: Agent
    reservation_id: str
    confirmed: bool = False

    @property
    def key(self) -> str:
        """Key of the record: the pod instance."""
        return f"{self.pod}-{self.index}"


@dataclass(frozen=True, slots=True)
class Replacement:
    """The move of a pod instance from a place that it lost or has to leave.

    Attributes:
        reason: why, as a clause: ``asked for by an operator``.
        agent: the place that it leaves; None when it had none.
        by_operator: a person asked for it.
        admitted_at: since when its turn has come; None while it waits for others.
        prepared_at: when everything was done that has to be done before its tasks end.
        left_at: when its tasks were ended or given up, and its old place with them.
        settled_at: when nothing was left of it there; it may be launched elsewhere since.
    """

    reason: str
    asked_at: float
    agent: Agent | None = None
    by_operator: bool = False
    admitted_at: float | None = None
    prepared_at: float | None = None
    left_at: float | None = None
    settled_at: float | None = None


@dataclass(frozen=True, slots=True)
class Emptying:
    """A pod instance is emptied, to be restarted in place, and is not in use again yet.

    Attributes:
        reason: why, as a clause.
        since: when it began; deadlines count from here.
    """

    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class RecoveryRecord:
    """What operators, updates and recovery want of a pod instance; keyed by pod instance.

    Attributes:
        paused: names of tasks that are not to run until they are resumed.
        paused_at: since when.
        replacement: a move that is wanted or under way.
        replaced_at: when the last move was admitted, for the gap between two of them.
        absent_since: since when the agent of its reservation makes no offer although it is
            waited for.
        emptying: it is emptied for a restart in place, or was and has to be taken back into use.
    """

    pod: str
    index: int
    paused: tuple[str, ...] = ()
    paused_at: float | None = None
    replacement: Replacement | None = None
    replaced_at: float | None = None
    absent_since: float | None = None
    emptying: Emptying | None = None

    @property
    def key(self) -> str:
        """Key of the record: the pod instance."""
        return f"{self.pod}-{self.index}"

    @property
    def empty(self) -> bool:
        """Whether it says nothing that is worth keeping."""
        return self == RecoveryRecord(self.pod, self.index)


@dataclass(frozen=True, slots=True)
class ReservationRecord:
    """A reservation that was asked for and is not known to be gone; keyed by its id."""

    id: str
    pod_instance: str
    agent: Agent
    asked_at: float = 0.0


@dataclass(frozen=True, slots=True)
class LeftoverRecord:
    """What a cluster that is gone left on an agent that was lost; keyed by its id.

    Attributes:
        id: of a reservation; of tasks the framework's and the agent's.
        role: the Mesos role that it was made for.
        masters: of the Mesos that it is in.
        pod_instance: whose it was; of tasks of several the names with commas.
        left_at: when the cluster's deletion stopped to wait for it, seconds since 1970.
        framework_id: of tasks, whose framework was torn down without them; empty of a reservation.
        released: Mesos' master has it no more, of which its agent may not have heard.
    """

    id: str
    cluster: str
    role: str
    masters: str
    pod_instance: str
    agent: Agent
    left_at: float = 0.0
    framework_id: str = ""
    released: bool = False


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What outlives a step's tasks; keyed by plan, phase and step name."""

    plan: str
    phase: str
    step: str
    started_at: float | None = None
    finished_at: float | None = None
    was_complete: bool = False

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"{self.plan}/{self.phase}/{self.step}"


@dataclass(frozen=True, slots=True)
class InterruptionRecord:
    """What an operator asked of a plan, a phase or a step; keyed by their names.

    Attributes:
        phase: empty when it is about the plan; `step` likewise.
        by: who asked last; `why` and `at` go with it.
    """

    plan: str
    phase: str = ""
    step: str = ""
    paused: bool = False
    completed: bool = False
    restart: bool = False
    by: str = ""
    why: str = ""
    at: float = 0.0

    @property
    def key(self) -> str:
        """Key of the record."""
        return f"{self.plan}/{self.phase}/{self.step}"


@dataclass(frozen=True, slots=True)
class ActionRecord:
    """What an operator did; keyed by its number, which only grows.

    Attributes:
        who: as the API knows the operator.
        why: the reason given; may be empty.
        what: verb and object, such as ``plan pause deploy/node``.
        outcome: what came of it, or why it was refused.
    """

    number: int
    at: float
    who: str
    why: str
    what: str
    outcome: str

    @property
    def key(self) -> str:
        """Key of the record; sorts as the number does."""
        return f"{self.number:010d}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that befell a pod instance; `at` in seconds since 1970."""

    at: float
    what: str


@dataclass(frozen=True, slots=True)
class EventsRecord:
    """What befell a pod instance lately, the oldest first; keyed by pod instance."""

    pod_instance: str
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True, slots=True)
class ConfigurationRecord:
    """Options that a cluster has or had; the one with the highest number is the target.

    Attributes:
        number: from 1, one more for each change.
        options: as JSON.
        indices: for pods whose instances have gaps in their numbers: which there are.
        made_at: seconds since 1970.
        by: who asked for it.
        why: what for: a sentence.
    """

    number: int
    options: str
    indices: dict[str, tuple[int, ...]] = field(default_factory=dict)
    made_at: float = 0.0
    by: str = ""
    why: str = ""

    @property
    def key(self) -> str:
        """Key of the record: the number."""
        return str(self.number)


@dataclass(frozen=True, slots=True)
class AgentRecord:
    """An agent that offered before, with the most it offered at once; keyed by its id.

    Attributes:
        lost_at: since when it is out of reach; None while it is there.
        returned_at: when it was back after it had been out of reach; None if it never was.
        was_lost_at: since when it had been out of reach then.
        port: of the agent at its address; 0 if it was never heard of.
        gave_up: tasks there were given up while it was out of reach, and may run on.
    """

    agent: Agent
    largest: dict[str, int] = field(default_factory=dict)
    seen_at: float = 0.0
    lost_at: float | None = None
    returned_at: float | None = None
    was_lost_at: float | None = None
    port: int = 0
    gave_up: bool = False
