"""`kubedcos kubectl -- …`: the cached kubectl with the cluster's kubeconfig."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from kubedcos.cli.asking import ClusterOption
from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.contexts import current, logins, write_private
from kubedcos.errors import InvalidInput, Problem

app = typer.Typer()


@app.callback(
    invoke_without_command=True,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
def kubectl(
    arguments: Annotated[
        list[str] | None, typer.Argument(help="Arguments of kubectl, after --.")
    ] = None,
    cluster: ClusterOption = "",
) -> None:
    """Run kubectl against a cluster; its exit code becomes ours."""
    program, environment = prepare(cluster)
    sys.stdout.flush()
    os.execve(program, ["kubectl", *(arguments or [])], {**os.environ, **environment})


def prepare(cluster: str = "") -> tuple[Path, dict[str, str]]:
    """The kubectl program for a cluster, and the environment that it needs.

    Raises:
        InvalidInput: the program was not built.
        KubedcosError: the scheduler does not answer, or there is no API server yet.
    """
    client = connect()
    name = cluster_name(client, cluster)
    version = str(client.get("clusters", name)["version"])
    folder = logins() / current().name
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"{name}.yaml"
    write_private(path, client.text("clusters", name, "kubeconfig"))
    return _program(version), {"KUBECONFIG": str(path)}


def _program(version: str) -> Path:
    from kubedcos.artifacts import manifest
    from kubedcos.artifacts.store import Store

    store = Store.default()
    for artifact in manifest.load(manifest.find()).all:
        if artifact.name == "kubectl" and artifact.version == version:
            record = store.recall(artifact)
            if record is not None:
                return store.file(record)
    raise InvalidInput(
        [
            Problem(
                f"kubectl {version}",
                "nothing in the cache",
                "the artefact",
                id="kubectl-missing",
                fix=f"Run `kubedcos artifacts build kubectl --kubernetes {version}`",
            )
        ]
    )
