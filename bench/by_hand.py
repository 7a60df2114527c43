"""Staging on the lab against the same binaries started by hand: how much does the framework add?

The running cluster says how long its plan took. Then every component is copied as it stands (its
arguments, environment, files), the cluster is deleted, and the same programs are started on the
same hosts in the same order, each behind its own health check, without Mesos and without a
scheduler. Add-ons are left out on both sides, except for the roles without which no node may join.

    python bench/by_hand.py --yes-delete-the-cluster [--inventory inventories/lab] [--cluster NAME]

The ratio is to be 1.5 at most. The cluster is gone afterwards; `make demo` stages it anew.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from kubedcos.cli import kubectl
from kubedcos.kubernetes import node_network

LIMIT = 1.5
DEADLINE = 300.0
LOOK_SECONDS = 0.1
HERE = Path(__file__).parent
URLS = {
    "kube-controller-manager": "https://127.0.0.1:10257/healthz",
    "kube-scheduler": "https://127.0.0.1:10259/healthz",
    "kube-proxy": f"http://{{address}}:{node_network.PROXY_HEALTH_PORT}/healthz",
    "coredns": f"http://{{address}}:{node_network.DNS_READY_PORT}/ready",
}
"""Health of components that say it to everybody on their host."""
LEADERS = ("kube-controller-manager", "kube-scheduler")
"""They work once they hold their lease."""
Json = dict[str, Any]


def run(*command: str, **more: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


@dataclass(frozen=True)
class Host:
    """A machine that is reached by SSH, over one connection that stays."""

    name: str
    address: str
    options: tuple[str, ...]

    def command(self, *words: str) -> list[str]:
        return ["ssh", *self.options, self.address, shlex.join(words)]

    def python(self, *arguments: str) -> str:
        script = (HERE / "by_hand_host.py").read_text()
        return run(*self.command("python3", "-", *arguments), input=script)

    async def answers(self, *words: str) -> bool:
        process = await asyncio.create_subprocess_exec(
            *self.command(*words),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        return await process.wait() == 0


def hosts(inventory: Path, sockets: Path) -> dict[str, Host]:
    """All agents by address, as Ansible reaches them."""
    ask = (
        "msg={{ ansible_host }}|{{ ansible_user | default('root') }}|"
        "{{ ansible_ssh_private_key_file | default('') }}|"
        "{{ ansible_ssh_common_args | default('') }}"
    )
    answer = run("ansible", "agents", "-i", str(inventory), "-o", "-m", "debug", "-a", ask)
    found = {}
    for name, text in re.findall(r"^(\S+) \| SUCCESS => (.*)$", answer, re.MULTILINE):
        address, user, key, more = json.loads(text)["msg"].split("|", 3)
        options = [*shlex.split(more), "-l", user, *(("-i", key) if key else ())]
        options += ["-o", "ControlMaster=auto", "-o", f"ControlPath={sockets}/%h"]
        options += ["-o", "ControlPersist=600"]
        found[address] = Host(name, address, tuple(options))
    if not found:
        raise SystemExit(f"{inventory}: no agents")
    return found


def resolved(host: Host, name: str) -> str:
    """The address of a name, as a machine of the cluster sees it; empty when it has none."""
    answer = subprocess.run(
        host.command("getent", "ahostsv4", name), capture_output=True, text=True, check=False
    )
    return answer.stdout.split()[0] if answer.stdout else ""


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def running_steps(plan: Json) -> list[Json]:
    """Steps whose tasks run for good, in order; parallel ones of a phase behind each other."""
    return [
        step
        for phase in plan["phases"]
        for step in phase["steps"]
        if step["tasks"] and all(task["state"] == "TASK_RUNNING" for task in step["tasks"])
    ]


def staged_seconds(plan: Json) -> dict[str, float]:
    """Seconds by phase, from its first start to its last end; some phases are left out."""
    seconds = {}
    kept = {step["name"] for step in running_steps(plan)}
    for phase in plan["phases"]:
        steps = [step for step in phase["steps"] if step["name"] in kept]
        if steps:
            first = min(moment(step["started_at"]) for step in steps)
            seconds[phase["name"]] = max(moment(step["finished_at"]) for step in steps) - first
    return seconds


def host_of(found: dict[str, Host], step: Json) -> Host:
    """The machine of a step's tasks; Mesos may call it by its name or its address."""
    named = step["tasks"][0]["hostname"]
    return next(host for host in found.values() if named in (host.name, host.address))


