"""Mesos' ACL file: which principal may do what to which object.

The entries of an action are tried in order; the first one that matches both who asks and what it
is asked for decides, and without a match `permissive` does. ``ANY`` and ``NONE`` match everything;
``NONE`` then denies. Somebody who did not have to say who he is, and an object that has no name,
match ``ANY`` and ``NONE`` only. Of roles, ``eng/%`` stands for all roles below ``eng``.
Source: `src/authorizer/local/authorizer.cpp`, `include/mesos/authorizer/acls.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, cast

import msgspec

from kubedcos.embedded.flags import Flags
from kubedcos.embedded.protojson import NotConvertible, from_json
from kubedcos.errors import InvalidInput, Problem
from kubedcos.mesos.base_messages import Message, enum_of


class Entity(Message, frozen=True):
    """Principals, or objects of an action; `values` count for the type SOME only."""

    type: Annotated[str, enum_of("SOME", "ANY", "NONE")] = "SOME"
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Action:
    """One action of the file.

    Attributes:
        name: its field in the file.
        message: Mesos' name of one entry, for error texts.
        objects: the field with the objects.
        implicit: the object is always the whole master or agent: only ANY and NONE make sense.
    """

    name: str
    message: str
    objects: str
    implicit: bool = False

    @property
    def hierarchical(self) -> bool:
        """Whether the objects are roles, which may end in ``/%``."""
        return self.objects == "roles"


ACTIONS: Final = (
    Action("register_frameworks", "RegisterFramework", "roles"),
    Action("run_tasks", "RunTask", "users"),
    Action("reserve_resources", "ReserveResources", "roles"),
    Action("unreserve_resources", "UnreserveResources", "reserver_principals"),
    Action("create_volumes", "CreateVolume", "roles"),
    Action("destroy_volumes", "DestroyVolume", "creator_principals"),
    Action("teardown_frameworks", "TeardownFramework", "framework_principals"),
    Action("update_weights", "UpdateWeight", "roles"),
    Action("get_endpoints", "GetEndpoint", "paths"),
    Action("get_quotas", "GetQuota", "roles"),
    Action("update_quotas", "UpdateQuota", "roles"),
    Action("view_frameworks", "ViewFramework", "users"),
    Action("view_tasks", "ViewTask", "users"),
    Action("view_executors", "ViewExecutor", "users"),
    Action("access_sandboxes", "AccessSandbox", "users"),
    Action("access_mesos_logs", "AccessMesosLog", "logs", implicit=True),
    Action("view_roles", "ViewRole", "roles"),
    Action("view_flags", "ViewFlags", "flags", implicit=True),
    Action("launch_nested_containers_as_user", "LaunchNestedContainerAsUser", "users"),
    Action(
        "launch_nested_containers_under_parent_with_user",
        "LaunchNestedContainerUnderParentWithUser",
        "users",
    ),
    Action("kill_nested_containers", "KillNestedContainer", "users"),
    Action("wait_nested_containers", "WaitNestedContainer", "users"),
    Action(
        "launch_nested_container_sessions_as_user", "LaunchNestedContainerSessionAsUser", "users"
    ),
    Action(
        "launch_nested_container_sessions_under_parent_with_user",
        "LaunchNestedContainerSessionUnderParentWithUser",
        "users",
    ),
    Action("attach_containers_input", "AttachContainerInput", "users"),
    Action("attach_containers_output", "AttachContainerOutput", "users"),
    Action("view_containers", "ViewContainer", "users"),
    Action("set_log_level", "SetLogLevel", "level", implicit=True),
    Action("remove_nested_containers", "RemoveNestedContainer", "users"),
    Action("register_agents", "RegisterAgent", "agents", implicit=True),
    Action("update_maintenance_schedules", "UpdateMaintenanceSchedule", "machines", implicit=True),
    Action("get_maintenance_schedules", "GetMaintenanceSchedule", "machines", implicit=True),
    Action("start_maintenances", "StartMaintenance", "machines", implicit=True),
    Action("stop_maintenances", "StopMaintenance", "machines", implicit=True),
    Action("get_maintenance_statuses", "GetMaintenanceStatus", "machines", implicit=True),
    Action("mark_agents_gone", "MarkAgentGone", "agents"),
    Action("launch_standalone_containers", "LaunchStandaloneContainer", "users", implicit=True),
    Action("kill_standalone_containers", "KillStandaloneContainer", "users", implicit=True),
    Action("wait_standalone_containers", "WaitStandaloneContainer", "users", implicit=True),
    Action("remove_standalone_containers", "RemoveStandaloneContainer", "users", implicit=True),
    Action(
        "modify_resource_provider_configs",
        "ModifyResourceProviderConfig",
        "resource_providers",
        implicit=True,
    ),
    Action("view_standalone_containers", "ViewStandaloneContainer", "users", implicit=True),
    Action("prune_images", "PruneImages", "images", implicit=True),
    Action("resize_volumes", "ResizeVolume", "roles"),
    Action("create_block_disks", "CreateBlockDisk", "roles"),
    Action("destroy_block_disks", "DestroyBlockDisk", "roles"),
    Action("create_mount_disks", "CreateMountDisk", "roles"),
    Action("destroy_mount_disks", "DestroyMountDisk", "roles"),
    Action("view_resource_providers", "ViewResourceProvider", "resource_providers", implicit=True),
    Action(
        "mark_resource_providers_gone",
        "MarkResourceProvidersGone",
        "resource_providers",
        implicit=True,
    ),
    Action("destroy_raw_disks", "DestroyRawDisk", "roles"),
    Action("drain_agents", "DrainAgent", "agents", implicit=True),
    Action("deactivate_agents", "DeactivateAgent", "agents", implicit=True),
    Action("reactivate_agents", "ReactivateAgent", "agents", implicit=True),
)
"""All actions, in the order of their numbers in the proto definition."""

AUTHORIZABLE_ENDPOINTS: Final = frozenset(
    {
        "/containers",
        "/containerizer/debug",
        "/files/debug",
        "/logging/toggle",
        "/metrics/snapshot",
        "/monitor/statistics",
    }
)
"""Paths that `get_endpoints` may name."""


def _message(name: str, fields: list[Any]) -> type[Message]:
    return cast("type[Message]", msgspec.defstruct(name, fields, bases=(Message,), frozen=True))


_BY_NAME: Final = {action.name: action for action in ACTIONS}
_ENTRIES: Final[dict[str, type[Message]]] = {
    action.name: _message(action.message, [("principals", Entity), (action.objects, Entity)])
    for action in ACTIONS
}
_FILE: Final = _message(
    "ACLs",
    [
        ("permissive", bool, True),
        # mypy knows no type that is made at run time
        *((name, tuple[entry, ...], ()) for name, entry in _ENTRIES.items()),  # type: ignore[valid-type]
    ],
)


@dataclass(frozen=True, slots=True)
class Acl:
    """One entry: who, and what."""

    principals: Entity
    objects: Entity


@dataclass(frozen=True, slots=True)
class Acls:
    """A checked ACL file."""

    permissive: bool = True
    entries: Mapping[str, tuple[Acl, ...]] = field(default_factory=dict)

    def allow(self, principal: str | None, action: str, name: str | None = None) -> bool:
        """Whether `principal` may do `action` to the object called `name`.

        Args:
            principal: None for somebody who did not have to say who he is.
            action: a name of `ACTIONS`.
            name: the object's; None for any, and for actions whose object is implicit.
        """
        roles = _BY_NAME[action].hierarchical
        for acl in self.entries.get(action, ()):
            objects = _of_role(acl.objects, name) if roles else acl.objects
            if _matches(principal, acl.principals) and _matches(name, objects):
                return _allows(principal, acl.principals) and _allows(name, objects)
        return self.permissive

    def text(self) -> str:
        """The file in the text format of protobuf, as `/flags` shows it."""
        lines = [] if self.permissive else ["permissive: false"]
        for action in ACTIONS:
            for acl in self.entries.get(action.name, ()):
                lines.append(f"{action.name} {{")
                lines += _entity_text("principals", acl.principals)
                lines += [*_entity_text(action.objects, acl.objects), "}"]
        return "".join(f"{line}\n" for line in lines)


def _entity_text(name: str, entity: Entity) -> list[str]:
    kind = [] if entity.type == "SOME" else [f"    type: {entity.type}"]
    values = [f"    values: {_quoted(value)}" for value in entity.values]
    return [f"  {name} {{", *kind, *values, "  }"]


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _of_role(entity: Entity, role: str | None) -> Entity:
    """The entity with ``eng/%`` put in force: a role below is as if it were listed."""
    if entity.type != "SOME" or role is None:
        return entity
    above = (value[:-1] for value in entity.values if value.endswith("/%"))
    return Entity(values=(role,)) if any(map(role.startswith, above)) else entity


def _matches(name: str | None, entity: Entity) -> bool:
    return entity.type != "SOME" or name in entity.values


def _allows(name: str | None, entity: Entity) -> bool:
    return entity.type == "ANY" or (entity.type == "SOME" and name in entity.values)


def read_acls(value: Any, where: str = "flag --acls") -> Acls:
    """The ACLs in parsed JSON.

    Mesos takes misspelt actions, keys and types for absent, and so grants what its
    administrator meant to deny; here they are refused.

    Raises:
        InvalidInput: with all that is wrong.
    """
    try:
        message = from_json(value, _FILE)
    except NotConvertible as error:
        raise InvalidInput([Problem(where, str(error), "Mesos' ACLs", "acls-form")]) from None
    problems = list(_misspelt(value, where))
    entries = {
        action.name: tuple(
            Acl(entry.principals, getattr(entry, action.objects))
            for entry in getattr(message, action.name)
        )
        for action in ACTIONS
        if getattr(message, action.name)
    }
    problems += _invalid(entries, where)
    if problems:
        raise InvalidInput(problems)
    return Acls(getattr(message, "permissive"), entries)  # noqa: B009  made at run time


def acls_of(flags: Flags) -> Acls | None:
    """What `--acls` says; None without it: everything is permitted.

    Raises:
        InvalidInput: with all that is wrong.
    """
    value = flags.json("acls")
    return None if value is None else read_acls(value)


def _misspelt(value: Mapping[str, Any], where: str) -> Iterator[Problem]:
    for name, listed in value.items():
        if name == "permissive":
            continue
        action = _BY_NAME.get(name)
        if action is None:
            yield Problem(f"{where}: {name}", "no action of Mesos", "a known one", "acls-action")
            continue
        for position, entry in enumerate(listed if isinstance(listed, list) else [listed]):
            for key, entity in entry.items():
                place = f"{where}: {name}[{position}].{key}"
                if key not in {"principals", action.objects}:
                    wanted = f"principals and {action.objects}"
                    yield Problem(place, "another key", wanted, "acls-key")
                elif entity.get("type", "SOME") not in {"SOME", "ANY", "NONE"}:
                    yield Problem(f"{place}.type", repr(entity["type"]), "SOME, ANY or NONE")
                elif unknown := entity.keys() - {"type", "values"}:
                    yield Problem(place, ", ".join(sorted(unknown)), "type and values", "acls-key")


def _invalid(entries: Mapping[str, tuple[Acl, ...]], where: str) -> Iterator[Problem]:
    """What Mesos refuses, in its words."""
    for name, acls in entries.items():
        action = _BY_NAME[name]
        for acl in acls:
            if acl.objects.type != "SOME":
                continue
            if action.implicit:
                wanted = f"ACL.{action.message} type must be either NONE or ANY"
                yield Problem(f"{where}: {name}", "SOME", wanted, "acls-implicit")
            if name == "get_endpoints":
                for path in sorted(set(acl.objects.values) - AUTHORIZABLE_ENDPOINTS):
                    text = f"Path: '{path}' is not an authorizable path"
                    yield Problem(f"{where}: {name}", repr(path), text, "acls-path")
