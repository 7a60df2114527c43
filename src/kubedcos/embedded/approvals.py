"""What one caller may do and see, asked by the objects that Mesos asks about.

Without an ACL file everything is permitted. Who asks is a principal, or None where nobody had to
say who he is; Mesos' rules for which name of an object counts are here, once for master and agent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubedcos.embedded.acls import Acls
from kubedcos.mesos.messages import FrameworkInfo, Resource, TaskInfo

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Approver:
    """The permissions of one caller."""

    acls: Acls | None = None
    principal: str | None = None

    @property
    def restricts(self) -> bool:
        """Whether anything could be denied or hidden."""
        return self.acls is not None

    def may(self, action: str, name: str | None = None) -> bool:
        """Whether the caller may do `action` (a name of the ACL file) to the object so called."""
        return self.acls is None or self.acls.allow(self.principal, action, name)

    def view_framework(self, user: str) -> bool:
        """Whether the caller sees a framework of this user."""
        return self.may("view_frameworks", user)

    def view_task(self, user: str | None, framework_user: str) -> bool:
        """Whether the caller sees a task; the framework's user counts when it has none."""
        return self.may("view_tasks", user or framework_user)

    def view_role(self, role: str) -> bool:
        """Whether the caller sees a role."""
        return self.may("view_roles", role)

    def view_resource(self, resource: Json) -> bool:
        """Whether the caller sees a resource, given in JSON: all roles on it must be visible."""
        roles = [level.get("role", "") for level in resource.get("reservations", ())]
        old = resource.get("role", "*")
        if old != "*":
            roles.append(old)
        allocation = resource.get("allocation_info")
        if allocation is not None:
            roles.append(allocation.get("role", ""))
        return all(map(self.view_role, roles))


EVERYTHING: Final = Approver()
"""Nobody is held to an ACL."""


def user_of(task: TaskInfo, framework: FrameworkInfo) -> str:
    """The user that a task would run as."""
    if task.command is not None and task.command.user is not None:
        return task.command.user
    executor = task.executor
    if executor is not None and executor.command is not None and executor.command.user is not None:
        return executor.command.user
    return framework.user


def last_role(resource: Resource) -> str:
    """The role of the most refined reservation; ``*`` without one."""
    return (resource.reservations[-1].role or "*") if resource.reservations else "*"
