"""Tasks that are not on the agent, and what it says of them: unknown, refused, or too late."""

from __future__ import annotations

import base64

from kubedcos.embedded.agent.executor.lifecycle import Lifecycle, TaskRules
from kubedcos.embedded.simulation.behaviour import Behaviour
from kubedcos.embedded.simulation.task import Outside, SimulatedTask, new_uuid
from kubedcos.mesos.messages import (
    AgentID,
    ContainerStatus,
    FrameworkInfo,
    TaskID,
    TaskInfo,
    TaskStatus,
)


def absent(
    task_id: TaskID,
    framework: FrameworkInfo,
    agent_id: AgentID,
    outside: Outside,
    reason: str,
    message: str,
) -> SimulatedTask:
    """A task that exists only to say that it does not, until somebody has heard it.

    It is TASK_DROPPED, for frameworks that know partitions, and TASK_LOST for others.
    """
    aware = any(entry.type == "PARTITION_AWARE" for entry in framework.capabilities)
    ghost = SimulatedTask(
        info=TaskInfo(task_id.value, task_id, agent_id),
        framework=framework,
        behaviour=Behaviour(),
        life=Lifecycle(TaskRules(task_id.value), ended=True),
        container=ContainerStatus(),
        launched_at=outside.clock.time(),
    )
    status = TaskStatus(
        task_id=task_id,
        state="TASK_DROPPED" if aware else "TASK_LOST",
        message=message,
        source="SOURCE_AGENT",
        reason=reason,
        agent_id=agent_id,
        timestamp=outside.clock.time(),
        uuid=base64.b64encode(new_uuid(outside).bytes).decode(),
    )
    ghost.stream.add(status)
    return ghost
