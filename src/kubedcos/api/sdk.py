"""The DC/OS SDK's endpoints, so that its scripts work with a cluster.

They are served at ``/v1/…`` for the only cluster, or the one named by ``?cluster=``, and at
``/v1/service/NAME/…``, where a DC/OS scheduler of several services has them. The verbs are also at
``/v1/clusters/NAME/…``, beside this project's own views.
"""

# No `from __future__ import annotations`: FastAPI reads annotations that name local variables.

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Depends, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from kubedcos.api import sdk_configurations, sdk_views
from kubedcos.api.access import Access
from kubedcos.api.hosted import Hosted, Unknown, no_such
from kubedcos.api.hosting import Clusters
from kubedcos.api.refusals import RESPONSES
from kubedcos.errors import InvalidInput, Problem, Refused
from kubedcos.plan.interruption import Verb
from kubedcos.scheduler.steering import Operator

_WORDS: Final = {
    "interrupt": Verb.PAUSE,
    "continue": Verb.RESUME,
    "restart": Verb.RESTART,
    "forceComplete": Verb.COMPLETE,
    "start": Verb.START,
    "stop": Verb.STOP,
}
_ALREADY: Final = 208
_NAME_MOST: Final = 200
_Part = Annotated[
    str, Query(max_length=_NAME_MOST, description="Name or id of it; empty: all of them.")
]
_Tasks = Annotated[
    list[str] | None, Body(max_length=50, description="Names of tasks; none: all of the pod.")
]
_Force = Annotated[bool, Query(description="Also if a quorum is lost by it.")]
_Cancel = Annotated[bool, Query(description="Take back what was asked for, as far as that goes.")]


class Done(BaseModel):
    """What a verb came to."""

    message: str


class PodDone(BaseModel):
    """The pod instance and the tasks that an operation was about."""

    pod: str
    tasks: list[str]


def routers(clusters: Clusters, access: Access) -> Sequence[APIRouter]:
    """The routes, at each of their places."""

    def only(
        cluster: Annotated[
            str, Query(max_length=_NAME_MOST, description="Cluster; default: the only one.")
        ] = "",
    ) -> Hosted:
        return _only(clusters, cluster)

    def named(name: str) -> Hosted:
        return clusters.get(name)

    made = []
    for prefix, find, whole in (
        ("/v1", only, True),
        ("/v1/service/{name}", named, True),
        ("/v1/clusters/{name}", named, False),
    ):
        operator = access.operator()
        router = APIRouter(
            prefix=prefix, dependencies=[Depends(operator)], responses=RESPONSES, tags=["SDK"]
        )
        if whole:
            _plan_reads(router, find)
            sdk_configurations.add(router, find, clusters.store)
        _plan_verbs(router, find, operator)
        _pods(router, find, operator)
        _state(router, find)
        made.append(router)
    return made


_Find = Callable[..., Hosted]


def _only(clusters: Clusters, name: str) -> Hosted:
    """The cluster of this name, or the only one.

    Raises:
        Unknown: there is no such cluster, or not exactly one.
    """
    if name:
        return clusters.get(name)
    found = clusters.all()
    if len(found) != 1:
        names = ", ".join(hosted.options.name for hosted in found) or "none so far"
        problem = Problem(
            "cluster",
            f"{len(found)} clusters",
            f"?cluster= with one of: {names}",
            id="cluster-choice",
        )
        raise Unknown([problem])
    return found[0]


def _plan_reads(router: APIRouter, find: _Find) -> None:
    @router.get("/plans")
    async def plan_names(hosted: Annotated[Hosted, Depends(find)]) -> list[str]:
        """Names of the plans."""
        return [plan["name"] for plan in hosted.scheduler.plan_list()]

    @router.get(
        "/plans/{plan}",
        responses={
            202: {"description": "It is not complete."},
            417: {"description": "A step cannot be carried out as it stands."},
        },
    )
    async def plan_status(plan: str, hosted: Annotated[Hosted, Depends(find)]) -> JSONResponse:
        """One plan; the status code tells whether it is complete."""
        view = plan_view(hosted, plan)
        return JSONResponse(sdk_views.plan(view), sdk_views.plan_code(view))


