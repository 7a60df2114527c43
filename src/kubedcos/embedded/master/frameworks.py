"""Frameworks: subscription, takeover, disconnection, update, removal."""

from __future__ import annotations

from dataclasses import dataclass

from msgspec.structs import replace

from kubedcos.embedded.acls import Acls
from kubedcos.embedded.approvals import Approver
from kubedcos.embedded.master import operation_feedback
from kubedcos.embedded.master.authorization import registration_refusal
from kubedcos.embedded.master.constraints import (
    ALL_AGENTS,
    DEFAULT_PATTERN_LIMITS,
    AgentFilter,
    PatternLimits,
    agent_filter,
)
from kubedcos.embedded.master.effects import (
    Allocate,
    CloseStream,
    Effects,
    ToAgent,
    ToStream,
)
from kubedcos.embedded.master.inverse_offers import forget_filters, forget_framework
from kubedcos.embedded.master.offers import rescind
from kubedcos.embedded.master.rules import framework_fault, suppressed_fault
from kubedcos.embedded.master.state import FrameworkRecord, MasterState
from kubedcos.embedded.master.statuses import removed_task, with_status
from kubedcos.embedded.master.task_groups import forget_executors
from kubedcos.embedded.protocol import (
    Acknowledge,
    MasterCall,
    ShutdownFramework,
    UpdateFramework,
)
from kubedcos.mesos.messages import (
    TERMINAL_STATES,
    CallAcknowledge,
    CallSubscribe,
    Error,
    Event,
    FrameworkID,
    FrameworkInfo,
    Subscribed,
    Task,
)

HEARTBEAT_INTERVAL = 15.0


@dataclass(frozen=True, slots=True)
class FrameworkRules:
    """What the flags say about frameworks."""

    allowed_roles: frozenset[str] = frozenset()
    root_submissions: bool = True
    max_completed_frameworks: int = 50
    max_completed_tasks: int = 1000
    max_unreachable_tasks: int = 1000
    pattern_limits: PatternLimits = DEFAULT_PATTERN_LIMITS


class Refusal(ValueError):
    """The call is refused with this text, and with 400 or another status."""

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


def error_event(message: str) -> Event:
    """The event that ends a subscription."""
    return Event(type="ERROR", error=Error(message))


def subscribe(
    state: MasterState,
    rules: FrameworkRules,
    call: CallSubscribe,
    *,
    stream_id: str,
    principal: str | None,
    now: float,
    acls: Acls | None = None,
) -> Effects:
    """SUBSCRIBE on a new stream: first contact, return, or takeover from another instance."""
    info = call.framework_info
    fault = framework_fault(
        info, allowed_roles=rules.allowed_roles, root_submissions=rules.root_submissions
    )
    given = info.id.value if info.id is not None else ""
    if fault is None and given in state.completed:
        fault = "Framework has been removed"
    agents = ALL_AGENTS
    if fault is None:
        try:
            agents = _wanted_agents(rules, call)
        except ValueError as error:
            fault = str(error)
    if fault is None:
        fault = registration_refusal(Approver(acls, info.principal), info, _roles(info))
    known = state.frameworks.get(given) if given else None
    if fault is None and known is not None and known.info.principal != info.principal:
        fault = "Changing framework's principal is not allowed."
    if fault is not None:
        return [ToStream(stream_id, error_event(fault)), CloseStream(stream_id)]
    effects: Effects = []
    if known is None:
        framework = _enter(state, info, given, now)
    else:
        framework = known
        effects += _return(state, framework, info, now)
    framework.stream_id = stream_id
    framework.principal = principal
    _suppress_only(state, framework, call.suppressed_roles)
    framework.constraints = agents
    framework.failover_deadline = None
    event = Subscribed(FrameworkID(framework.id), HEARTBEAT_INTERVAL, state.info)
    effects += [
        ToStream(stream_id, Event(type="SUBSCRIBED", subscribed=event)),
        ToStream(stream_id, Event(type="HEARTBEAT")),
    ]
    return [*effects, *_tell_agents(state, framework), Allocate()]


def _roles(info: FrameworkInfo) -> tuple[str, ...]:
    multi = any(capability.type == "MULTI_ROLE" for capability in info.capabilities)
    return info.roles if multi else (info.role or "*",)


def _wanted_agents(rules: FrameworkRules, call: CallSubscribe) -> AgentFilter:
    """The framework's constraints, once its suppressed roles are found to be its own.

    Raises:
        ValueError: with Mesos' text.
    """
    roles = _roles(call.framework_info)
    fault = suppressed_fault(call.suppressed_roles, roles)
    if fault is not None:
        raise ValueError(fault)
    return agent_filter(call.offer_constraints, roles, rules.pattern_limits)


