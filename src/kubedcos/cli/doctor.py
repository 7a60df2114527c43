"""`kubedcos doctor`: look at what the command line relies on, and say what helps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

import typer

from kubedcos.cli import client as api
from kubedcos.cli import contexts
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show
from kubedcos.errors import KubedcosError

app = typer.Typer()


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `id` is stable; `fix` is empty when all is well."""

    id: str
    ok: bool
    subject: str
    seen: str
    fix: str = ""


@app.callback(invoke_without_command=True)
def doctor(output: OutputOption = Format.TABLE, as_json: JsonOption = False) -> None:
    """Check context, API, clusters and their plans. Exit code 1 when something is wrong."""
    how = chosen(output, as_json)
    found = examine()
    show(
        [asdict(finding) for finding in found],
        how,
        columns=[
            ("CHECK", "id"),
            ("OK", "ok"),
            ("SUBJECT", "subject"),
            ("SEEN", "seen"),
            ("FIX", "fix"),
        ],
    )
    wrong = sum(not finding.ok for finding in found)
    if wrong:
        raise KubedcosError(f"{wrong} of {len(found)} checks found something wrong")


def examine(
    *,
    context: Callable[[], contexts.Context] = contexts.current,
    connect: Callable[[contexts.Context], api.Client] = api.Client,
) -> list[Finding]:
    """All findings, nearest first; what lies behind a fault is left out."""
    try:
        chosen_context = context()
    except KubedcosError as error:
        return [Finding("context", False, "context", str(error), "make demo")]
    found = [Finding("context", True, chosen_context.name, ", ".join(chosen_context.urls))]
    try:
        clusters = connect(chosen_context).get("clusters")
    except KubedcosError as error:
        fix = "systemctl status kubedcos-scheduler on the masters"
        return [*found, Finding("api", False, "framework scheduler", str(error), fix)]
    found.append(Finding("api", True, "framework scheduler", f"{len(clusters)} clusters"))
    for cluster in clusters:
        found.append(
            Finding(
                "mesos-connection",
                bool(cluster["connected"]),
                cluster["name"],
                cluster["master"] or cluster["error"] or "not subscribed",
                "" if cluster["connected"] else "look at the leading Mesos master",
            )
        )
        found += [
            Finding(
                "plan-step",
                False,
                f"{cluster['name']}: {plan['name']}/{step['name']}",
                f"{step['status']}: {step['reason']}",
                f"kubedcos pod show {step['pod']}",
            )
            for plan in cluster["plans"]
            for phase in plan["phases"]
            for step in phase["steps"]
            if step["status"] in {"ERROR", "DELAYED"}
        ]
        if cluster["status"] != "ERROR":
            found.append(
                Finding("plan-deploy", True, cluster["name"], f"deploy is {cluster['status']}")
            )
    return found
