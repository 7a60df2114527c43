"""`kubedcos demo`: everything on this machine, stage by stage; `make demo` calls it."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from kubedcos.cli import contexts
from kubedcos.cli.ending import Terminated, told_by_signals
from kubedcos.cli.inventories import InventoryOption, the_one
from kubedcos.cli.lab import podman_here
from kubedcos.cli.output import print_answer, tell
from kubedcos.cli.stages import Part, Recap, Stage, Stages, clock_text
from kubedcos.config.yaml_text import read_mapping
from kubedcos.errors import InvalidInput, Problem
from kubedcos.lab import inventory, lifecycle
from kubedcos.lab.spec import LabSpec

app = typer.Typer(no_args_is_help=True)

# Packages and the Python environment, which scripts/setup.sh makes before Python can run.
STAGES_OF_SETUP = 2
SITE = Path("playbooks/site.yml")
PREFLIGHT = "preflight"
HOSTS = "hosts of the lab"
WEB = Path("demo/web.yml")

VarsOption = Annotated[
    Path | None, typer.Option("--vars", help="File of variables, passed to every play.")
]


@app.command()
def up(inventory_paths: InventoryOption = None, variables: VarsOption = None) -> None:
    """Build, start and stage everything; a second run changes nothing."""
    started = time.monotonic()
    inventory_path = the_one(inventory_paths)
    if variables is not None:
        read_mapping(variables)  # whatever is wrong with it is said before hosts are asked
    spec = inventory.load(inventory_path)
    # Artefacts may take a quarter of an hour to build; what stands against the hosts is said now.
    there = lifecycle.refuse_conflicts(spec, podman_here())
    running = all(there.get(host.name, {}).get("State") == "running" for host in spec.hosts)
    wanted = plan(inventory_path, variables, SITE, look=not running)
    if running:
        # Another program would read the inventory anew, which takes longer than the look.
        again = partial(lifecycle.up, spec, podman_here(), tell=tell)
        wanted = [replace(s, work=again) if s.title == HOSTS else s for s in wanted]
    stages = Stages(
        lifecycle.cache_root() / "logs",
        first=STAGES_OF_SETUP + 1,
        total=STAGES_OF_SETUP + sum(len(stage.titles) for stage in wanted),
    )
    try:
        with told_by_signals():
            for stage in wanted:
                stages.run(stage)
    except (KeyboardInterrupt, Terminated):
        tell("interrupted: `make demo` continues, `make demo-down` removes what is there")
        raise
    for line in recap_lines(stages.recaps):
        tell(line)
    print_answer(_page(spec, time.monotonic() - started))


@app.command()
def down(inventory_paths: InventoryOption = None) -> None:
    """Remove what the demo made on this machine; what can be used again stays in the cache."""
    spec = inventory.load(the_one(inventory_paths))
    changes = lifecycle.down(spec.name, podman_here(), tell=tell)
    removed = contexts.remove_of({str(host.address) for host in spec.hosts})
    if changes or removed:
        tell(f"demo {spec.name}: removed after {changes.seconds:.0f} s")
    else:
        tell(f"demo {spec.name}: nothing to remove")


def playbooks(site: Path) -> list[Path]:
    """The playbooks that `site` imports, in its order.

    Raises:
        InvalidInput: it does not exist or imports none.
    """
    names = [
        entry.get("ansible.builtin.import_playbook") or entry.get("import_playbook")
        for entry in _entries(site)
    ]
    found = [site.parent / str(name) for name in names if name]
    if not found:
        raise InvalidInput([Problem(str(site), "no imports", "playbooks", id="demo-checkout")])
    return found


def _entries(playbook: Path) -> list[dict[str, Any]]:
    try:
        document = yaml.safe_load(playbook.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidInput(
            [Problem(str(playbook), str(error), "the checkout's playbook", id="demo-checkout")]
        ) from error
    return [entry for entry in document or [] if isinstance(entry, dict)]


def plays(playbook: Path) -> frozenset[str]:
    """Names of the plays in a playbook.

    Raises:
        InvalidInput: it cannot be read.
    """
    return frozenset(str(play["name"]) for play in _entries(playbook) if "name" in play)


def plan(
    inventory_path: Path, variables: Path | None, site: Path, *, look: bool = True
) -> list[Stage]:
    """The stages after setup.

    A look at the inventory, artefacts, hosts, one for each playbook, the web application. The
    playbooks are one run of Ansible: each start of it costs seconds.

    Args:
        inventory_path: where the hosts are described.
        variables: file of variables for every play.
        site: the playbook that imports the others.
        look: whether to look at the inventory before artefacts and hosts are made; where they are
            there already, the preflight of `site` comes soon enough.
    """
    own = str(Path(sys.argv[0]).absolute()) if Path(sys.argv[0]).is_file() else "kubedcos"
    beside = Path(sys.executable).parent
    environment = {
        "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_NOCOLOR": "true",
        "ANSIBLE_FORCE_COLOR": "false",
        "PYTHONUNBUFFERED": "1",
    }
    build = [own, "artifacts", "build"]
    version = _text_of(variables, "kubernetes_version")
    if version:
        build += ["--kubernetes", version]
    extra = ["--extra-vars", f"@{variables}"] if variables is not None else []
    ansible = [str(beside / "ansible-playbook"), "--inventory", str(inventory_path), *extra]
    imported = playbooks(site)
    first, *others = (
        Part(f"playbook {path.stem}", plays(path), looks=path.stem == PREFLIGHT)
        for path in imported
    )
    looks = [
        Stage("inventory", [*ansible, "--tags", "inventory", str(path)], environment, looks=True)
        for path in imported
        if look and path.stem == PREFLIGHT
    ]
    of_the_lab = ["--inventory", str(inventory_path)]
    # Artefacts keep the processor busy, the image the network.
    image = [own, "lab", "image", *of_the_lab] if look else []
    return [
        *looks,
        Stage("artefacts", build, environment, beside=image),
        Stage(HOSTS, [own, "lab", "up", *of_the_lab]),
        Stage(first.title, [*ansible, str(site)], environment, looks=first.looks, then=others),
        Stage("web application", [own, "kubectl", "--", "apply", "-f", str(WEB)], environment),
    ]


def recap_lines(recaps: dict[str, Recap]) -> list[str]:
    """What Ansible did, host by host, over all playbooks."""
    return [
        f"{host:<12} : ok={recap.ok} changed={recap.changed} "
        f"unreachable={recap.unreachable} failed={recap.failed}"
        for host, recap in sorted(recaps.items())
    ]


def _text_of(path: Path | None, key: str) -> str:
    """A variable of a YAML or JSON file of variables; empty when it is not there."""
    return "" if path is None else str(read_mapping(path).get(key, ""))


def _page(spec: LabSpec, seconds: float) -> str:
    """What stands where now, and what to type next."""
    from kubedcos.cli import webcheck  # asks the cluster, which `down` need not

    found = webcheck.look()
    hosts = "\n".join(
        f"  {host.name:<6} {host.address!s:<13} {host.region}/{host.zone:<6} "
        + ", ".join([*host.groups, *found.roles.get(host.name, [])])
        for host in spec.hosts
    )
    answer = "\n".join(f"  {line}" for line in found.answer.strip().splitlines())
    return f"""
The demo runs, {clock_text(seconds)} after its start.

Hosts:
{hosts}

The pod {found.asker} in {found.asker_region} asked the web application in the other data centre:
{answer}

What to type next:
  .venv/bin/kubedcos plan show deploy               what was staged where, and when
  .venv/bin/kubedcos logs etcd-0                    what a component says
  .venv/bin/kubedcos kubectl -- get nodes -o wide   the two nodes
  .venv/bin/kubedcos kubeconfig > demo.kubeconfig   for your own kubectl
  .venv/bin/kubedcos lab exec a1 -- bash            a shell on a host
  make demo                                         again: it changes nothing
  make demo-down                                    remove what the demo made
"""