def _plan_verbs(router: APIRouter, find: _Find, operator: Callable[..., Operator]) -> None:
    def add(word: str, verb: Verb) -> None:
        async def steer(
            plan: str,
            response: Response,
            hosted: Annotated[Hosted, Depends(find)],
            by: Annotated[Operator, Depends(operator)],
            phase: _Part = "",
            step: _Part = "",
        ) -> Done:
            view = plan_view(hosted, plan)
            names = sdk_views.phase_and_step(view, phase, step)
            done = hosted.scheduler.plan_steer(verb, plan, *names, operator=by)
            if done.already:
                response.status_code = _ALREADY
            return Done(message=f"Received cmd: {word}: {done.sentence}")

        steer.__doc__ = f"{verb.value.capitalize()} a plan, a phase or a step."
        steer.__name__ = f"plan_{verb.value}"
        router.post(
            f"/plans/{{plan}}/{word}",
            responses={_ALREADY: {"model": Done, "description": "There was nothing to change."}},
        )(steer)

    async def start(
        plan: str,
        response: Response,
        hosted: Annotated[Hosted, Depends(find)],
        by: Annotated[Operator, Depends(operator)],
        parameters: Annotated[
            dict[str, str] | None, Body(description="Plans of ours take none.")
        ] = None,
    ) -> Done:
        """Start a plan: resume it, or do it again when it is complete."""
        plan_view(hosted, plan)
        if parameters:
            seen = ", ".join(sorted(parameters))
            raise InvalidInput([Problem("body", seen, "{}; a plan takes no parameters")])
        done = hosted.scheduler.plan_steer(Verb.START, plan, operator=by)
        response.status_code = _ALREADY if done.already else 200
        return Done(message=f"Received cmd: start: {done.sentence}")

    for word, verb in _WORDS.items():
        if verb is not Verb.START:
            add(word, verb)
    router.post(
        "/plans/{plan}/start",
        responses={_ALREADY: {"model": Done, "description": "There was nothing to change."}},
    )(start)


def _pods(router: APIRouter, find: _Find, operator: Callable[..., Operator]) -> None:
    @router.get("/pod")
    async def pod_names(hosted: Annotated[Hosted, Depends(find)]) -> list[str]:
        """Names of the pod instances."""
        return sdk_views.pod_names(hosted.scheduler.pod_list())

    @router.get("/pod/status")
    async def pod_statuses(hosted: Annotated[Hosted, Depends(find)]) -> dict[str, Any]:
        """Tasks of all pod instances."""
        scheduler = hosted.scheduler
        return sdk_views.pod_statuses(scheduler.name, scheduler.pod_list())

    @router.get("/pod/{pod}/status")
    async def pod_status(pod: str, hosted: Annotated[Hosted, Depends(find)]) -> dict[str, Any]:
        """Tasks of one pod instance."""
        return sdk_views.pod_status(pod_view(hosted, pod))

    @router.get("/pod/{pod}/info")
    async def pod_info(pod: str, hosted: Annotated[Hosted, Depends(find)]) -> list[dict[str, Any]]:
        """What Mesos is told and tells of the tasks of one pod instance."""
        return sdk_views.pod_info(pod_view(hosted, pod))

    def add(verb: str, about: str) -> None:
        async def operate(
            pod: str,
            hosted: Annotated[Hosted, Depends(find)],
            by: Annotated[Operator, Depends(operator)],
            tasks: _Tasks = None,
            force: _Force = False,
            cancel: _Cancel = False,
        ) -> PodDone:
            view = pod_view(hosted, pod)
            names = _task_names(view, tasks or (), selective=verb in ("pause", "resume"))
            if force and verb not in ("pause", "restart"):
                wanted = "only with restart and pause"
                raise InvalidInput([Problem("query: force", "true", wanted, id="pod-force")])
            if cancel and verb != "replace":
                wanted = "only with replace"
                raise InvalidInput([Problem("query: cancel", "true", wanted, id="pod-cancel")])
            word = "replace --cancel" if cancel else verb
            return PodDone(**operate_pod(hosted, word, pod, names, by, force=force))

        operate.__doc__ = about
        operate.__name__ = f"pod_{verb}"
        router.post(f"/pod/{{pod}}/{verb}")(operate)

    add("restart", "End the tasks of a pod instance and launch them again where they were.")
    add("replace", "Give a pod instance up where it is, and launch it elsewhere.")
    add("pause", "Keep tasks of a pod instance in their place without their work.")
    add("resume", "Take a pause back.")


