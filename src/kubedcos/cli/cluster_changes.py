"""`kubedcos cluster update`, `scale`, `rollback`, `history`: changes of a cluster that runs."""

from __future__ import annotations

import json
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kubedcos.cli.asking import (
    ClusterOption,
    WhyOption,
    YesOption,
    answer_by,
    confirm,
    duration_option,
)
from kubedcos.cli.client import Client, cluster_name, connect
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, table, tell
from kubedcos.errors import InvalidInput, NotYetComplete, Problem, Refused

if TYPE_CHECKING:
    from kubedcos.config.cluster import ClusterOptions

app = typer.Typer()

WaitOption = Annotated[
    float, duration_option("--wait", "Wait so long until it is complete, such as 10m.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Only show it; exit code 3 when there is something to do.")
]
ForceOption = Annotated[
    bool, typer.Option("--force", help="Remove nodes although they cannot be drained now.")
]
CapacityOption = Annotated[
    bool, typer.Option("--wait-for-capacity", help="Go on though it does not fit yet.")
]
_POLL_SECONDS = 1.0
_SHOWN_STEPS = 20


@app.command()
def update(
    file: Annotated[Path, typer.Argument(help="Options that the cluster is to have, YAML.")],
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
    wait_for_capacity: CapacityOption = False,
    why: WhyOption = "",
    wait: WaitOption = 0.0,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Change a running cluster to the options of FILE; shows what differs and what restarts."""
    how = chosen(output, as_json)
    options = read_options(file)
    name = str(options["name"])
    change = _Change(connect(), name, ("PUT", "clusters", name), options)
    change.accept(force=force, wait_for_capacity=wait_for_capacity)
    change.run(how, dry_run=dry_run, yes=yes, wait=wait, why=why)


@app.command()
def scale(
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=0, help="Nodes that there are to be.")
    ] = None,
    pool: Annotated[str, typer.Option("--pool", help="Node pool; default: that of `node`.")] = "",
    remove: Annotated[
        list[str] | None,
        typer.Option("--remove", help="Node that is to go, such as kube-node-3; repeatable."),
    ] = None,
    cluster: ClusterOption = "",
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
    wait_for_capacity: CapacityOption = False,
    why: WhyOption = "",
    wait: WaitOption = 0.0,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Change the number of nodes; fewer go one by one, drained, the highest number first."""
    how = chosen(output, as_json)
    if nodes is None and not remove:
        raise InvalidInput(
            [Problem("cluster scale", "neither", "--nodes N or --remove NODE", id="scale-choice")]
        )
    client = connect()
    name = cluster_name(client, cluster)
    asked: dict[str, Any] = {"pool": pool, "remove": list(remove or ())}
    if nodes is not None:
        asked["nodes"] = nodes
    change = _Change(client, name, ("POST", "clusters", name, "scale"), asked)
    change.accept(force=force, wait_for_capacity=wait_for_capacity)
    change.run(how, dry_run=dry_run, yes=yes, wait=wait, why=why)


@app.command()
def rollback(
    cluster: ClusterOption = "",
    to: Annotated[
        int | None, typer.Option("--to", help="Number of the configuration; default: the former.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    force: ForceOption = False,
    wait_for_capacity: CapacityOption = False,
    why: WhyOption = "",
    wait: WaitOption = 0.0,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Return to the options of an earlier configuration; `history` lists them."""
    how = chosen(output, as_json)
    client = connect()
    name = cluster_name(client, cluster)
    more = {} if to is None else {"to": str(to)}
    change = _Change(client, name, ("POST", "clusters", name, "rollback"), {}, more)
    change.accept(force=force, wait_for_capacity=wait_for_capacity)
    change.run(how, dry_run=dry_run, yes=yes, wait=wait, why=why)


@app.command()
def history(
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List the configurations that a cluster has and had."""
    how = chosen(output, as_json)
    client = connect()
    show(
        client.get_all("clusters", cluster_name(client, cluster), "configurations"),
        how,
        columns=(
            ("NUMBER", "number"),
            ("TARGET", "target"),
            ("MADE", "made_at"),
            ("BY", "by"),
            ("WHY", "why"),
        ),
    )


class _Change:
    """A change that is first looked at and then made against the very same state."""

    def __init__(
        self,
        client: Client,
        name: str,
        path: tuple[str, ...],
        document: dict[str, Any],
        query: dict[str, str] | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._method, *self._path = path
        self._document = document
        self._query = query or {}
        self._why = ""

    def accept(self, *, force: bool, wait_for_capacity: bool) -> None:
        """What is not to be a reason to refuse."""
        if force:
            self._query["force"] = "true"
        if wait_for_capacity:
            self._query["wait_for_capacity"] = "true"

    def run(self, how: Format, *, dry_run: bool, yes: bool, wait: float, why: str) -> None:
        """Show it, ask, make it, wait for it.

        Raises:
            Refused: with `dry_run`, when there is something to change.
        """
        self._why = why
        planned = self._send(dry_run="true")
        if dry_run:
            show(planned, how, text=page(planned))
            if planned["changed"]:
                raise Refused(f"changes of cluster {self._name} are pending")
            return
        answer = planned
        if planned["changed"]:
            if not yes:
                tell(page(planned))
            confirm(f"Change cluster {self._name}?", yes)
            answer = self._send(expect=str(planned["configuration"] - 1))
        if wait:
            answer["cluster"] = until_complete(self._client, self._name, wait)
        show(answer, how, text=page(answer) if yes or not answer["changed"] else _made(answer))

    def _send(self, **more: str) -> Any:
        query = {**self._query, **more}
        return self._client.send(
            self._method, *self._path, document=self._document, query=query, why=self._why
        )


def read_options(file: Path) -> dict[str, Any]:
    """The options of a file, checked, as plain data; see `load_options`."""
    return load_options(file).model_dump(mode="json")


def load_options(file: Path) -> ClusterOptions:
    """The options of a file.

    Raises:
        InvalidInput: the file cannot be read, or its options are wrong.
    """
    from kubedcos.config import cluster as options_file  # pydantic costs 0.2 s
    from kubedcos.config.yaml_text import read_mapping

    return options_file.validate(read_mapping(file), str(file))


def until_complete(client: Client, name: str, seconds: float) -> dict[str, Any]:
    """Wait until all plans are complete; says on stderr what is done meanwhile.

    Returns:
        The cluster, as it is then.

    Raises:
        NotYetComplete: the time is up.
        Unreachable: the time is up, and no scheduler answers.
    """
    deadline = time.monotonic() + seconds
    said = ""
    while True:
        cluster = answer_by(partial(client.get, "clusters", name), deadline)
        open_plans = [plan for plan in cluster["plans"] if plan["status"] != "COMPLETE"]
        if not open_plans and cluster["status"] == "COMPLETE":
            return cluster
        doing = str(cluster["error"] or cluster["doing"])
        if doing != said:
            tell(doing)
            said = doing
        if time.monotonic() >= deadline:
            states = ", ".join(f"{plan['name']} is {plan['status']}" for plan in open_plans)
            raise NotYetComplete(f"cluster {name}: plan {states}: {doing}")
        time.sleep(_POLL_SECONDS)


def page(planned: dict[str, Any]) -> str:
    """What a change does, for people: options, then steps in their order."""
    if not planned["changed"]:
        return f"nothing to change: it is configuration {planned['configuration']}"
    rows = [
        {
            "option": change["option"],
            "change": f"{_value(change['old'])} -> {_value(change['new'])}",
            "changeable": change["changeable"],
            "restarts": ", ".join(change["restarts"]) or "nothing",
        }
        for change in planned["changes"]
    ]
    parts = []
    if rows:
        columns = (
            ("OPTION", "option"),
            ("OLD -> NEW", "change"),
            ("CHANGEABLE", "changeable"),
            ("RESTARTS", "restarts"),
        )
        parts.append(table(rows, columns))
    parts.append(_steps(planned["steps"]))
    return "\n\n".join(parts)


def _steps(steps: list[dict[str, Any]]) -> str:
    if not steps:
        return "No step has to run."
    lines = ["Steps, in this order:"]
    for step in steps[:_SHOWN_STEPS]:
        what = f"  {step['doing']:<10} {step['pod_instance']}: {', '.join(step['tasks'])}"
        lines.append(what)
    if len(steps) > _SHOWN_STEPS:
        lines.append(f"  and {len(steps) - _SHOWN_STEPS} more")
    return "\n".join(lines)


def _made(answer: dict[str, Any]) -> str:
    return f"cluster changed: configuration {answer['configuration']} is the target now"


def _value(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False)
