"""A Kubernetes cluster by its own API, with the kubectl and the login that `kubedcos` gives."""

from __future__ import annotations

import json
import os
import subprocess
import uuid
from pathlib import Path
from typing import Any

import pytest

from kubedcos.cli import kubectl
from kubedcos.errors import KubedcosError

from .inventory import Inventory
from .waiting import until

IMAGE = "docker.io/kubedcos/web:1"
"""The demo's image: a busybox and a web page."""
REGION = "topology.kubernetes.io/region"
ZONE = "topology.kubernetes.io/zone"


class Kubernetes:
    """One cluster; pods are made in a namespace that goes with the tests."""

    def __init__(self, inventory: Inventory, name: str) -> None:
        self.inventory = inventory
        self.name = name
        self.namespace = f"infra-tests-{uuid.uuid4().hex[:6]}"
        self._made = False
        folder = inventory.get("kubernetes_framework_context_dir", "~/.config/kubedcos")
        context = {
            "KUBEDCOS_CONFIG": str(Path(folder).expanduser()),
            "KUBEDCOS_CONTEXT": str(inventory.get("kubernetes_framework_context", inventory.name)),
        }
        with pytest.MonkeyPatch.context() as patch:
            for key, value in context.items():
                patch.setenv(key, value)
            try:
                self._program, self._environment = kubectl.prepare(name)
            except KubedcosError as error:
                pytest.fail(f"no access to cluster {name}: {error}")

    def run(
        self, *arguments: str, given: str | None = None, seconds: float = 30
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl."""
        return subprocess.run(
            [str(self._program), f"--request-timeout={seconds:.0f}s", *arguments],
            env={**os.environ, **self._environment},
            input=given,
            capture_output=True,
            text=True,
            timeout=seconds + 10,
            check=False,
        )

    def get(self, *arguments: str) -> Any:
        """An object or a list of objects."""
        done = self.run("get", "--output=json", *arguments)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def nodes(self) -> dict[str, Any]:
        return {node["metadata"]["name"]: node for node in self.get("nodes")["items"]}

    @property
    def server(self) -> str:
        """Address of the API server, such as ``https://10.89.1.11:6443``."""
        done = self.run(
            "config", "view", "--minify", "--output=jsonpath={.clusters[0].cluster.server}"
        )
        return done.stdout.strip()

    def apply(self, *documents: dict[str, Any]) -> None:
        """Create or change objects in the tests' namespace."""
        if not self._made:
            self._apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}
            )
            self._made = True
        self._apply(*documents, namespace=self.namespace)

    def _apply(self, *documents: dict[str, Any], namespace: str = "default") -> None:
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(documents)})
        done = self.run("apply", f"--namespace={namespace}", "--filename=-", given=text)
        assert done.returncode == 0, done.stderr

    def pod(self, name: str) -> Any:
        return self.get("pod", name, f"--namespace={self.namespace}")

    def ready_pod(self, name: str, *, seconds: float = 60) -> Any:
        """The pod once it is ready."""

        def look() -> Any:
            pod = self.pod(name)
            ready = {c["type"]: c["status"] for c in pod["status"].get("conditions", [])}
            return pod if ready.get("Ready") == "True" else None

        return until(look, f"pod {name} is ready", seconds=seconds)

    def execute(self, pod: str, *command: str, seconds: float = 30) -> str:
        """What a program in a pod printed."""
        done = self.run(
            "exec", f"--namespace={self.namespace}", pod, "--", *command, seconds=seconds
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def node_host(self, node: Any) -> str:
        """The inventory's host that a node is on."""
        addresses = {a["type"]: a["address"] for a in node["status"]["addresses"]}
        return self.inventory.host_at(addresses["InternalIP"])

    def clean_up(self) -> None:
        if self._made:
            self.run("delete", "namespace", self.namespace, "--wait=false")


def pod(
    name: str,
    node: str,
    *command: str,
    labels: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """A pod on one node that the strictest Pod Security standard admits.

    Without a command it serves the demo's page on port 8080.
    """
    container = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "env": [{"name": key, "value": value} for key, value in (environment or {}).items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if command:
        container["command"] = list(command)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
