"""Asks the demo's web application across data centres, and who does what in the cluster."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubedcos.cli import kubectl
from kubedcos.cli.client import cluster_name, connect
from kubedcos.errors import NotYetComplete

_REGION = "topology.kubernetes.io/region"
ANSWER_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Found:
    """What was seen.

    Attributes:
        asker: pod that asked.
        asker_region: region of its node.
        answer: what the pod in another region said.
        roles: by host name, the pod instances that run there.
    """

    asker: str
    asker_region: str
    answer: str
    roles: Mapping[str, list[str]] = field(default_factory=dict)


def look(*, seconds: float = ANSWER_SECONDS) -> Found:
    """Have a pod of one region fetch the page from a pod of another.

    Raises:
        NotYetComplete: no such answer within `seconds`.
    """
    program, environment = kubectl.prepare()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    deadline = time.monotonic() + seconds
    while True:
        reason = "the pods of the web application are not ready in two regions"
        pair = _pair(run("get", "nodes,pods", "--all-namespaces", "--output=json").stdout)
        if pair is not None:
            asker, region, address = pair
            url = f"http://{address}:8080/cgi-bin/index.cgi"
            answer = run(
                "exec", "--namespace=demo", asker, "--", "/bin/busybox", "wget", "-qO-", url
            )
            if answer.returncode == 0 and answer.stdout.strip():
                return Found(asker, region, answer.stdout, _roles())
            reason = answer.stderr.strip() or f"{url} did not answer"
        if time.monotonic() >= deadline:
            raise NotYetComplete(f"the web application does not answer across regions: {reason}")
        time.sleep(1.0)


def _pair(text: str) -> tuple[str, str, str] | None:
    """A ready pod of the application, its region, and the address of one in another region."""
    try:
        items: Sequence[Mapping[str, Any]] = json.loads(text)["items"]
    except (ValueError, KeyError):
        return None
    regions = {
        item["metadata"]["name"]: item["metadata"].get("labels", {}).get(_REGION, "")
        for item in items
        if item["kind"] == "Node"
    }
    pods = [
        (
            item["metadata"]["name"],
            regions.get(item["spec"].get("nodeName", ""), ""),
            item["status"].get("podIP", ""),
        )
        for item in items
        if item["kind"] == "Pod"
        and item["metadata"]["namespace"] == "demo"
        and item["metadata"].get("labels", {}).get("app") == "web"
        and any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in item["status"].get("conditions", [])
        )
    ]
    for name, region, _ in sorted(pods):
        for _, other, address in sorted(pods):
            if region and other and region != other and address:
                return name, region, address
    return None


def _roles() -> dict[str, list[str]]:
    """Pod instances with living tasks, by host."""
    client = connect()
    found: dict[str, list[str]] = {}
    for pod in client.get_all("clusters", cluster_name(client, ""), "pods"):
        if any(task["state"] == "TASK_RUNNING" for task in pod["tasks"]):
            found.setdefault(str(pod["hostname"]), []).append(str(pod["name"]))
    return found
