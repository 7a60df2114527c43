"""`kubedcos kubeconfig`: print a kubeconfig that works from this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.output import print_answer

app = typer.Typer()


@app.callback(invoke_without_command=True)
def print_kubeconfig(
    cluster: Annotated[
        str, typer.Option("--cluster", "-c", help="Cluster; default: the only one.")
    ] = "",
) -> None:
    """Print a kubeconfig with an operator's own certificate. It is a secret."""
    client = connect()
    text = client.text("clusters", cluster_name(client, cluster), "kubeconfig")
    print_answer(text.rstrip("\n"))
