"""Quota and weights by operators: calls of `/api/v1`, and the older `/quota` and `/weights`."""

from __future__ import annotations

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from kubedcos.embedded.master import quota_updates, visible, weights
from kubedcos.embedded.master.effects import Effects
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.operator_calls import Caller, OperatorCall, OperatorCalls, read
from kubedcos.embedded.master.quantities import to_scalars
from kubedcos.embedded.master.quota import QuotaConfig, QuotaRequest
from kubedcos.embedded.master.responses import empty, forbidden, json_answer, text
from kubedcos.embedded.master.state import MasterState
from kubedcos.embedded.master.weights import WeightInfo
from kubedcos.embedded.protojson import NotConvertible, from_json, parse_json, to_json
from kubedcos.mesos.messages import Message, Resource


class UpdateQuota(Message, frozen=True):
    """Body of UPDATE_QUOTA."""

    quota_configs: tuple[QuotaConfig, ...] = ()
    force: bool = False


class SetQuota(Message, frozen=True):
    """Body of SET_QUOTA."""

    quota_request: QuotaRequest


class RemoveQuota(Message, frozen=True):
    """Body of REMOVE_QUOTA."""

    role: str


class UpdateWeights(Message, frozen=True):
    """Body of UPDATE_WEIGHTS."""

    weight_infos: tuple[WeightInfo, ...] = ()


class QuotaInfo(Message, frozen=True):
    """The guarantees of a role in the older form."""

    role: str
    guarantee: tuple[Resource, ...] = ()


class QuotaStatus(Message, frozen=True):
    """All quota that was set, in both forms."""

    infos: tuple[QuotaInfo, ...] = ()
    configs: tuple[QuotaConfig, ...] = ()


def quota_status(state: MasterState) -> QuotaStatus:
    """What GET_QUOTA and `/quota` show."""
    infos, configs = [], []
    for role, quota in state.quotas.items():
        guarantees, limits = to_scalars(quota.guarantees), to_scalars(quota.limits)
        resources = (Resource(name, "SCALAR", scalar=much) for name, much in guarantees.items())
        infos.append(QuotaInfo(role, tuple(resources)))
        configs.append(QuotaConfig(role, guarantees or None, limits or None))
    return QuotaStatus(tuple(infos), tuple(configs))


def _done(engine: Engine, effects: Effects) -> Response:
    engine.perform(effects)
    return empty(200)


def _quota_of(caller: Caller) -> quota_updates.Permitted:
    return lambda role: caller.approver.may("update_quotas", role)


def _update_quota(engine: Engine, caller: Caller, body: UpdateQuota) -> Response:
    try:
        effects = quota_updates.update(
            engine.state,
            body.quota_configs,
            engine.options.roles,
            force=body.force,
            may=_quota_of(caller),
        )
    except quota_updates.QuotaRefused as error:
        return text(error.status, str(error))
    except PermissionError:
        return forbidden()
    return _done(engine, effects)


def _set(engine: Engine, caller: Caller, request: QuotaRequest) -> Response:
    try:
        effects = quota_updates.set_older(
            engine.state, request, engine.options.roles, may=_quota_of(caller)
        )
    except quota_updates.QuotaRefused as error:
        return text(error.status, str(error))
    except PermissionError:
        return forbidden()
    return _done(engine, effects)


def _set_quota(engine: Engine, caller: Caller, body: SetQuota) -> Response:
    return _set(engine, caller, body.quota_request)


def _remove_quota(engine: Engine, caller: Caller, body: RemoveQuota) -> Response:
    return _remove(engine, caller, body.role, "Failed to remove quota")


def _remove(engine: Engine, caller: Caller, role: str, wrong: str) -> Response:
    if role in engine.state.quotas and not _quota_of(caller)(role):
        return forbidden()
    effects = quota_updates.remove(engine.state, role)
    if effects is None:
        return text(400, f"{wrong}: Role '{role}' has no quota set")
    return _done(engine, effects)


def _update_weights(engine: Engine, caller: Caller, body: UpdateWeights) -> Response:
    return _weigh(engine, caller, body.weight_infos)


