"""`kubedcos pod`: pod instances (tasks that are placed together) and where they run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, table

app = typer.Typer(no_args_is_help=True)

ClusterOption = Annotated[
    str, typer.Option("--cluster", "-c", help="Cluster; default: the only one.")
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
    pods = client.get("clusters", cluster_name(client, cluster), "pods")
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
    name: Annotated[str, typer.Argument(help="Pod instance, such as kube-node-0.")],
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show one pod instance and its tasks."""
    how = chosen(output, as_json)
    client = connect()
    pod = client.get("clusters", cluster_name(client, cluster), "pods", name)
    show(pod, how, text=_page(pod, wide=how is Format.WIDE))


def _states(pod: dict[str, Any]) -> str:
    return " ".join(
        f"{task['name']}={(task['state'] or 'none').removeprefix('TASK_').lower()}"
        for task in pod["tasks"]
    )


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
