"""`kubedcos doctor`: look at what the command line relies on, and say what helps."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from kubedcos.cli import client as api
from kubedcos.cli import contexts
from kubedcos.cli.archive import default_path, local, members, write
from kubedcos.cli.inventories import at_most_one
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, tell
from kubedcos.errors import InvalidInput, KubedcosError, Problem


@dataclass(frozen=True, slots=True)
class Finding:
    """One check. `id` is stable; `fix` is empty when all is well."""

    id: str
    ok: bool
    subject: str
    seen: str
    fix: str = ""


def command(
    archive: Annotated[
        bool, typer.Option("--archive", "-a", help="Write one archive for a supporter.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option("--file", help="Name of the archive; default: with the time.")
    ] = None,
    inventory: Annotated[
        list[Path] | None,
        typer.Option(
            "--inventory",
            "-i",
            metavar="PATH",
            help="Run the preflight's checks on its hosts, too.",
        ),
    ] = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Check context, API, clusters, plans and hosts. Exit code 1 when something is wrong."""
    how = chosen(output, as_json)
    found = examine()
    said = ""
    if (given := at_most_one(inventory)) is not None:
        finding, said = preflight(given)
        found.append(finding)
    if archive or file is not None:
        path = file or default_path(time.time())
        _write_archive(path, found, said)
        tell(f"{path}: look through it before you send it")
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


def preflight(inventory: Path) -> tuple[Finding, str]:
    """What the preflight's checks say of an inventory's hosts, and all of their output.

    They only read, and are made for hosts that run a cluster already as for fresh ones.

    Raises:
        InvalidInput: this is no checkout, or Ansible is not installed.
    """
    from kubedcos.cli import preflight as play  # only those who ask pay for it
    from kubedcos.cli.stages import findings_of

    argv = play.program(inventory, None)
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        wanted = "ansible-playbook beside kubedcos; `make setup` installs it"
        raise InvalidInput([Problem(argv[0], str(error), wanted, id="ansible-missing")]) from error
    said = done.stdout + done.stderr
    if done.returncode == 0:
        return Finding("preflight", True, str(inventory), "every host passes"), said
    lines = findings_of(said.splitlines()) or said.strip().splitlines()[-3:]
    fix = "as the findings say; `kubedcos preflight` shows them in full"
    return Finding("preflight", False, str(inventory), "; ".join(lines), fix), said


def _write_archive(path: Path, found: Sequence[Finding], said: str) -> None:
    """Write the archive with what can be had; what cannot is a finding already."""
    support, metrics, known = None, "", []
    about = local("", ())
    try:
        context = contexts.current()
        about, known = local(context.name, context.urls), [context.token]
        client = api.Client(context, seconds=60.0)
        support = client.get("support")
        metrics = client.text("metrics", "prometheus")
    except KubedcosError as error:
        about["error"] = str(error)
    files = members(
        findings=[asdict(finding) for finding in found],
        local=about,
        support=support,
        metrics=metrics,
        preflight=said,
        known=known,
    )
    write(path, files)


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
        client = connect(chosen_context)
        clusters = client.get_all("clusters")
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
        found += _waiting(client, cluster)
        if cluster["status"] != "ERROR":
            found.append(
                Finding("plan-deploy", True, cluster["name"], f"deploy is {cluster['status']}")
            )
    return found


def _waiting(client: api.Client, cluster: Mapping[str, Any]) -> list[Finding]:
    """Steps for which none of the agents that were offered will do."""
    name = cluster["name"]
    found: list[Finding] = []
    for plan in cluster["plans"]:
        if plan["status"] == "COMPLETE":
            continue
        try:
            waiting = client.get("clusters", name, "plans", plan["name"], "why")["waiting"]
        except KubedcosError as error:
            fix = "systemctl status kubedcos-scheduler on the masters"
            return [*found, Finding("plan-waits", False, name, str(error), fix)]
        found += [
            Finding(
                "plan-waits",
                False,
                f"{name}: {plan['name']}/{group['steps'][0]}",
                group["reason"],
                f"kubedcos plan show {plan['name']} --why --cluster {name}",
            )
            for group in waiting
            if group["agents"]
        ]
    return found
