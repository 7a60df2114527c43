"""`kubedcos kubeconfig`: print a kubeconfig that works from this machine."""

from __future__ import annotations

from kubedcos.cli.asking import ClusterOption
from kubedcos.cli.client import cluster_name, connect
from kubedcos.cli.output import print_answer


def command(
    cluster: ClusterOption = "",
) -> None:
    """Print a kubeconfig with an operator's own certificate. It is a secret."""
    client = connect()
    text = client.text("clusters", cluster_name(client, cluster), "kubeconfig")
    print_answer(text.rstrip("\n"))
