"""`kubedcos pod`: pod instances (tasks that are placed together) and where they run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kubedcos.cli.asking import ClusterOption, WhyOption, YesOption, complete_pods, confirm
from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, table

app = typer.Typer(no_args_is_help=True)

PodArgument = Annotated[
    str,
    typer.Argument(help="Pod instance, such as kube-node-0.", autocompletion=complete_pods),
]
TaskOption = Annotated[
    list[str] | None, typer.Option("--task", "-t", help="Only this task; may be repeated.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Also if a quorum is lost by it.")]

CancelOption = Annotated[
    bool,
    typer.Option("--cancel", help="Take it back: stay, or after leaving go back there, too."),
]


@app.command("list")
def list_(
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List pod instances."""
    how = chosen(output, as_json)
    client = connect()
    pods = client.get_all("clusters", cluster_name(client, cluster), "pods")
    if how in {Format.JSON, Format.YAML}:
        show(pods, how)
        return
    show(
        [{**pod, "states": _states(pod)} for pod in pods],
        how,
        columns=[
            ("NAME", "name"),
            ("HOST", "hostname"),
            ("REGION", "region"),
            ("ZONE", "zone"),
            ("TASKS", "states"),
        ],
    )


@app.command("show")
def show_(
    name: PodArgument,
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show one pod instance and its tasks."""
    how = chosen(output, as_json)
    client = connect()
    pod = client.get("clusters", cluster_name(client, cluster), "pods", name)
    show(pod, how, text=_page(pod, wide=how is Format.WIDE))


@app.command()
def describe(
    name: PodArgument,
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show one pod instance with its last offers and what befell it."""
    how = chosen(output, as_json)
    client = connect()
    pod = client.get("clusters", cluster_name(client, cluster), "pods", name, "describe")
    show(pod, how, text=_description(pod, wide=how is Format.WIDE))


@app.command()
def restart(
    name: PodArgument,
    cluster: ClusterOption = "",
    force: ForceOption = False,
    why: WhyOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """End the tasks of a pod instance and launch them again where they were."""
    _operate("restart", name, (), cluster, why, chosen(output, as_json), force=force)


@app.command()
def replace(
    name: PodArgument,
    cluster: ClusterOption = "",
    why: WhyOption = "",
    cancel: CancelOption = False,
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Give a pod instance up where it is, volumes included, and launch it elsewhere."""
    how = chosen(output, as_json)
    if cancel:
        _operate("replace", name, (), cluster, why, how, cancel=True)
        return
    confirm(f"Give up {name} where it is, and what its volumes hold?", yes)
    _operate("replace", name, (), cluster, why, how)


@app.command()
def pause(
    name: PodArgument,
    task: TaskOption = None,
    cluster: ClusterOption = "",
    force: ForceOption = False,
    why: WhyOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """End tasks of a pod instance, and do not launch them until they are resumed."""
    how = chosen(output, as_json)
    _operate("pause", name, tuple(task or ()), cluster, why, how, force=force)


@app.command()
def resume(
    name: PodArgument,
    task: TaskOption = None,
    cluster: ClusterOption = "",
    why: WhyOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Launch paused tasks again."""
    _operate("resume", name, tuple(task or ()), cluster, why, chosen(output, as_json))


def _operate(
    verb: str,
    pod: str,
    tasks: tuple[str, ...],
    cluster: str,
    why: str,
    how: Format,
    *,
    force: bool = False,
    cancel: bool = False,
) -> None:
    client = connect()
    path = ("clusters", cluster_name(client, cluster), "pod", pod, verb)
    answer = client.send(
        "POST",
        *path,
        document=list(tasks) or None,
        query={"force": "true" if force else "", "cancel": "true" if cancel else ""},
        why=why,
    )
    concerned = ", ".join(answer["tasks"]) or "none"
    what = f"{verb} --cancel" if cancel else verb
    show(answer, how, text=f"{what} of {pod} is stored; tasks concerned: {concerned}")


def _states(pod: dict[str, Any]) -> str:
    return " ".join(
        f"{task['name']}={(task['state'] or 'none').removeprefix('TASK_').lower()}"
        for task in pod["tasks"]
    )


def _description(pod: dict[str, Any], *, wide: bool) -> str:
    """A pod instance with its history, for people."""
    parts = [_page(pod, wide=wide)]
    offers = pod["offers"]
    if offers is not None:
        lines = [f"Last offers, {offers['at']}, of {offers['agents']} agents: {offers['reason']}"]
        lines += [f"  {each['hostname']:<16} {each['verdict']}" for each in offers["verdicts"]]
        parts.append("\n".join(lines))
    events = [f"  {event['at']}  {event['what']}" for event in pod["events"]]
    parts.append("\n".join(["Events:", *(events or ["  none since the scheduler began"])]))
    return "\n\n".join(parts)


def _page(pod: dict[str, Any], *, wide: bool) -> str:
    head = "\n".join(
        f"{key:<12} {pod.get(key) or '-'}"
        for key in ("name", "hostname", "region", "zone", "reservation", "reason")
    )
    columns = [
        ("TASK", "name"),
        ("STATE", "state"),
        ("READY", "ready"),
        ("CPUS", "cpus"),
        ("MEM", "mem_mb"),
        ("RUNNING SINCE", "running_at"),
        ("MESSAGE", "message"),
    ]
    if wide:
        columns.append(("ID", "id"))
    return f"{head}\n\n{table(pod['tasks'], columns)}"
