"""The framework of a cluster by the command line, as an operator uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .inventory import Inventory

LONGEST_WAIT = 120
"""Seconds of `replace_after` that a check is willing to wait."""


class Framework:
    """The framework of a cluster, by the command line."""

    def __init__(self, inventory: Inventory, name: str) -> None:
        folder = inventory.get("kubernetes_framework_context_dir", "~/.config/kubedcos")
        context = str(inventory.get("kubernetes_framework_context", inventory.name))
        self.inventory = inventory
        self.name = name
        self._environment = {
            **os.environ,
            "KUBEDCOS_CONFIG": str(Path(folder).expanduser()),
            "KUBEDCOS_CONTEXT": context,
        }

    def run(self, *words: str) -> Any:
        """What a command of `kubedcos` that takes ``--cluster`` says, as data."""
        return self.say(*words, "--cluster", self.name)

    def say(self, *words: str, given: str | None = None) -> Any:
        """What any command of `kubedcos` says, as data; `given` is its standard input."""
        done = subprocess.run(
            [Path(sys.executable).parent / "kubedcos", *words, "--json"],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode in {0, 4}, done.stderr
        return json.loads(done.stdout)

    def options(self) -> Any:
        """The options that the cluster has, as `update` takes them."""
        return self.say("cluster", "show", self.name)["options"]

    def update(self, options: Any) -> Any:
        """Give the cluster other options; what is said of it."""
        return self.say("cluster", "update", "/dev/stdin", "--yes", given=json.dumps(options))

    def status(self, plan: str) -> str:
        return str(self.run("plan", "show", plan)["status"])

    def steps(self) -> dict[str, Any]:
        """Steps of plan ``recovery`` by pod instance."""
        phases = self.run("plan", "show", "recovery")["phases"]
        return {step["pod"]: step for phase in phases for step in phase["steps"]}

    def whole(self) -> bool:
        """Whether nothing is to be recovered, and everything is deployed."""
        return self.status("deploy") == self.status("recovery") == "COMPLETE"

    def replace_after(self, of: str) -> int:
        """The option, or the test is passed over when that is longer than anybody wants to wait."""
        (options,) = [
            cluster
            for cluster in self.inventory.get("clusters")
            if cluster.get("name", "kubernetes") == self.name
        ]
        wait = int(options.get("recovery", {}).get("replace_after", {}).get(of, 1200))
        if wait > LONGEST_WAIT:
            pytest.skip(f"recovery.replace_after.{of} is {wait} s; give at most {LONGEST_WAIT}")
        return wait
