"""CNI networks of containers: addresses, files, checks, and plugins that fail."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from tests.waiting import until

from .conftest import Play
from .container_lab import (
    FRAMEWORK_ID,
    Lab,
    container,
    kill,
    namespace_of,
    needs_root,
    run,
    sandbox_path,
    start_again,
    until_written,
    volume,
)

pytestmark = needs_root


NETWORKED = "hostname; cat /etc/hosts /etc/hostname; grep -c . /etc/resolv.conf; exec sleep 600"


@pytest.mark.contract(behaviour="container-networks")
def test_networks(play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace) -> None:
    labels = {"labels": [{"key": "tier", "value": "web"}]}
    mappings = [{"host_port": 31001, "container_port": 80, "protocol": "tcp"}]
    wanted = {"name": "apps", "labels": labels, "port_mappings": mappings}
    server = (
        "import http.server as h, sys\n"
        "class H(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self): self.send_response(200); self.end_headers()\n"
        "h.HTTPServer(('127.0.0.1', 8123), H).serve_forever()"
    )
    http = {"type": "HTTP", "delay_seconds": 0, "interval_seconds": 0.1, "http": {"port": 8123}}
    http["grace_period_seconds"] = 30
    tasks = {
        "named": (NETWORKED, container(network_infos=[wanted], hostname="web-1")),
        "both": (
            "cat /etc/resolv.conf; ip -o -4 addr; echo; exec sleep 600",
            container(network_infos=[{"name": "other"}, {"name": "apps"}]),
        ),
        "checked": (
            f'exec {sys.executable} -IS -c "{server}"',
            container(network_infos=[{"name": "apps"}]) | {"health_check": http},
        ),
    }

    async def story(master: Any) -> None:
        agent_process.start(master, *lab.flags())
        await master.registered()
        addresses = {}
        for name, parts in tasks.items():
            await run(master, wire, {name: parts})
            status = await master.until_state(name, "TASK_RUNNING")
            infos = status["container_status"]["network_infos"]
            addresses[name] = [i["ip_addresses"][0]["ip_address"] for i in infos]
        assert addresses == {
            "named": ["10.98.7.2"],
            "both": ["10.98.8.3", "10.98.7.4"],
            "checked": ["10.98.7.5"],
        }
        status = master.statuses("named")[-1]["container_status"]
        own = {"protocol": "IPv4", "ip_address": "10.98.7.2"}
        assert status["network_infos"] == [wanted | {"ip_addresses": [own]}]
        args = lab.calls("ADD")[0]["args"]
        assert args == {"org.apache.mesos": {"network_info": wanted}}
        text = await until_written(agent_process, "named", 4)
        assert text.startswith("web-1\n127.0.0.1 localhost\n10.98.7.2 web-1\nweb-1")
        both = await until_written(agent_process, "both", 5)
        assert both.startswith("search lab\nnameserver 10.98.8.1\n")
        assert "10.98.8.3" in both
        assert "10.98.7.4" in both
        assert lab.reaches("10.98.7.2")

        def healthy(m: Any) -> Any:
            return any(s.get("healthy") for s in m.statuses("checked"))

        await master.wait_for(healthy)
        (shown,) = [
            c for c in await agent_process.get(master, "/containers") if c["source"] == "named"
        ]
        assert shown["status"]["network_infos"][0]["ip_addresses"] == [own]
        assert shown["statistics"]["net_rx_bytes"] > 0
        agent_process.kill()
        await start_again(master, agent_process, *lab.flags())
        await kill(master, "named")
        last = master.statuses("named")[-1]["container_status"]
        assert last["network_infos"][0]["ip_addresses"] == [own], "after a restart, too"
        for name in ("both", "checked"):
            await kill(master, name)
        await lab.until_nothing_is_left()
        ended = [(call["containerid"], call["ifname"]) for call in lab.calls("DEL")]
        assert sorted(ended) == sorted((c["containerid"], c["ifname"]) for c in lab.calls("ADD"))
        assert all("netns" in call for call in lab.calls("DEL"))

    play(story)


@pytest.mark.contract(behaviour="container-networks")
def test_a_plugin_that_fails_and_one_that_is_cancelled(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    parts = container(network_infos=[{"name": "apps"}])

    async def story(master: Any) -> None:
        agent_process.start(master, *lab.flags())
        await master.registered()
        (lab.directory / "cni/fail").touch()
        await run(master, wire, {"failed": ("true", parts)})
        failed = await master.until_state("failed", "TASK_FAILED")
        plugin = lab.directory / "plugins/pair"
        assert failed["message"].startswith(
            f"Failed to launch container: The CNI plugin '{plugin}' failed to attach container "
        )
        assert failed["message"].endswith(
            " to CNI network 'apps': stdout='no addresses left\n', stderr=''"
        )
        (lab.directory / "cni/fail").unlink()
        (lab.directory / "cni/hold").touch()
        await run(master, wire, {"killed": ("true", parts)})
        await until(lambda: len(lab.calls("ADD")) == 2)
        await master.send("KILL_TASK", framework_id=FRAMEWORK_ID, task_id={"value": "killed"})
        (lab.directory / "cni/hold").unlink()
        killed = await master.until_state("killed", "TASK_KILLED")
        assert killed["reason"] == "REASON_TASK_KILLED_DURING_LAUNCH"
        await lab.until_nothing_is_left()

    play(story)


@pytest.mark.contract(behaviour="container-networks")
def test_tasks_of_a_group_share_network_and_volumes(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    """The executor's container has the network; a task sees its parent's sandbox by a mount."""
    pod = {
        "type": "DEFAULT",
        "executor_id": {"value": "pod"},
        "framework_id": FRAMEWORK_ID,
        "resources": [wire.scalar("cpus", 0.1), wire.scalar("mem", 32)],
    } | container(network_infos=[{"name": "apps"}])
    shared = container(volumes=[volume("data", **sandbox_path("shared", "PARENT"))])
    writer = wire.task("writer", "readlink /proc/self/ns/net > data/ns; exec sleep 600", **shared)
    shell = "while [ ! -s data/ns ]; do sleep 0.05; done; cat data/ns; readlink /proc/self/ns/net"
    reader = wire.task("reader", shell, **shared)

    async def story(master: Any) -> None:
        agent_process.start(master, *lab.flags())
        await master.registered()
        await master.send(
            "RUN_TASK_GROUP",
            framework=wire.framework(),
            executor=pod,
            launch_executor=True,
            tasks=[task | {"executor": pod} for task in (writer, reader)],
        )
        await master.until_state("reader", "TASK_FINISHED")
        running = await master.until_state("writer", "TASK_RUNNING")
        status = running["container_status"]
        (network,) = status["network_infos"]
        assert network["ip_addresses"] == [{"protocol": "IPv4", "ip_address": "10.98.7.2"}]
        (output,) = agent_process.directory.glob(
            "work/slaves/*/frameworks/*/executors/pod/runs/latest/tasks/reader/stdout"
        )
        first, second = output.read_text().split()
        assert first == second == namespace_of("net", status["executor_pid"])
        await kill(master, "writer")
        await lab.until_nothing_is_left()
        assert len(lab.calls("DEL")) == 1

    play(story)