def _weigh(engine: Engine, caller: Caller, infos: tuple[WeightInfo, ...]) -> Response:
    try:
        effects = weights.update(
            engine.state,
            infos,
            engine.options.roles,
            may=lambda role: caller.approver.may("update_weights", role),
        )
    except ValueError as error:
        return text(400, str(error))
    except PermissionError:
        return forbidden()
    return _done(engine, effects)


def _weight_infos(engine: Engine, caller: Caller) -> list[WeightInfo]:
    return [
        WeightInfo(weight, role)
        for role, weight in engine.state.weights.items()
        if caller.approver.view_role(role)
    ]


def _get_weights(engine: Engine, caller: Caller, _body: None) -> Response:
    infos = to_json(_weight_infos(engine, caller))
    shown: dict[str, Any] = {"get_weights": {"weight_infos": infos}} if infos else {}
    return json_answer({"type": "GET_WEIGHTS", **shown})


CALLS: Final[OperatorCalls] = {
    "GET_QUOTA": read("GET_QUOTA", lambda engine: {"status": to_json(quota_status(engine.state))}),
    "UPDATE_QUOTA": OperatorCall(_update_quota, UpdateQuota),
    "SET_QUOTA": OperatorCall(_set_quota, SetQuota),
    "REMOVE_QUOTA": OperatorCall(_remove_quota, RemoveQuota),
    "GET_WEIGHTS": OperatorCall(_get_weights),
    "UPDATE_WEIGHTS": OperatorCall(_update_weights, UpdateWeights),
}


def quota_endpoint(engine: Engine, request: Request, body: bytes, caller: Caller) -> Response:
    """GET, POST and DELETE of `/quota`; the role to delete is the rest of the path."""
    if request.method == "GET":
        shown = to_json(quota_status(engine.state))
        users = visible.framework_users(engine.state)
        return json_answer(visible.endpoint("/quota", shown, users, caller.approver), request)
    if request.method == "POST":
        return _post_quota(engine, caller, body.decode("utf-8", "replace"))
    rest = request.url.path.strip("/").removeprefix("master/").removeprefix("quota")
    role = rest.strip("/")
    path = f"/master/quota{rest}"
    if not role:
        return text(
            400,
            f"Failed to parse remove quota request for path '{path}': expected 3 tokens, "
            "found 2 tokens",
        )
    allowed = engine.options.roles
    if allowed and role not in allowed | {"*"}:
        wrong = f"Failed to validate remove quota request for path '{path}'"
        return text(400, f"{wrong}: Unknown role '{role}'")
    return _remove(engine, caller, role, f"Failed to remove quota for path '{path}'")


def _post_quota(engine: Engine, caller: Caller, body: str) -> Response:
    try:
        value = parse_json(body.encode())
    except NotConvertible as error:
        return text(400, f"Failed to parse set quota request JSON '{body}': {error}")
    if not isinstance(value, dict):
        wrong = f"Failed to parse set quota request JSON '{body}'"
        return text(400, f"{wrong}: Unexpected JSON type parsed")
    try:
        request = from_json(value, QuotaRequest)
    except NotConvertible as error:
        return text(400, f"Failed to validate set quota request JSON '{body}': {error}")
    return _set(engine, caller, request)


def weights_endpoint(engine: Engine, request: Request, body: bytes, caller: Caller) -> Response:
    """GET and PUT of `/weights`."""
    if request.method == "GET":
        return json_answer(_weight_infos(engine, caller), request)
    given = body.decode("utf-8", "replace")
    wrong = f"Failed to parse update weights request JSON '{given}'"
    try:
        value = parse_json(body)
    except NotConvertible as error:
        return text(400, f"{wrong}: {error}")
    if not isinstance(value, list):
        return text(400, f"{wrong}: Unexpected JSON type parsed")
    try:
        infos = tuple(from_json(entry, WeightInfo) for entry in value)
    except NotConvertible as error:
        return text(400, f"Failed to convert weights JSON array to protobuf '{given}': {error}")
    return _weigh(engine, caller, infos)
