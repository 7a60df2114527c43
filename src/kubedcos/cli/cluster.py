"""`kubedcos cluster`: Kubernetes clusters, one Mesos framework each."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from kubedcos.cli.asking import (
    ClusterOption,
    WhyOption,
    YesOption,
    answer_by,
    complete_clusters,
    confirm,
    duration_option,
)
from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.cluster_changes import WaitOption, load_options, read_options, until_complete
from kubedcos.cli.cluster_changes import app as changes
from kubedcos.cli.inventories import at_most_one
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, tell
from kubedcos.errors import InvalidInput, NotYetComplete, Problem, Refused

app = typer.Typer(no_args_is_help=True)
app.add_typer(changes)

_COLUMNS = (
    ("NAME", "name"),
    ("VERSION", "version"),
    ("STATUS", "status"),
    ("NODES", "nodes"),
    ("REGION", "region"),
    ("OVERLAY", "overlay"),
    ("CONNECTED", "connected"),
    ("DOING", "doing"),
)
_WIDE = (("MASTER", "master"), ("FRAMEWORK", "framework_id"), ("ROLE", "role"), ("ERROR", "error"))
_POLL_SECONDS = 1.0


@app.command()
def create(
    file: Annotated[Path, typer.Argument(help="Options of the cluster, YAML.")],
    wait: WaitOption = 0.0,
    why: WhyOption = "",
    wait_for_capacity: Annotated[
        bool, typer.Option("--wait-for-capacity", help="Create it though it does not fit yet.")
    ] = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Create the cluster that FILE describes; one that is there already stays as it is.

    One that does not fit on the agents there are is refused; see `kubedcos cluster check`.
    """
    how = chosen(output, as_json)
    options = read_options(file)
    name = str(options["name"])
    client = connect()
    answer = client.send(
        "POST",
        "clusters",
        document=options,
        query={"wait_for_capacity": "true"} if wait_for_capacity else None,
        why=why,
    )
    if wait:
        answer["cluster"] = until_complete(client, name, wait)
    made = "created" if answer["changed"] else "is there already; nothing to change"
    show(answer, how, text=f"cluster {name} {made}")


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Options of the cluster, YAML.")] = None,
    inventory: Annotated[
        list[Path] | None,
        typer.Option(
            "--inventory",
            "-i",
            metavar="PATH",
            help="Check the clusters of an inventory on its agents.",
        ),
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Say whether a cluster fits on the agents, and what binds if it does not; exit code 3 then.

    FILE is placed on what Mesos has free now; with --inventory on what its agents will offer.
    """
    how = chosen(output, as_json)
    if (given := at_most_one(inventory)) is not None:
        from kubedcos.cli import fitting  # only those who ask for it pay for it

        found = fitting.of_inventory(given, None if file is None else load_options(file))
    elif file is not None:
        document = read_options(file)
        found = connect().send("POST", "check", document=document)
    else:
        raise InvalidInput(
            [Problem("cluster check", "neither FILE nor -i", "one of them", id="check-what")]
        )
    show(found, how, text=_fitting(found))
    if not found["fits"]:
        raise Refused("\n".join(found["problems"]))


@app.command("list")
def list_(output: OutputOption = Format.TABLE, as_json: JsonOption = False) -> None:
    """List clusters."""
    how = chosen(output, as_json)
    show(connect().get_all("clusters"), how, columns=_COLUMNS, wide=_WIDE)


@app.command("show")
def show_(
    name: Annotated[
        str,
        typer.Argument(help="Cluster; default: the only one.", autocompletion=complete_clusters),
    ] = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show one cluster: its options, plans and pods."""
    how = chosen(output, as_json)
    client = connect()
    cluster = client.get("clusters", cluster_name(client, name))
    show(cluster, how, text=_page(cluster))


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="Cluster.", autocompletion=complete_clusters)],
    wait: WaitOption = 300.0,
    why: WhyOption = "",
    yes: YesOption = False,
    lost_wait: Annotated[
        float | None,
        duration_option(
            "--lost-wait", "Wait so long for lost agents; what is there is collected later."
        ),
    ] = None,
) -> None:
    """End all tasks of a cluster, destroy its volumes, remove its framework from Mesos."""
    client = connect()
    client.get("clusters", name)
    confirm(f"Delete cluster {name} and everything that it holds?", yes)
    query = {} if lost_wait is None else {"lost_wait": str(lost_wait)}
    client.send("DELETE", "clusters", name, query=query, why=why)
    deadline = time.monotonic() + wait
    clusters = partial(client.get_all, "clusters")
    while any(found["name"] == name for found in answer_by(clusters, deadline)):
        if time.monotonic() >= deadline:
            raise NotYetComplete(f"cluster {name} is still being deleted")
        time.sleep(_POLL_SECONDS)
    tell(f"cluster {name} is gone")
    noted = answer_by(partial(client.get_all, "leftovers"), deadline)
    left = [found for found in noted if found["cluster"] == name]
    for found in left:
        what = f"{found['what']} of {found['pod']}"
        tell(f"left on {found['hostname']}: {what}, collected when the agent returns")


@app.command()
def leftovers(
    forget: Annotated[
        str, typer.Option(help="Forget the leftover with this ID: its agent never returns.")
    ] = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List what deleted clusters have left on lost agents; it is collected when they return."""
    how = chosen(output, as_json)
    client = connect()
    if forget:
        client.send("DELETE", "leftovers", forget)
    show(
        client.get_all("leftovers"),
        how,
        columns=(
            ("ID", "id"),
            ("CLUSTER", "cluster"),
            ("WHAT", "what"),
            ("POD", "pod"),
            ("HOST", "hostname"),
            ("SINCE", "left_at"),
            ("WAITS FOR", "waits_for"),
        ),
    )


@app.command()
def actions(
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List what operators did to a cluster, the latest first: who, when, what, why, outcome."""
    how = chosen(output, as_json)
    client = connect()
    show(
        client.get_all("clusters", cluster_name(client, cluster), "actions"),
        how,
        columns=[("AT", "at"), ("WHO", "who"), ("WHAT", "what"), ("WHY", "why")],
        wide=[("OUTCOME", "outcome")],
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of the options file, for editors."""
    from kubedcos.config import cluster as options_file

    show(options_file.json_schema(), Format.JSON)


def _fitting(found: dict[str, Any]) -> str:
    """What a check found, for people."""
    lines = [
        f"{pod['pod']:<28} {pod['placed']} of {pod['wanted']}"
        + (f"  {pod['why']['reason']}" if pod["why"] else "")
        for pod in found.get("pods", ())
    ]
    lines.append("fits" if found["fits"] else "does not fit")
    return "\n".join(lines)


def _page(cluster: dict[str, Any]) -> str:
    """One cluster for people."""
    lines = [
        f"{key:<12} {cluster.get(key) if cluster.get(key) is not None else '-'}"
        for key in ("name", "version", "status", "role", "framework_id", "master", "doing", "error")
    ]
    lines.append("")
    lines += [
        f"{pod['name']:<28} {pod['hostname'] or '-':<12} {pod['region'] or '-':<10} "
        + " ".join(f"{task['name']}={task['state'] or '-'}" for task in pod["tasks"])
        for pod in cluster["pods"]
    ]
    return "\n".join(lines)
