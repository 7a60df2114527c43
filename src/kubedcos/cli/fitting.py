"""Whether clusters fit on the agents of an inventory, which Ansible reads."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.lab import inventory as inventories

if TYPE_CHECKING:
    from kubedcos.config.cluster import ClusterOptions

PLAYBOOK = Path("playbooks/fitting.yml")


def of_inventory(inventory: Path, options: ClusterOptions | None = None) -> dict[str, Any]:
    """The clusters of an inventory, or one of other options, placed on its agents.

    Args:
        inventory: file or folder.
        options: in place of the inventory's own clusters.

    Raises:
        InvalidInput: not in the checkout, or the inventory cannot be read or has no hosts.
        KubedcosError: Ansible fails.
    """
    if not PLAYBOOK.is_file():
        problem = Problem(
            str(PLAYBOOK), "nothing", "to be run in the checkout", id="check-checkout"
        )
        raise InvalidInput([problem])
    inventories.hosts_of(inventory)
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "findings.json"
        extra: dict[str, Any] = {"fitting_answer": str(answer)}
        if options is not None:
            extra["clusters"] = [options.model_dump(mode="json")]
        argv = [program, "--inventory", str(inventory), "--extra-vars", json.dumps(extra)]
        ended = subprocess.run(
            [*argv, str(PLAYBOOK)], check=False, capture_output=True, text=True, encoding="utf-8"
        )
        if ended.returncode or not answer.exists():
            said = (ended.stdout + ended.stderr).strip()
            raise KubedcosError(f"{inventory}: Ansible cannot place its clusters:\n{said[-4000:]}")
        findings = json.loads(answer.read_text(encoding="utf-8"))
    problems = [
        str(Problem(each["where"], each["seen"], each["wanted"], each["id"], each["fix"]))
        for each in findings
    ]
    return {"inventory": str(inventory), "fits": not problems, "problems": problems}
