"""`kubedcos status`: how every cluster stands, at a glance; or wait until all is complete."""

from __future__ import annotations

import math
import sys
import time
from functools import partial
from typing import Annotated, Any

import typer

from kubedcos.cli.asking import ClusterOption, answer_by, duration_option
from kubedcos.cli.client import Client, connect
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, table, tell, write
from kubedcos.errors import KubedcosError, NotYetComplete

_POLL_SECONDS = 1.0
_COLUMNS = [
    ("NAME", "name"),
    ("VERSION", "version"),
    ("STAGE", "stage"),
    ("STATUS", "status"),
    ("STEPS", "steps"),
    ("PODS", "pods"),
    ("DOING", "doing"),
]
_WIDE = [("MASTER", "master"), ("FRAMEWORK", "framework_id")]


def command(
    cluster: ClusterOption = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again.")] = False,
    wait: Annotated[
        float | None,
        duration_option("--wait", "Wait so long until every plan is complete, such as 10m."),
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show how clusters stand. With --wait the exit code is 4 when they are not done in time."""
    how = chosen(output, as_json)
    deadline = None if wait is None else time.monotonic() + wait
    client = connect()
    try:
        _follow(client, cluster, how, watch=watch, deadline=deadline)
    except KeyboardInterrupt:
        tell("")
        raise NotYetComplete("left before the end") from None


def _follow(
    client: Client, cluster: str, how: Format, *, watch: bool, deadline: float | None
) -> None:
    """Show once, or until complete, or for ever."""
    live = watch and sys.stdout.isatty() and how in {Format.TABLE, Format.WIDE}
    before: list[dict[str, Any]] = []
    while True:
        # A watch that has begun goes on, whoever is away for a moment.
        patience = math.inf if watch and before and deadline is None else deadline or 0.0
        rows = _rows(client, cluster, patience)
        done = all(row["complete"] for row in rows)
        over = deadline is not None and time.monotonic() >= deadline
        if live:
            write("\x1b[H\x1b[2J")
        if live or (watch and rows != before) or (not watch and (deadline is None or done or over)):
            _show(rows, how)
        elif deadline is not None and rows != before:
            for row in rows:
                tell(f"{row['name']}: {row['doing']}")
        before = rows
        broken = [row for row in rows if row["stage"] == "broken"]
        if deadline is not None and broken:
            raise KubedcosError(f"cluster {broken[0]['name']} is broken: {broken[0]['doing']}")
        if (deadline is None and not watch) or (deadline is not None and done):
            return
        if over:
            open_ones = ", ".join(row["name"] for row in rows if not row["complete"])
            raise NotYetComplete(f"not complete in time: {open_ones}")
        time.sleep(_POLL_SECONDS)


def _rows(client: Client, cluster: str, deadline: float) -> list[dict[str, Any]]:
    if cluster:
        return [_row(answer_by(partial(client.get, "clusters", cluster), deadline))]
    return [_row(each) for each in answer_by(partial(client.get_all, "clusters"), deadline)]


def _row(cluster: dict[str, Any]) -> dict[str, Any]:
    steps = [
        step for plan in cluster["plans"] for phase in plan["phases"] for step in phase["steps"]
    ]
    complete = sum(step["status"] == "COMPLETE" for step in steps)
    up = sum(
        all(task["state"] in ("TASK_RUNNING", "TASK_FINISHED") for task in pod["tasks"])
        for pod in cluster["pods"]
    )
    return {
        "name": cluster["name"],
        "version": cluster["version"],
        "stage": cluster["stage"],
        "status": cluster["status"],
        "steps": f"{complete}/{len(steps)}",
        "pods": f"{up}/{len(cluster['pods'])}",
        "doing": cluster["error"] or cluster["doing"],
        "complete": all(plan["status"] == "COMPLETE" for plan in cluster["plans"])
        and cluster["stage"] == "running",
        "master": cluster["master"],
        "framework_id": cluster["framework_id"],
    }


def _show(rows: list[dict[str, Any]], how: Format) -> None:
    text = None if rows else "there is no cluster; `kubedcos cluster create` makes one"
    if rows and how in {Format.TABLE, Format.WIDE}:
        text = table(rows, [*_COLUMNS, *(_WIDE if how is Format.WIDE else [])])
    show(rows, how, text=text)
