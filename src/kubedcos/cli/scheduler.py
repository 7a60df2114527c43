"""`kubedcos scheduler`: the framework scheduler itself, as systemd runs it on the masters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from kubedcos.cli.output import print_answer
from kubedcos.errors import InvalidInput, Problem

app = typer.Typer(no_args_is_help=True)

ConfigOption = Annotated[Path, typer.Option("--config", help="Settings of the service, YAML.")]
DEFAULT_CONFIG = Path("/etc/kubedcos/scheduler.yml")


@app.command()
def run(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Host clusters and serve the API until told to stop."""
    from kubedcos.api import daemon, settings, workloads  # pydantic and the rest

    daemon.run(settings.load(config), workloads.maker)


@app.command()
def check(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Check the settings; exit code 2 and every problem when they are wrong."""
    from kubedcos.api import settings

    settings.load(config)


@app.command()
def front(config: Annotated[Path, typer.Option("--config", help="Settings, JSON.")]) -> None:
    """Pass connections on to clusters' API servers, wherever these run, until told to stop."""
    from kubedcos.config.yaml_text import read_mapping
    from kubedcos.kubernetes.launcher import balance

    settings = read_mapping(config)
    if missing := [name for name in ("listen", "port") if name not in settings]:
        raise InvalidInput([Problem(f"{config}: {name}", "nothing", "a value") for name in missing])
    raise typer.Exit(balance.main([str(config)]))


@app.command()
def context(
    config: ConfigOption = DEFAULT_CONFIG,
    keep: Annotated[
        Path | None, typer.Option(help="File of the context for this host's own operators.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
) -> None:
    """Print how operators reach this service, as JSON. It holds a secret token.

    With --keep it is also written there, where it differs, and printed is whether it was, too.
    """
    from kubedcos.api import identity, settings
    from kubedcos.cli import contexts

    found = settings.load(config)
    shown = identity.read(found.identity_dir)
    document = {"url": ",".join(found.api.urls()), "ca_pem": shown.ca_pem, "token": shown.token}
    if keep is None:
        print_answer(json.dumps(document))
        return
    changed = contexts.keep(keep, json.dumps(document), dry_run=dry_run)
    print_answer(json.dumps({"changed": changed, "context": document}))


@app.command("import")
def import_state(config: ConfigOption = DEFAULT_CONFIG) -> None:
    """Move the state of this host's file into ZooKeeper; every scheduler must be stopped."""
    from kubedcos.api import importing, settings

    moved = importing.move(settings.load(config))
    print_answer(json.dumps({"changed": moved is not None, "clusters": moved or []}))
