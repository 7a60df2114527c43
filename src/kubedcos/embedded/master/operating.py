"""Operations of operators: reservations and volumes on an agent, whatever is offered of it now."""

from __future__ import annotations

from collections.abc import Sequence

from kubedcos.embedded.master import operation_feedback
from kubedcos.embedded.master.effects import Effects, ToAgent
from kubedcos.embedded.master.offers import refuse, rescind
from kubedcos.embedded.master.operation_rules import Asking, operation_fault
from kubedcos.embedded.master.resource_rules import checked
from kubedcos.embedded.master.state import AgentRecord, MasterState
from kubedcos.embedded.protocol import CheckpointResources, MasterCall
from kubedcos.mesos import operations as convert
from kubedcos.mesos.messages import Operation
from kubedcos.mesos.resources import Resources


def checkpoint_call(agent: AgentRecord, operation: str | None = None) -> ToAgent:
    """The call that makes the agent remember its reservations and volumes."""
    kept = agent.total.where(convert.needs_checkpoint)
    call = MasterCall(
        type="CHECKPOINT_RESOURCES", checkpoint_resources=CheckpointResources(tuple(kept))
    )
    return ToAgent(agent.id, call, operation)


def operate(
    state: MasterState,
    agent: AgentRecord,
    operation: Operation,
    *,
    principal: str | None,
    now: float,
    allocation_interval: float,
) -> Effects:
    """An operation of an operator; offers that stand in the way are taken back.

    Raises:
        ValueError: a rule is broken.
        NotApplicable: the agent has not got that much free.
    """
    wanted = convert.with_resources(operation, checked)
    used = state.used(agent_id=agent.id).unallocated()
    fault = operation_fault(wanted, Asking(principal, None, agent.total, used))
    if fault is not None:
        # Mesos names the agent or not, by the kind of operation.
        where = "" if operation.type in {"UNRESERVE", "DESTROY"} else f" on agent {agent.named()}"
        raise ValueError(f"Invalid {operation.type} operation{where}: {fault}")
    steps = convert.conversions(wanted)
    convert.applied(agent.total - used, steps)
    effects = _make_room(state, agent, steps, now=now, allocation_interval=allocation_interval)
    agent.total = convert.applied(agent.total, steps)
    operation_feedback.count_end(state, operation, "OPERATION_FINISHED")
    return [*effects, checkpoint_call(agent)]


def _make_room(
    state: MasterState,
    agent: AgentRecord,
    steps: Sequence[convert.Conversion],
    *,
    now: float,
    allocation_interval: float,
) -> Effects:
    """Take back offers until what they held would do; they leave a filter, as if declined."""
    effects: Effects = []
    recovered, wanted = Resources(), Resources()
    for step in steps:
        wanted += step.consumed
    for offer in state.offers_of(agent_id=agent.id):
        held = offer.resources.unallocated()
        if wanted - held == wanted:
            continue
        framework = state.frameworks[offer.framework_id]
        refuse(framework, offer, held, None, now=now, allocation_interval=allocation_interval)
        effects += rescind(state, [offer])
        recovered, wanted = recovered + held, wanted - held
        if _fits(recovered, steps):
            break
    return effects


def _fits(resources: Resources, steps: Sequence[convert.Conversion]) -> bool:
    try:
        convert.applied(resources, steps)
    except convert.NotApplicable:
        return False
    return True