def operate_pod(
    hosted: Hosted, verb: str, pod: str, tasks: tuple[str, ...], by: Operator, *, force: bool
) -> dict[str, Any]:
    """Have a verb carried out; done or refused, it is stored.

    Raises:
        Refused: a safety rule forbids it.
        InvalidInput: there is no such task.
    """
    scheduler = hosted.scheduler
    what = f"pod {verb} {pod}"
    what += f" ({', '.join(tasks)})" if tasks else ""
    what += ", forced" if force else ""
    try:
        match verb:
            case "restart":
                done = scheduler.pod_restart(pod, force=force)
            case "replace":
                done = scheduler.pod_replace(pod)
            case "replace --cancel":
                done = scheduler.pod_cancel_replace(pod)
            case "pause":
                done = scheduler.pod_pause(pod, tasks, force=force)
            case _:
                done = scheduler.pod_resume(pod, tasks)
    except (Refused, InvalidInput) as error:
        scheduler.note_action(by, what, f"refused: {error}")
        raise
    names = ", ".join(done["tasks"]) or "none"
    scheduler.note_action(by, what, f"stored; tasks concerned: {names}")
    return done


def _task_names(view: dict[str, Any], given: Sequence[str], *, selective: bool) -> tuple[str, ...]:
    """Tasks' own names for what a body names.

    Raises:
        InvalidInput: the pod has no such task, or the verb is of whole pods.
    """
    instance = str(view["name"])
    if given and not selective:
        wanted = "no body; this verb is of the whole pod instance"
        raise InvalidInput([Problem("body", f"{len(given)} tasks", wanted)])
    known = [task["name"] for task in view["tasks"]]
    names = tuple(dict.fromkeys(sdk_views.short_task(instance, name) for name in given))
    unknown = [name for name in names if name not in known]
    if unknown:
        wanted = f"one of: {', '.join(known)}"
        raise Unknown([Problem(f"task of {instance}", repr(unknown[0]), wanted, id="task-unknown")])
    return names


def _state(router: APIRouter, find: _Find) -> None:
    @router.get("/state/frameworkId")
    async def framework_id(hosted: Annotated[Hosted, Depends(find)]) -> list[str]:
        """Mesos' id of the framework; empty before the first subscription."""
        found = hosted.scheduler.world.cluster.framework_id
        return [found] if found else []

    @router.get("/state/zone/tasks")
    async def zones(hosted: Annotated[Hosted, Depends(find)]) -> dict[str, str]:
        """The zone of each task."""
        return sdk_views.zones(hosted.scheduler.pod_list())

    @router.get("/state/zone/tasks/{task}")
    async def zone(task: str, hosted: Annotated[Hosted, Depends(find)]) -> str:
        """The zone of one task."""
        found = sdk_views.zones(hosted.scheduler.pod_list())
        if task not in found:
            raise no_such("task", task, list(found))
        return found[task]

    @router.get("/state/properties")
    async def properties(hosted: Annotated[Hosted, Depends(find)]) -> list[str]:
        """Names of what is kept of the framework."""
        return sorted(_properties(hosted))

    @router.get("/state/properties/{key}")
    async def property_(key: str, hosted: Annotated[Hosted, Depends(find)]) -> Any:
        """One of these."""
        found = _properties(hosted)
        if key not in found:
            raise no_such("property", key, sorted(found))
        return found[key]

    @router.put("/state/refresh")
    async def refresh(hosted: Annotated[Hosted, Depends(find)]) -> Done:
        """Nothing: what the scheduler knows is always what is stored."""
        name = hosted.scheduler.name
        return Done(message=f"{name}: every change is stored before it is believed; nothing to do")


def _properties(hosted: Hosted) -> dict[str, Any]:
    cluster = hosted.scheduler.world.cluster
    return {
        "created-at": cluster.created_at,
        "deleting": cluster.deleting,
        "local-region": cluster.local_region,
    }


def plan_view(hosted: Hosted, name: str) -> dict[str, Any]:
    """A plan as the scheduler shows it.

    Raises:
        Unknown: there is no such plan.
    """
    try:
        return hosted.scheduler.plan_show(name)
    except KeyError:
        known = [found["name"] for found in hosted.scheduler.plan_list()]
        raise no_such("plan", name, known) from None


def pod_view(hosted: Hosted, name: str) -> dict[str, Any]:
    """A pod instance as the scheduler shows it.

    Raises:
        Unknown: there is no such pod instance.
    """
    try:
        return hosted.scheduler.pod_show(name)
    except KeyError:
        known = [found["name"] for found in hosted.scheduler.pod_list()]
        raise no_such("pod", name, known) from None
