"""`kubedcos plan`: what is done in which order, how far it is, and what it waits for."""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from kubedcos.cli.asking import ClusterOption, WhyOption, YesOption, complete_plans, confirm
from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, print_answer, show, tell
from kubedcos.errors import NotYetComplete

app = typer.Typer(no_args_is_help=True)

PlanArgument = Annotated[str, typer.Argument(help="Plan.", autocompletion=complete_plans)]
PhaseArgument = Annotated[str, typer.Argument(help="Phase; default: all of the plan.")]
StepArgument = Annotated[str, typer.Argument(help="Step; default: all of the phase.")]
_WATCH_SECONDS = 1.0


@app.command("list")
def list_(
    cluster: ClusterOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """List plans."""
    how = chosen(output, as_json)
    client = connect()
    show(
        client.get_all("clusters", cluster_name(client, cluster), "plans"),
        how,
        columns=[
            ("NAME", "name"),
            ("STATUS", "status"),
            ("COMPLETE", "complete"),
            ("STEPS", "steps"),
        ],
    )


@app.command("show")
def show_(
    name: PlanArgument = "deploy",
    cluster: ClusterOption = "",
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Follow until complete.")] = False,
    why: Annotated[
        bool, typer.Option("--why", help="Show what waiting steps wait for, agent by agent.")
    ] = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show a plan as a tree. With --watch the exit code is 4 when it is left incomplete."""
    how = chosen(output, as_json)
    client = connect()
    path = ("clusters", cluster_name(client, cluster), "plans", name)
    if why:
        found = client.get(*path, "why")
        show(found, how, text=reasons(found, wide=how is Format.WIDE))
        return
    plan = client.get(*path)
    if not watch:
        _print(plan, how)
        return
    live = sys.stdout.isatty() and how in {Format.TABLE, Format.WIDE}
    before = ""
    try:
        while True:
            now = tree(plan, wide=how is Format.WIDE)
            if live:
                print_answer(f"\x1b[H\x1b[2J{now}")
            elif now != before:
                _print(plan, how)
            before = now
            if plan["status"] == "COMPLETE":
                return
            time.sleep(_WATCH_SECONDS)
            plan = client.get(*path)
    except KeyboardInterrupt:
        tell("")
        raise NotYetComplete(f"plan {name} is {plan['status']}") from None


@app.command()
def pause(
    name: PlanArgument,
    phase: PhaseArgument = "",
    step: StepArgument = "",
    cluster: ClusterOption = "",
    why: WhyOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Begin nothing more in a plan, a phase or a step; what is under way goes on."""
    _steer("interrupt", (name, phase, step), cluster, why, chosen(output, as_json))


@app.command()
def resume(
    name: PlanArgument,
    phase: PhaseArgument = "",
    step: StepArgument = "",
    cluster: ClusterOption = "",
    why: WhyOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Take a pause back."""
    _steer("continue", (name, phase, step), cluster, why, chosen(output, as_json))


@app.command()
def restart(
    name: PlanArgument,
    phase: PhaseArgument = "",
    step: StepArgument = "",
    cluster: ClusterOption = "",
    why: WhyOption = "",
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Do steps again, in the order of the plan: their tasks end and are launched anew."""
    how = chosen(output, as_json)
    if not step:
        what = f"phase {phase} of plan {name}" if phase else f"the whole plan {name}"
        confirm(f"End and launch again every task of {what}?", yes)
    _steer("restart", (name, phase, step), cluster, why, how)


@app.command()
def complete(
    name: PlanArgument,
    phase: PhaseArgument = "",
    step: StepArgument = "",
    cluster: ClusterOption = "",
    why: WhyOption = "",
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Take steps for complete, whatever their tasks do."""
    how = chosen(output, as_json)
    if not step:
        what = f"phase {phase} of plan {name}" if phase else f"the whole plan {name}"
        confirm(f"Take every step of {what} for complete?", yes)
    _steer("forceComplete", (name, phase, step), cluster, why, how)


@app.command()
def start(
    name: PlanArgument,
    cluster: ClusterOption = "",
    why: WhyOption = "",
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Resume a plan; one that is complete is done again."""
    _steer("start", (name, "", ""), cluster, why, chosen(output, as_json))


@app.command()
def stop(
    name: PlanArgument,
    cluster: ClusterOption = "",
    why: WhyOption = "",
    yes: YesOption = False,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Pause a plan; once started again, it is done from its beginning."""
    how = chosen(output, as_json)
    confirm(f"Have the whole plan {name} done again once it is started?", yes)
    _steer("stop", (name, "", ""), cluster, why, how)


# As the DC/OS CLI calls them.
app.command("status", hidden=True)(show_)
app.command("force-restart", hidden=True)(restart)
app.command("force-complete", hidden=True)(complete)


def _steer(word: str, element: tuple[str, str, str], cluster: str, why: str, how: Format) -> None:
    """Ask for a verb, by the SDK's word for it."""
    name, phase, step = element
    client = connect()
    path = ("clusters", cluster_name(client, cluster), "plans", name, word)
    query = {"phase": phase, "step": step}
    answer = client.send("POST", *path, query=query, why=why)
    show(answer, how, text=str(answer["message"]).removeprefix(f"Received cmd: {word}: "))


def _print(plan: dict[str, Any], how: Format) -> None:
    if how in {Format.TABLE, Format.WIDE}:
        print_answer(tree(plan, wide=how is Format.WIDE))
    else:
        show(plan, how)


def tree(plan: dict[str, Any], *, wide: bool = False) -> str:
    """The plan as text: phases and steps with status, host, times, and what they wait for."""
    lines = [f"{plan['name']} ({plan['status']})"]
    phases = plan["phases"]
    names = [step["name"] for phase in phases for step in phase["steps"]]
    width = max([len(name) for name in names] + [8])
    for number, phase in enumerate(phases):
        last_phase = number == len(phases) - 1
        lines.append(
            f"{'└─' if last_phase else '├─'} {phase['name']} ({phase['strategy']}, "
            f"{phase['status']})"
        )
        indent = "   " if last_phase else "│  "
        for position, step in enumerate(phase["steps"]):
            last_step = position == len(phase["steps"]) - 1
            branch = "└─" if last_step else "├─"
            lines.append(f"{indent}{branch} {_step(step, width)}".rstrip())
            below = indent + ("   " if last_step else "│  ")
            if step["reason"] and step["status"] != "COMPLETE":
                lines.append(f"{below}  {step['reason']}")
            if wide:
                lines += [
                    f"{below}  {task['name']} {task['state'] or '-'} {task['id'] or ''}".rstrip()
                    for task in step["tasks"]
                ]
    return "\n".join(lines)


def reasons(found: dict[str, Any], *, wide: bool = False) -> str:
    """What the waiting steps of a plan wait for, as text; each stage of each agent when wide."""
    if not found["waiting"]:
        return f"no step of {found['name']} ({found['status']}) waits for an agent"
    lines = []
    for group in found["waiting"]:
        steps = group["steps"]
        more = f" and {len(steps) - 1} more" if len(steps) > 1 else ""
        lines.append(f"{steps[0]}{more}: {group['reason']}")
        lines += [
            f"  short of {short['unit']}: needs {short['needed']:g}, at most {short['best']:g}"
            f" ({short['hostname']})"
            for short in group["shortfall"]
        ]
        counts = ", ".join(f"{stage} {agents}" for stage, agents in group["rejected"].items())
        if counts:
            lines.append(f"  {group['agents']} agents offered; ruled out by: {counts}")
        lines += [f"  {line}" for line in _agents(group["verdicts"], wide=wide)]
        if group["verdicts_left_out"]:
            lines.append(f"  and {group['verdicts_left_out']} more agents")
    return "\n".join(lines)


def _agents(verdicts: list[dict[str, Any]], *, wide: bool) -> list[str]:
    lines = []
    for verdict in verdicts:
        place = "/".join(part for part in (verdict["region"], verdict["zone"]) if part)
        told = [
            f"{stage['stage']} {'ok' if stage['passed'] else 'no: ' + stage['reason']}"
            for stage in verdict["stages"]
            if wide or not stage["passed"]
        ]
        lines.append(f"{verdict['hostname']:<16} {place:<16} {'; '.join(told)}")
    return lines


def _step(step: dict[str, Any], width: int) -> str:
    places = dict.fromkeys(
        f"{task['hostname']} ({task['region']}/{task['zone']})"
        for task in step["tasks"]
        if task["hostname"]
    )
    times = " → ".join(
        _clock(step[key]) for key in ("started_at", "finished_at") if step[key] is not None
    )
    return f"{step['name']:<{width}}  {step['status']:<11}  {', '.join(places):<22}  {times}"


def _clock(text: str) -> str:
    """The time of day of an ISO 8601 text."""
    return text.partition("T")[2].removesuffix("Z") or text