def _enter(state: MasterState, info: FrameworkInfo, given: str, now: float) -> FrameworkRecord:
    framework_id = given
    if not framework_id:
        framework_id = f"{state.info.id}-{state.next_framework:04d}"
        state.next_framework += 1
    framework = FrameworkRecord(
        id=framework_id,
        info=replace(info, id=FrameworkID(framework_id)),
        registered_time=now,
        reregistered_time=now,
    )
    state.frameworks[framework_id] = framework
    state.count("messages_register_framework")
    return framework


def _return(
    state: MasterState, framework: FrameworkRecord, info: FrameworkInfo, now: float
) -> Effects:
    effects: Effects = []
    if framework.stream_id is not None:
        effects += [
            ToStream(framework.stream_id, error_event("Framework failed over")),
            CloseStream(framework.stream_id),
        ]
    for offer in state.offers_of(framework_id=framework.id):
        del state.offers[offer.id]
    forget_framework(state, framework.id)
    # Mesos keeps these two from the first subscription without a word.
    framework.info = replace(
        info,
        id=FrameworkID(framework.id),
        user=framework.info.user,
        checkpoint=framework.info.checkpoint,
    )
    framework.reregistered_time = now
    framework.recovered = False
    state.count("messages_reregister_framework")
    return effects


def _suppress_only(
    state: MasterState, framework: FrameworkRecord, suppressed: tuple[str, ...]
) -> None:
    """Suppress these roles and no others.

    What was refused is forgotten of roles that are wanted again, or no longer the framework's. Of
    the others it holds on, even if another instance takes over while this one is connected.
    """
    wanted_again = framework.suppressed - set(suppressed)
    framework.suppressed = set(suppressed)
    for key in list(framework.filters):
        if key[0] in wanted_again or key[0] not in framework.roles:
            del framework.filters[key]
    forget_filters(state, framework.id)


def _tell_agents(state: MasterState, framework: FrameworkRecord) -> Effects:
    call = MasterCall(type="UPDATE_FRAMEWORK", update_framework=UpdateFramework(framework.info))
    agent_ids = {task.agent_id.value for task in state.tasks_of(framework_id=framework.id)}
    return [ToAgent(agent_id, call) for agent_id in sorted(agent_ids)]


def disconnected(state: MasterState, stream_id: str, *, now: float) -> Effects:
    """The stream broke: offers go back silently, the failover timer starts."""
    for framework in state.frameworks.values():
        if framework.stream_id == stream_id:
            framework.stream_id = None
            framework.failover_deadline = now + max(framework.info.failover_timeout, 0.0)
            framework.filters.clear()
            for offer in state.offers_of(framework_id=framework.id):
                del state.offers[offer.id]
            forget_framework(state, framework.id)
    return []


def expired(state: MasterState, rules: FrameworkRules, *, now: float) -> Effects:
    """Remove the frameworks whose failover timeout has passed."""
    effects: Effects = []
    for framework in list(state.frameworks.values()):
        deadline = framework.failover_deadline
        if not framework.connected and deadline is not None and deadline <= now:
            effects += remove(state, rules, framework, now=now)
    return effects


def remove(
    state: MasterState, rules: FrameworkRules, framework: FrameworkRecord, *, now: float
) -> Effects:
    """TEARDOWN or the end of the failover timeout: tasks are killed, the id is used up."""
    effects: Effects = []
    for offer in state.offers_of(framework_id=framework.id):
        del state.offers[offer.id]
    forget_framework(state, framework.id)
    call = MasterCall(
        type="SHUTDOWN_FRAMEWORK",
        shutdown_framework=ShutdownFramework(FrameworkID(framework.id)),
    )
    effects += [ToAgent(agent.id, call) for agent in state.agents.values() if agent.connected]
    forget_executors(state, framework_id=framework.id)
    away = list(framework.unreachable_tasks.values())
    framework.unreachable_tasks.clear()
    for task in (*state.tasks_of(framework_id=framework.id), *away):
        ended = task
        if task.state not in TERMINAL_STATES:
            status = removed_task(
                task,
                "TASK_KILLED",
                "REASON_FRAMEWORK_REMOVED",
                f"Framework {framework.id} removed",
                now=now,
            )
            ended = with_status(task, status, "TASK_KILLED")
        complete(state, rules, framework, ended)
    if framework.stream_id is not None:
        effects.append(CloseStream(framework.stream_id))
    framework.stream_id = None
    framework.failover_deadline = None
    framework.unregistered_time = now
    framework.filters.clear()
    operation_feedback.forgotten(state, framework_id=framework.id)
    del state.frameworks[framework.id]
    state.completed[framework.id] = framework
    while len(state.completed) > rules.max_completed_frameworks:
        del state.completed[next(iter(state.completed))]
    return [*effects, Allocate()]


