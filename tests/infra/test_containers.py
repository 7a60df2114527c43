"""Containers of Mesos tasks: an address of the agent's slice, reachable from elsewhere.

The test is a framework of its own for a moment. It runs where the framework scheduler runs, whose
secret it uses; Mesos must offer a tenth of a CPU and 64 MB that nobody reserved.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from typing import Any

from testinfra.host import Host

from .inventory import Inventory
from .mesos import MASTER_PORT, Mesos
from .waiting import until

PORT = 8099
SECRET = "/etc/kubedcos/mesos-secret"

# A framework in few words: it subscribes, launches one task on the agent that it is told, and
# leaves when the task has ended. Prints the task's last state.
FRAMEWORK = """
import base64, http.client, json, os, sys
master, port, agent, name, command, network, secret = sys.argv[1:]
headers = {"Content-Type": "application/json", "Accept": "application/json"}
user = {"user": "root", "name": name, "roles": ["*"], "capabilities": [
    {"type": kind} for kind in ("MULTI_ROLE", "REGION_AWARE", "PARTITION_AWARE")]}
if os.path.exists(secret):
    user["principal"] = "kubedcos"
    word = base64.b64encode(b"kubedcos:" + open(secret, "rb").read().strip()).decode()
    headers["Authorization"] = "Basic " + word
stream = http.client.HTTPConnection(master, int(port), timeout=90)
body = {"type": "SUBSCRIBE", "subscribe": {"framework_info": user}}
stream.request("POST", "/api/v1/scheduler", json.dumps(body), headers)
answer = stream.getresponse()
assert answer.status == 200, answer.read()
headers["Mesos-Stream-Id"] = answer.headers["Mesos-Stream-Id"]
def call(kind, **part):
    other = http.client.HTTPConnection(master, int(port), timeout=30)
    body = {"type": kind, "framework_id": framework} | ({kind.lower(): part} if part else {})
    other.request("POST", "/api/v1/scheduler", json.dumps(body), headers)
    found = other.getresponse()
    assert found.status in (200, 202), found.read()
def event():
    size = b""
    while not size.endswith(b"\\n"):
        size += answer.read(1)
    return json.loads(answer.read(int(size)))
task = None
while True:
    seen = event()
    if seen["type"] == "SUBSCRIBED":
        framework = seen["subscribed"]["framework_id"]
    elif seen["type"] == "OFFERS":
        for offer in seen["offers"]["offers"]:
            free = {r["name"]: r.get("scalar", {}).get("value", 0) for r in offer["resources"]
                    if not r.get("reservations")}
            if task or offer["hostname"] != agent or free.get("cpus", 0) < .1 \\
                    or free.get("mem", 0) < 64:
                call("DECLINE", offer_ids=[offer["id"]], filters={"refuse_seconds": 1})
                continue
            resources = [{"name": n, "type": "SCALAR", "scalar": {"value": v},
                          "allocation_info": {"role": "*"}} for n, v in (("cpus", .1), ("mem", 64))]
            task = {"name": name, "task_id": {"value": name}, "agent_id": offer["agent_id"],
                    "resources": resources, "command": {"value": command},
                    "container": {"type": "MESOS", "network_infos": [{"name": network}]}}
            launch = {"type": "LAUNCH", "launch": {"task_infos": [task]}}
            call("ACCEPT", offer_ids=[offer["id"]], operations=[launch])
    elif seen["type"] == "UPDATE":
        status = seen["update"]["status"]
        if "uuid" in status:
            call("ACKNOWLEDGE", agent_id=status["agent_id"], task_id=status["task_id"],
                 uuid=status["uuid"])
        if status["state"] not in ("TASK_STAGING", "TASK_STARTING", "TASK_RUNNING"):
            call("TEARDOWN")
            print(status["state"], status.get("message", ""))
            break
"""

# Tells one visitor its name and the visitor's address, and ends.
SERVER = """
import socket, sys
with socket.create_server(("0.0.0.0", int(sys.argv[1]))) as server:
    server.settimeout(60)
    connection, peer = server.accept()
    connection.sendall(" ".join((socket.gethostname(), peer[0])).encode())
    connection.close()
"""
CLIENT = """
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
print(b"".join(iter(lambda: s.recv(4096), b"")).decode())
"""


def _agents_with_nodes(mesos: Mesos) -> set[str]:
    """Addresses of the agents that run a kubelet."""
    state = mesos.look()
    addresses = {slave["id"]: slave["pid"].split("@")[1].split(":")[0] for slave in state["slaves"]}
    return {
        addresses[task["slave_id"]]
        for framework in state["frameworks"]
        for task in framework["tasks"]
        if task["name"].endswith("-kubelet")
    }


def test_a_task_on_the_overlay_is_reached_from_elsewhere(
    overlay: str,
    region_pair: tuple[str, str],
    mesos: Mesos,
    inventory: Inventory,
    hosts: dict[str, Host],
) -> None:
    visitor, receiver = region_pair
    region = inventory.region(receiver)
    # Rather beside a Kubernetes node, whose pods have addresses of the same slice.
    nodes = _agents_with_nodes(mesos)
    agents = sorted(
        (name for name in inventory.agents if inventory.region(name) == region),
        key=lambda name: inventory.address(name) in nodes,
    )
    agent, name = agents[-1], f"infra-containers-{overlay}-{region}"
    master = mesos.leader
    command = f"exec python3 -c '{SERVER}' {PORT}"
    words = (inventory.address(master), MASTER_PORT, inventory.address(agent), name, command)

    def own_task() -> Any:
        """The task's networks, once it runs."""
        for framework in mesos.look()["frameworks"]:
            for task in framework["tasks"]:
                if task["name"] == name and task["state"] == "TASK_RUNNING":
                    return task["statuses"][-1]["container_status"]["network_infos"]
        return None

    with ThreadPoolExecutor(1) as pool:
        script = f"python3 -c %s {' '.join(['%s'] * 7)}"
        host = hosts[_scheduler(inventory)]
        ran = pool.submit(host.run, script, FRAMEWORK, *map(str, words), overlay, SECRET)

        def running_or_over() -> Any:
            return own_task() or ran.done()

        networks = until(running_or_over, "the task runs", seconds=60)
        assert networks is not True, ran.result()
        (network,) = networks
        address = network["ip_addresses"][0]["ip_address"]

        def asked() -> str:
            """What the task says; it may run and not listen yet."""
            answer = hosts[visitor].run(f"python3 -c %s {address} {PORT}", CLIENT)
            return answer.stdout if answer.rc == 0 else ""

        told = until(asked, "the task answers", seconds=20)
        ended = ran.result()
    assert network["name"] == overlay
    own = inventory.overlays(agent)[overlay].own
    assert ip_address(address) in ip_network(str(own.slice))
    assert ip_address(address) != ip_address(str(own.gateway))
    container, peer = told.split()
    assert container != agent, "a name of its own"
    gateways = {str(inventory.overlays(visitor)[overlay].own.gateway)}
    assert peer in gateways | {inventory.address(visitor)}
    assert ended.stdout.startswith("TASK_FINISHED"), ended
    left = json.dumps(mesos.look()["frameworks"])
    assert name not in left


def _scheduler(inventory: Inventory) -> str:
    """Where the framework scheduler runs: on the master with the lowest index."""
    masters = inventory.of("masters")
    return min(masters, key=lambda host: int(inventory.variables[host]["host_index"]))