class ByHand:
    """Components that were copied, and who can start them."""

    def __init__(
        self, found: dict[str, Host], program: Path, kubeconfig: Path, api: str, roles: str
    ) -> None:
        self.hosts = found
        self.program = program
        self.kubeconfig = kubeconfig
        self.api = api
        self.roles = roles

    async def kubectl(self, *arguments: str, text: str = "") -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(str(self.program), "--kubeconfig", str(self.kubeconfig), "--server", self.api),
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT if text else asyncio.subprocess.DEVNULL,
        )
        out, _ = await process.communicate(text.encode())
        return process.returncode or 0, out.decode()

    async def stage(self, plan: Json) -> dict[str, float]:
        """Start everything in order; seconds by phase."""
        kept = {step["name"] for step in running_steps(plan)}
        seconds = {}
        for phase in plan["phases"]:
            steps = [step for step in phase["steps"] if step["name"] in kept]
            if any(task["name"] == "kubelet" for step in steps for task in step["tasks"]):
                status, said = await self.kubectl("apply", "-f", "-", text=self.roles)
                if status:
                    raise SystemExit(f"roles of the cluster: kubectl apply failed: {said}")
            started = time.monotonic()
            if phase["strategy"] == "parallel":
                await asyncio.gather(*map(self._step, steps))
            else:
                for step in steps:
                    await self._step(step)
            if steps:
                seconds[phase["name"]] = time.monotonic() - started
        return seconds

    async def _step(self, step: Json) -> None:
        host = host_of(self.hosts, step)
        for task in step["tasks"]:
            await asyncio.to_thread(host.python, "start", task["id"])
        deadline = time.monotonic() + DEADLINE
        for task in step["tasks"]:
            while not await self._healthy(step, task, host):
                if time.monotonic() > deadline:
                    said = host.python("log", task["id"])
                    raise SystemExit(
                        f"{step['name']}: {task['name']} is not well by hand; it said\n{said}"
                    )
                await asyncio.sleep(LOOK_SECONDS)

    async def _healthy(self, step: Json, task: Json, host: Host) -> bool:
        pod = step["pod"].rpartition("-")[0]
        if pod == "etcd":
            return await host.answers("bash", "-c", f"</dev/tcp/{host.address}/2379")
        if pod == "kube-apiserver":
            status, _ = await self.kubectl("get", "--raw", "/readyz")
            return status == 0
        component = pod if task["name"] == "instance" else task["name"]
        if component in URLS:
            url = URLS[component].format(address=host.address)
            if not await host.answers("curl", "-skf", url):
                return False
        if component in LEADERS:
            holder = ("lease", component, "-n=kube-system", "-o=jsonpath={.spec.holderIdentity}")
            status, text = await self.kubectl("get", *holder)
            return status == 0 and bool(text)
        if component == "kubelet":
            await self._approve()
            status, text = await self.kubectl("get", "nodes", "-o=json")
            return status == 0 and any(_is_ready(node, host) for node in json.loads(text)["items"])
        return True

    async def _approve(self) -> None:
        template = "{{range .items}}{{if not .status.conditions}}{{.metadata.name}} {{end}}{{end}}"
        _, names = await self.kubectl("get", "csr", f"-o=go-template={template}")
        if names.split():
            await self.kubectl("certificate", "approve", *names.split())