def complete(
    state: MasterState, rules: FrameworkRules, framework: FrameworkRecord, task: Task
) -> None:
    """Move a task to the completed ones of its framework."""
    state.tasks.pop((framework.id, task.task_id.value), None)
    framework.completed_tasks.append(task)
    while len(framework.completed_tasks) > rules.max_completed_tasks:
        framework.completed_tasks.popleft()


def revive(state: MasterState, framework: FrameworkRecord, roles: tuple[str, ...]) -> Effects:
    """REVIVE: no filters and no suppression for the roles, all if none are named."""
    wanted = set(roles or framework.roles)
    if not wanted <= set(framework.roles):
        return []
    framework.suppressed -= wanted
    for key in [key for key in framework.filters if key[0] in wanted]:
        del framework.filters[key]
    forget_filters(state, framework.id)
    state.count("messages_revive_offers")
    return [Allocate()]


def suppress(state: MasterState, framework: FrameworkRecord, roles: tuple[str, ...]) -> Effects:
    """SUPPRESS: no new offers for the roles; those that are out stay."""
    wanted = set(roles or framework.roles)
    if wanted <= set(framework.roles):
        framework.suppressed |= wanted
    state.count("messages_suppress_offers")
    return []


def update(
    state: MasterState,
    rules: FrameworkRules,
    framework: FrameworkRecord,
    call: CallSubscribe,
    *,
    acls: Acls | None = None,
) -> Effects:
    """UPDATE_FRAMEWORK.

    Raises:
        Refusal: with Mesos' text.
    """
    info, old = call.framework_info, framework.info
    fault = framework_fault(
        info, allowed_roles=rules.allowed_roles, root_submissions=rules.root_submissions
    )
    if fault is not None:
        raise Refusal(f"Supplied FrameworkInfo is not valid: {fault}")
    try:
        agents = _wanted_agents(rules, call)
    except ValueError as error:
        raise Refusal(f"'UpdateFramework' call is not valid: {error}") from None
    refused = "FrameworkInfo update is not valid: "
    if info.principal != old.principal:
        raise Refusal(refused + "Changing framework's principal is not allowed.")
    for name in ("user", "checkpoint"):
        before, after = getattr(old, name), getattr(info, name)
        if before != after:
            raise Refusal(
                f"{refused}Updating 'FrameworkInfo.{name}' is unsupported; attempted to update "
                f"from '{_shown(before)}' to '{_shown(after)}'"
            )
    fault = registration_refusal(Approver(acls, old.principal), info, _roles(info))
    if fault is not None:
        raise Refusal(fault, 403)
    same = _in_order(info) == _in_order(old)
    if not same:
        framework.info = info
    _suppress_only(state, framework, call.suppressed_roles)
    framework.constraints = agents
    gone = [
        offer
        for offer in state.offers_of(framework_id=framework.id)
        if offer.role not in framework.roles
    ]
    return [*rescind(state, gone), *([] if same else _tell_agents(state, framework))]


def _in_order(info: FrameworkInfo) -> FrameworkInfo:
    """The same for infos that say the same: the order of roles and capabilities is nothing."""
    capabilities = sorted(info.capabilities, key=lambda each: each.type or "")
    return replace(info, roles=tuple(sorted(info.roles)), capabilities=tuple(capabilities))


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def acknowledge(
    state: MasterState,
    rules: FrameworkRules,
    framework: FrameworkRecord,
    call: CallAcknowledge,
) -> Effects:
    """ACKNOWLEDGE: passed on; the acknowledged end of a task takes it off the list."""
    agent = state.agents.get(call.agent_id.value)
    if agent is None or not agent.connected:
        return []
    task = state.tasks.get((framework.id, call.task_id.value))
    if (
        task is not None
        and task.status_update_uuid == call.uuid
        and task.status_update_state in TERMINAL_STATES
    ):
        complete(state, rules, framework, task)
        agent.kills.pop((framework.id, call.task_id.value), None)
    order = Acknowledge(FrameworkID(framework.id), call.task_id, call.uuid)
    return [ToAgent(agent.id, MasterCall(type="ACKNOWLEDGE", acknowledge=order))]
