"""`kubedcos lab`: hosts for one machine, made from an inventory."""

from __future__ import annotations

import os
import random
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kubedcos.cli.inventories import InventoryOption, the_one
from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show, tell
from kubedcos.errors import InvalidInput, NotYetComplete, Problem
from kubedcos.lab import engine, inventory, lifecycle

app = typer.Typer(no_args_is_help=True)

# As seen on the bootstrap host, which is where we push from.
REGISTRY = "127.0.0.1:5000"


@app.command()
def up(inventory_path: InventoryOption = None) -> None:
    """Make the hosts and networks of the inventory; what is there already stays."""
    spec = inventory.load(the_one(inventory_path))
    changes = lifecycle.up(spec, podman_here(), tell=tell)
    if changes:
        tell(f"lab {spec.name}: {len(spec.hosts)} hosts up after {changes.seconds:.0f} s")
    else:
        tell(f"lab {spec.name}: nothing to change")


@app.command()
def image(inventory_path: InventoryOption = None) -> None:
    """Make the image of the inventory's hosts, which `up` makes otherwise."""
    spec = inventory.load(the_one(inventory_path))
    reference = lifecycle.image_of(spec, podman_here(), tell=tell)
    tell(f"lab {spec.name}: the image of its hosts is {reference}")


@app.command()
def down(inventory_path: InventoryOption = None) -> None:
    """Remove the hosts, volumes and networks of the inventory's lab, and nothing else."""
    spec = inventory.load(the_one(inventory_path))
    changes = lifecycle.down(spec.name, podman_here(), tell=tell)
    if changes:
        tell(f"lab {spec.name}: removed after {changes.seconds:.0f} s")
    else:
        tell(f"lab {spec.name}: nothing to remove")


@app.command()
def status(
    inventory_path: InventoryOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Show each host; exit code 4 while one of them is not up."""
    spec = inventory.load(the_one(inventory_path))
    found = lifecycle.status(spec, podman_here())
    show(
        [{**asdict(host), "up": host.up} for host in found],
        chosen(output, as_json),
        columns=[
            ("NAME", "name"),
            ("ADDRESS", "address"),
            ("REGION", "region"),
            ("ZONE", "zone"),
            ("STATE", "state"),
            ("SSH", "ssh"),
        ],
        wide=[("CONTAINER", "container")],
    )
    waiting = [host.name for host in found if not host.up]
    if waiting:
        raise NotYetComplete(f"not up: {', '.join(waiting)}")


@app.command("exec", context_settings={"ignore_unknown_options": True})
def execute(
    host: Annotated[str, typer.Argument(help="Host of the inventory.")],
    command: Annotated[list[str], typer.Argument(help="Program and arguments, after --.")],
    inventory_path: InventoryOption = None,
) -> None:
    """Run a program on a host; its exit code becomes ours."""
    spec = inventory.load(the_one(inventory_path))
    container = spec.host(host).container
    options = ["--interactive", "--tty"] if sys.stdin.isatty() else ["--interactive"]
    argv = podman_here().argv("exec", *options, container, *command)
    sys.stdout.flush()
    os.execvp(argv[0], argv)  # the program takes our place: signals and codes are its


@app.command("load-image")
def load_image(
    archives: Annotated[
        list[Path], typer.Argument(help="Archives written by podman, docker or buildah save.")
    ],
    inventory_path: InventoryOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Put images where every node pulls them, under their own names."""
    from kubedcos.lab import registry

    chosen_format = chosen(output, as_json)
    for archive in archives:
        registry.images(archive)  # one that is none is refused before anything is pushed
    spec = inventory.load(the_one(inventory_path))
    bootstrap = spec.host(spec.bootstrap)
    inside = engine.network_of(podman_here(), bootstrap.container)
    pushed = [
        image for archive in archives for image in registry.push(archive, REGISTRY, inside=inside)
    ]
    show(
        [asdict(image) for image in pushed],
        chosen_format,
        columns=[("IMAGE", "reference"), ("DIGEST", "digest")],
        wide=[("REGISTRY", "registry"), ("REPOSITORY", "repository"), ("TAG", "tag")],
    )


@app.command()
def simulate(
    agents: Annotated[int, typer.Option(help="How many agents.")] = 100,
    regions: Annotated[
        str, typer.Option(help="Regions, apart by commas; the master is in the first.")
    ] = "dc-a,dc-b",
    zones: Annotated[int, typer.Option(min=1, help="Zones of each region.")] = 2,
    resources: Annotated[
        str, typer.Option(help="Resources of each agent, as Mesos' flag has them.")
    ] = "cpus:8;mem:16384;disk:65536;ports:[31000-32000]",
    attributes: Annotated[
        str,
        typer.Option(help="Attributes, likewise; {number}, {region} and {zone} are filled in."),
    ] = "",
    ip: Annotated[str, typer.Option(help="Address on which the master listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Its port.")] = 5050,
    seed: Annotated[
        int | None, typer.Option(help="Seed of everything that chance decides.")
    ] = None,
    runs_for: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Seconds that a task runs which does not say so itself by its command (sleep N) "
            "or its label simulation.runs_for; without it until the task is killed.",
        ),
    ] = None,
    cut_every: Annotated[
        float | None,
        typer.Option(min=0.01, help="Seconds after which, again and again, an agent is cut off."),
    ] = None,
    cut_for: Annotated[
        float, typer.Option(min=0, help="Seconds until such an agent is back.")
    ] = 120.0,
    master_flags: Annotated[
        list[str] | None, typer.Argument(help="Flags of the Mesos master, after --.")
    ] = None,
) -> None:
    """Run a Mesos master with simulated agents until ^C; frameworks connect as to any other.

    Tasks are timers: nothing is started. Their exit status is that of their command (true, false,
    exit N, sleep N; exit M) or of their label simulation.exit_status.
    """
    from kubedcos.embedded.simulation import serving

    names = [name.strip() for name in regions.split(",")]
    if not all(names) or len(set(names)) < len(names):
        wanted = "names apart by commas, each once"
        raise InvalidInput([Problem("--regions", repr(regions), wanted, id="simulate-regions")])
    plan = serving.Plan(
        agents=agents,
        domains=tuple((name, f"{name}-{zone + 1}") for zone in range(zones) for name in names),
        resources=resources,
        attributes=attributes,
        address=ip,
        port=port,
        master_flags=tuple(master_flags or ()),
        seed=random.SystemRandom().getrandbits(32) if seed is None else seed,
        runs_for=runs_for,
        cut=serving.Cut(cut_every, cut_for) if cut_every is not None else None,
    )
    if status := serving.simulate(plan, tell):
        raise typer.Exit(status)


def podman_here() -> engine.Podman:
    """Podman as this machine needs it.

    Raises:
        InvalidInput: whoever asks is not root, or no container runtime fits.
    """
    if os.geteuid() != 0:
        raise InvalidInput(
            [Problem("user", f"user id {os.geteuid()}", "root: hosts need devices", id="lab-root")]
        )
    return engine.Podman(engine.global_options(engine.detect()))
