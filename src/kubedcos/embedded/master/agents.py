"""Agents: registration, return, updates of tasks, disconnection, loss and removal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from kubedcos.embedded.master import draining, maintenance, operation_feedback
from kubedcos.embedded.master.effects import (
    Allocate,
    Effects,
    OpenChannel,
    SaveRegistry,
    ToAgent,
)
from kubedcos.embedded.master.frameworks import FrameworkRules, complete
from kubedcos.embedded.master.inverse_offers import rescind_of_agent
from kubedcos.embedded.master.machines import DOWN_MESSAGE
from kubedcos.embedded.master.offers import forget_agent, rescind
from kubedcos.embedded.master.removal import Removal, forget_drain, remove_agent
from kubedcos.embedded.master.state import AgentRecord, FrameworkRecord, MasterState
from kubedcos.embedded.master.statuses import (
    known_task,
    removed_task,
    update_event,
    with_status,
)
from kubedcos.embedded.master.task_groups import forget_executors, replace_executors
from kubedcos.embedded.protocol import (
    AgentReply,
    MasterCall,
    Register,
    Reregister,
    ShutdownFramework,
    StatusUpdate,
    UnknownTasks,
)
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    AgentID,
    AgentInfo,
    FrameworkID,
    FrameworkInfo,
    Resource,
    Task,
    TaskID,
)
from kubedcos.mesos.operations import NotApplicable, with_checkpointed
from kubedcos.mesos.resources import Resources, upgraded

_UNKNOWN_AGENT: Final = "Unknown agent reregistered"


@dataclass(frozen=True, slots=True)
class AgentRules:
    """What the flags say about agents. Times in seconds."""

    ping_timeout: float
    max_ping_timeouts: int
    require_domain: bool


class RegistrationRefused(Exception):
    """The agent may not register; `final` when it must end instead of trying again."""

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.final = final


def _refuse_down(state: MasterState, info: AgentInfo, address: str) -> None:
    if maintenance.is_down(state, info.hostname, address):
        raise RegistrationRefused(DOWN_MESSAGE, final=True)


def _checked_total(
    state: MasterState, rules: AgentRules, info: AgentInfo, checkpointed: tuple[Resource, ...]
) -> Resources:
    if info.domain is None and rules.require_domain:
        raise RegistrationRefused("The agent has no domain, but --require_agent_domain is set")
    if info.domain is not None and state.info.domain is None:
        raise RegistrationRefused("The agent has a domain, but the master has none")
    try:
        configured = Resources(upgraded(resource) for resource in info.resources)
        return with_checkpointed(configured, map(upgraded, checkpointed))
    except (ValueError, NotApplicable) as error:
        raise RegistrationRefused(f"The agent's resources do not add up: {error}") from error


def register(
    state: MasterState,
    rules: AgentRules,
    framework_rules: FrameworkRules,
    call: Register,
    *,
    session: str,
    now: float,
) -> tuple[AgentReply, Effects]:
    """REGISTER: a new agent; one that was registered at the same address is no more.

    Raises:
        RegistrationRefused: with the reason.
    """
    _refuse_down(state, call.agent_info, call.address)
    total = _checked_total(state, rules, call.agent_info, call.checkpointed_resources)
    effects = _replaced(state, framework_rules, call.address, call.agent_info.port, now=now)
    agent_id = f"{state.info.id}-S{state.next_agent}"
    state.next_agent += 1
    agent = AgentRecord(
        id=agent_id,
        info=replace(call.agent_info, id=AgentID(agent_id)),
        address=call.address,
        version=call.version,
        session=session,
        total=total,
        registered_time=now,
        capabilities=call.capabilities,
    )
    state.agents[agent_id] = agent
    maintenance.enter(state, agent)
    state.count("messages_register_slave")
    effects = [OpenChannel(agent), *effects, SaveRegistry(), Allocate(agent_id)]
    return _reply(rules, agent_id, session), effects


def _reply(
    rules: AgentRules, agent_id: str, session: str, unknown: tuple[UnknownTasks, ...] = ()
) -> AgentReply:
    return AgentReply(
        agent_id=AgentID(agent_id),
        session=session,
        ping_timeout_seconds=rules.ping_timeout,
        max_ping_timeouts=rules.max_ping_timeouts,
        unknown_tasks=unknown,
    )


def _replaced(
    state: MasterState,
    framework_rules: FrameworkRules,
    address: str,
    port: int,
    *,
    now: float,
    but: str = "",
) -> Effects:
    effects: Effects = []
    for agent in state.agents.at(address, port):
        if agent.id != but:
            message = (
                f"Agent {agent.info.hostname} removed: a new agent registered at the same address"
            )
            # TASK_LOST even for PARTITION_AWARE frameworks: so does Mesos.
            removal = Removal("TASK_LOST", "REASON_AGENT_REMOVED", message)
            effects += remove_agent(state, framework_rules, agent, removal, now=now)
            forget_drain(state, agent.id)
    return effects


def reregister(
    state: MasterState,
    rules: AgentRules,
    framework_rules: FrameworkRules,
    call: Reregister,
    *,
    session: str,
    now: float,
) -> tuple[AgentReply, Effects]:
    """REREGISTER: an agent that this or an earlier master knows comes back with its tasks.

    Raises:
        RegistrationRefused: with the reason.
    """
    if call.agent_info.id is None:
        raise RegistrationRefused("The agent re-registers without its id")
    agent_id = call.agent_info.id.value
    if agent_id in state.gone:
        raise RegistrationRefused("Agent has been marked gone", final=True)
    _refuse_down(state, call.agent_info, call.address)
    total = _checked_total(state, rules, call.agent_info, call.checkpointed_resources)
    address = (call.address, call.agent_info.port)
    effects = _replaced(state, framework_rules, *address, now=now, but=agent_id)
    was_unreachable = state.unreachable.pop(agent_id, None) is not None
    expected = state.recovered.pop(agent_id, None) is not None
    known = state.agents.get(agent_id)
    agent = AgentRecord(
        id=agent_id,
        info=call.agent_info,
        address=call.address,
        version=call.version,
        session=session,
        total=total,
        registered_time=known.registered_time if known else now,
        reregistered_time=now,
        capabilities=call.capabilities,
        kills=known.kills if known else {},
        deactivated=agent_id in state.deactivated,
        drain_started=known.drain_started if known else None,
    )
    effects += rescind(state, state.offers_of(agent_id=agent_id))
    effects += rescind_of_agent(state, agent_id)
    kept = known is not None and known.total == total
    effects += operation_feedback.settled(state, agent_id, kept=kept, now=now)
    state.agents[agent_id] = agent
    maintenance.enter(state, agent)
    forget_agent(state, agent_id)
    state.count("messages_reregister_slave")
    effects += _recover_frameworks(state, agent, call.frameworks, now=now)
    replace_executors(state, agent_id, call.executors)
    news = None
    if known is None and not expected:
        # "re-reregistered" is Mesos' spelling.
        news = "Unreachable agent re-reregistered" if was_unreachable else _UNKNOWN_AGENT
    # What this master has seen the end of, it only waits for the agent to hear that.
    tasks = tuple(task for task in call.tasks if not (known and _ended(state, task)))
    effects += _take_tasks(state, agent, tasks, news=news, now=now)
    unknown = _unknown_tasks(state, framework_rules, agent, call.tasks)
    for key, order in list(agent.kills.items()):
        if key in state.tasks:
            effects.append(ToAgent(agent_id, MasterCall(type="KILL_TASK", kill_task=order)))
        else:
            del agent.kills[key]
    effects += draining.drain_call(state, agent)
    reply = _reply(rules, agent_id, session, unknown)
    # The channel comes first: the effects may already hold calls for the agent.
    return reply, [OpenChannel(agent), *effects, SaveRegistry(), Allocate(agent_id)]


def _recover_frameworks(
    state: MasterState, agent: AgentRecord, infos: tuple[FrameworkInfo, ...], *, now: float
) -> Effects:
    effects: Effects = []
    for info in infos:
        if info.id is None or info.id.value in state.frameworks:
            continue
        if info.id.value in state.completed:
            order = ShutdownFramework(FrameworkID(info.id.value))
            call = MasterCall(type="SHUTDOWN_FRAMEWORK", shutdown_framework=order)
            effects.append(ToAgent(agent.id, call))
            continue
        state.frameworks[info.id.value] = FrameworkRecord(
            id=info.id.value,
            info=info,
            registered_time=now,
            recovered=True,
            # No deadline: Mesos does not keep failover timeouts across masters, such tasks run on.
        )
    return effects


def _take_tasks(
    state: MasterState,
    agent: AgentRecord,
    tasks: tuple[Task, ...],
    *,
    news: str | None,
    now: float,
) -> Effects:
    """Hold the tasks that an agent reports; `news` is told to their frameworks."""
    effects: Effects = []
    for known in state.frameworks.values():
        lost = known.unreachable_tasks
        for task_id in [key for key, task in lost.items() if task.agent_id.value == agent.id]:
            del lost[task_id]
    for reported in tasks:
        framework = state.frameworks.get(reported.framework_id.value)
        if framework is None:
            continue
        key = (framework.id, reported.task_id.value)
        mine = state.tasks.get(key)
        if mine is not None:
            # The agent keeps the newest status only; what was heard before stays with the master.
            if mine.state not in TERMINAL_STATES:
                state.tasks[key] = replace(mine, state=reported.state)
            continue
        state.tasks[key] = replace(reported, agent_id=AgentID(agent.id))
        if news is not None:
            # What ended without the agent's knowledge, and is here nevertheless, did not end.
            _forget_end(framework, key[1])
            newest = replace(reported, status_update_state=reported.state)
            status = known_task(newest, news, "REASON_AGENT_REREGISTERED", now=now)
            effects.append(update_event(framework.id, status))
    return effects


def _ended(state: MasterState, task: Task) -> bool:
    """Whether a task that an agent reports as ended is off the list already."""
    key = (task.framework_id.value, task.task_id.value)
    return task.state in TERMINAL_STATES and key not in state.tasks


def _forget_end(framework: FrameworkRecord, task_id: str) -> None:
    for task in [one for one in framework.completed_tasks if one.task_id.value == task_id]:
        framework.completed_tasks.remove(task)


def _unknown_tasks(
    state: MasterState,
    framework_rules: FrameworkRules,
    agent: AgentRecord,
    tasks: tuple[Task, ...],
) -> tuple[UnknownTasks, ...]:
    reported = {(task.framework_id.value, task.task_id.value) for task in tasks}
    missing: dict[str, list[TaskID]] = {}
    for task in state.tasks_of(agent_id=agent.id):
        key = (task.framework_id.value, task.task_id.value)
        if key in reported:
            continue
        if task.state in TERMINAL_STATES:
            complete(state, framework_rules, state.frameworks[key[0]], task)
        else:
            missing.setdefault(key[0], []).append(task.task_id)
    return tuple(
        UnknownTasks(framework=state.frameworks[framework_id].info, task_ids=tuple(task_ids))
        for framework_id, task_ids in missing.items()
    )


def status_update(state: MasterState, call: StatusUpdate) -> Effects:
    """STATUS_UPDATE: recorded and passed on; the resources of an ended task are free at once."""
    framework = state.frameworks.get(call.framework_id.value)
    state.count("messages_status_update")
    if framework is None:
        return []
    key = (framework.id, call.status.task_id.value)
    task = state.tasks.get(key)
    if task is not None:
        # An end is an end: what it held may belong to others by now.
        latest = task.state if task.state in TERMINAL_STATES else call.latest_state
        state.tasks[key] = with_status(task, call.status, latest)
    return [update_event(framework.id, call.status)]


def disconnected(
    state: MasterState, framework_rules: FrameworkRules, agent: AgentRecord, *, now: float
) -> Effects:
    """The agent's link broke: its offers go, and tasks that nobody checkpointed are lost."""
    if not agent.connected:
        return []
    agent.connected = False
    effects = rescind(state, state.offers_of(agent_id=agent.id))
    effects += rescind_of_agent(state, agent.id)
    message = f"Agent {agent.info.hostname} disconnected"
    for task in state.tasks_of(agent_id=agent.id):
        framework = state.frameworks[task.framework_id.value]
        if not framework.info.checkpoint:
            status = removed_task(task, "TASK_LOST", "REASON_AGENT_DISCONNECTED", message, now=now)
            complete(state, framework_rules, framework, with_status(task, status, "TASK_LOST"))
            effects.append(update_event(framework.id, status))
    for framework in state.frameworks.values():
        if not framework.info.checkpoint:
            forget_executors(state, framework_id=framework.id, agent_id=agent.id)
    return effects