def _is_ready(node: Json, host: Host) -> bool:
    """Whether it is the node of a machine, and well."""
    here = any(found["address"] == host.address for found in node["status"].get("addresses", ()))
    return here and any(
        found["type"] == "Ready" and found["status"] == "True"
        for found in node["status"].get("conditions", ())
    )


def custom_roles(cluster: str) -> str:
    """Roles and bindings that the cluster has beyond those that every Kubernetes brings."""
    found = run(
        *("kubedcos", "kubectl", "--cluster", cluster, "--", "get"),
        "clusterroles,clusterrolebindings",
        "-l!kubernetes.io/bootstrapping",
        "-o=json",
    )
    roles = json.loads(found)
    for role in roles["items"]:
        # What another server has given it stands in the way of making it anew.
        role["metadata"] = {"name": role["metadata"]["name"]}
    return json.dumps(roles)


async def main(inventory: Path, cluster: str) -> None:
    plan = json.loads(run("kubedcos", "plan", "show", "deploy", "--cluster", cluster, "--json"))
    if plan["status"] != "COMPLETE":
        raise SystemExit(f"plan deploy of {cluster} is {plan['status']}; it must be COMPLETE")
    staged = staged_seconds(plan)
    with tempfile.TemporaryDirectory() as directory:
        kubeconfig = Path(directory) / "kubeconfig"
        kubeconfig.touch(0o600)
        login = yaml.safe_load(run("kubedcos", "kubeconfig", "--cluster", cluster))
        program, _ = kubectl.prepare(cluster)
        found = hosts(inventory, Path(directory))
        tasks = {task["id"]: task for step in running_steps(plan) for task in step["tasks"]}
        captured: Json = {}
        for host in found.values():
            captured |= json.loads(host.python("capture", *tasks))
        if missing := sorted(set(tasks) - set(captured)):
            raise SystemExit(f"not found on any host: {', '.join(missing)}")
        signs = next(
            step for step in running_steps(plan) if step["pod"] == "kube-controller-manager-0"
        )
        # The cluster's own users get their rights from its roles, which are not there yet.
        may_all = json.loads(host_of(found, signs).python("masters", signs["tasks"][0]["id"]))
        login["users"][0]["user"] = {
            f"{name}-data": base64.b64encode(text.encode()).decode()
            for name, text in may_all.items()
        }
        kubeconfig.write_text(yaml.safe_dump(login))
        roles = custom_roles(cluster)
        (server,) = [step for step in running_steps(plan) if step["pod"] == "kube-apiserver-0"]
        # The front and Mesos-DNS forget a cluster that is deleted.
        names = sorted({name for task in captured.values() for name in task["names"]})
        known = {name: resolved(next(iter(found.values())), name) for name in names}
        hand = ByHand(found, program, kubeconfig, "", roles)
        hand.api = f"https://{host_of(found, server).address}:6443"
        run("kubedcos", "cluster", "delete", cluster, "--yes")
        try:
            for host in found.values():
                host.python("know", json.dumps(known))
            by_hand = await hand.stage(plan)
        finally:
            for host in found.values():
                host.python("stop")
    print(f"{'phase':<25} {'framework':>10} {'by hand':>10}")
    for phase, seconds in by_hand.items():
        print(f"{phase:<25} {staged[phase]:>8.1f} s {seconds:>8.1f} s")
    ratio = sum(staged.values()) / sum(by_hand.values())
    print(f"ratio {ratio:.2f} of {LIMIT:.1f}: {ratio / LIMIT:.3f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inventory", type=Path, default=Path("inventories/lab"))
    parser.add_argument("--cluster", default="kubernetes")
    parser.add_argument("--yes-delete-the-cluster", action="store_true", required=True)
    chosen = parser.parse_args()
    os.environ.setdefault("ANSIBLE_CONFIG", str(HERE.parent / "ansible.cfg"))
    sys.exit(asyncio.run(main(chosen.inventory, chosen.cluster)))
