"""The scheduler carries out its plan in order, and keeps what it has built."""

from __future__ import annotations

import itertools

from kubedcos.mesos import messages as wire
from kubedcos.model.service import PlanSpec, PodSpec, ServiceSpec, Strategy

from .machines import SimulatedAgent
from .simulated_mesos import Behaviour
from .stage import Stage, phase, play, service, task


def test_everything_starts_in_the_order_of_the_plan() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        names = [name for _, name, _ in stage.mesos.launches]
        assert names[:3] == ["etcd-0-peer", "kube-apiserver-0-instance", "bindings-0-apply"]
        assert set(names[3:9]) == {
            f"kube-node-{index}-{name}" for index in (0, 1) for name in ("kubelet", "proxy", "dns")
        }
        assert names[9:] == ["addons-0-web", "addons-0-metrics"]
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_a_phase_begins_only_when_the_one_before_says_that_it_is_ready() -> None:
    async def story() -> None:
        stage = Stage()
        stage.workload.not_ready["etcd-0-peer"] = "no leader"
        stage.start()
        await stage.clock.sleep(60)
        assert [name for _, name, _ in stage.mesos.launches] == ["etcd-0-peer"]
        step = stage.steps()["etcd-0:[peer]"]
        assert (step["status"], step["reason"]) == (
            "STARTED",
            "peer runs but is not ready: no leader",
        )
        blocked = stage.steps()["kube-apiserver-0:[instance]"]
        assert blocked["reason"] == "after phase etcd (STARTED)"
        stage.workload.not_ready.clear()
        await stage.until_complete()
        await stage.close()

    play(story)


def test_nodes_stand_in_different_regions_and_the_control_plane_in_the_masters() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        where = {name: host for _, name, host in stage.mesos.launches}
        assert where["etcd-0-peer"][0] == where["kube-apiserver-0-instance"][0] == "a"
        assert {where["kube-node-0-kubelet"][0], where["kube-node-1-kubelet"][0]} == {"a", "b"}
        for index in (0, 1):
            hosts = {where[f"kube-node-{index}-{name}"] for name in ("kubelet", "proxy", "dns")}
            assert len(hosts) == 1
        await stage.close()

    play(story)


def test_tasks_of_a_pod_instance_are_launched_in_one_accept() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        accepts = [call.accept for call in stage.mesos.calls if call.accept is not None]
        sizes = [
            [
                len(operation.launch.task_infos)
                for operation in accept.operations
                if operation.launch
            ]
            for accept in accepts
        ]
        assert sizes == [[1], [1], [1], [3], [3], [1], [1]]
        await stage.close()

    play(story)


def test_a_step_that_finds_no_room_says_what_is_missing() -> None:
    async def story() -> None:
        agents = [
            SimulatedAgent("a1", "dc-a", "a-1"),
            SimulatedAgent("b1", "dc-b", "b-1", cpus=1.5),
        ]
        stage = Stage(service(regions=("dc-b",), spread_by=""), agents)
        stage.start()
        await stage.until(lambda: "best offer" in str(stage.steps()), 120)
        step = stage.steps()["kube-node-0:[kubelet, proxy, dns]"]
        assert step["status"] == "PENDING"
        assert step["reason"] == "needs 2 cpus in region dc-b; best offer there: 1.5 (b1)"
        await stage.close()

    play(story)


def test_plan_show_has_the_stable_form() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        plan = stage.scheduler.plan_show("deploy")
        # What is promised is there; more may come.
        assert set(plan) >= {"name", "status", "phases"}
        assert set(plan["phases"][0]) >= {"name", "strategy", "status", "steps"}
        step = plan["phases"][0]["steps"][0]
        assert set(step) >= {
            *("name", "status", "pod", "tasks", "started_at", "finished_at", "reason"),
        }
        assert step["tasks"][0]["state"] == "TASK_RUNNING"
        assert list(step["tasks"][0]) == [
            *("name", "id", "agent", "hostname", "region", "zone", "state"),
        ]
        assert step["started_at"] < step["finished_at"]
        await stage.close()

    play(story)


def test_offers_are_declined_while_waiting_and_suppressed_when_all_is_done() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        await stage.clock.sleep(60)
        kinds = [call.type for call in stage.mesos.calls]
        assert kinds[-1] == "SUPPRESS"
        assert kinds.count("REVIVE") < 20
        assert "DECLINE" in kinds
        await stage.close()

    play(story)


def test_a_failed_task_alone_is_started_again_on_its_agent_after_a_while() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        before = len(stage.mesos.launches)
        home = stage.mesos.live["kube-node-0-kubelet"].agent.hostname
        stage.mesos.fail("kube-node-0-kubelet")
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE", 20, every=0.05)
        step = stage.steps()["kube-node-0:[kubelet, proxy, dns]"]
        assert step["status"] == "DELAYED"
        assert "kubelet failed (kube-node-0-kubelet ended); next attempt in 5 s" in step["reason"]
        await stage.until_complete()
        assert [(name, host) for _, name, host in stage.mesos.launches[before:]] == [
            ("kube-node-0-kubelet", home)
        ]
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_failing_again_and_again_waits_longer_and_longer() -> None:
    async def story() -> None:
        stage = Stage()
        stage.mesos.behaviours["kube-apiserver-0-instance"] = Behaviour(
            ends_after=0.6, ends_as="TASK_FAILED"
        )
        stage.start()
        await stage.clock.sleep(120)
        times = [t for t, name, _ in stage.mesos.launches if name == "kube-apiserver-0-instance"]
        waits = [round(b - a) for a, b in itertools.pairwise(times)]
        assert len(waits) >= 4
        assert all(later >= 2 * earlier - 3 for earlier, later in itertools.pairwise(waits))
        await stage.close()

    play(story)


def test_a_killed_etcd_comes_back_on_its_volume() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        first = stage.mesos.live["etcd-0-peer"]
        stage.mesos.fail("etcd-0-peer", "TASK_KILLED")
        await stage.until(lambda: "etcd-0-peer" in stage.mesos.live, 60)
        again = stage.mesos.live["etcd-0-peer"]
        assert again is not first
        assert sorted(map(str, again.info.resources)) == sorted(map(str, first.info.resources))
        creates = [
            operation
            for call in stage.mesos.calls
            if call.accept
            for operation in call.accept.operations
            if operation.type in ("CREATE", "RESERVE")
        ]
        assert len(creates) == 2
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_etcd_waits_for_the_agent_that_has_its_data() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        killed = stage.mesos.live["etcd-0-peer"]
        agent = killed.agent
        real = stage.mesos.take

        async def take(call: wire.Call) -> None:
            await real(call)
            if call.acknowledge and call.acknowledge.task_id == killed.info.task_id:
                stage.mesos.take = real  # type: ignore[method-assign]
                stage.mesos.lose_agent(agent.hostname)

        stage.mesos.take = take  # type: ignore[method-assign]
        stage.mesos.fail("etcd-0-peer", "TASK_KILLED")
        await stage.clock.sleep(120)
        step = stage.steps()["etcd-0:[peer]"]
        assert step["status"] == "PENDING"
        assert str(step["reason"]).startswith(f"{agent.hostname} is out of reach since")
        stage.mesos.return_agent(agent.hostname)
        await stage.until_complete()
        assert stage.mesos.live["etcd-0-peer"].agent is agent
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_the_step_of_a_lost_agent_waits_and_is_complete_again_when_it_returns() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        launched = len(stage.mesos.launches)
        host = stage.mesos.live["kube-node-1-kubelet"].agent.hostname
        stage.mesos.lose_agent(host)
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE", 60)
        await stage.clock.sleep(1100)
        step = stage.steps()["kube-node-1:[kubelet, proxy, dns]"]
        assert step["status"] == "PENDING"
        assert str(step["reason"]).startswith(f"{host} is out of reach since")
        stage.mesos.return_agent(host)
        await stage.until_complete()
        assert len(stage.mesos.launches) == launched
        await stage.close()

    play(story)


def test_a_pod_instance_whose_agent_has_no_room_is_moved_as_a_whole() -> None:
    async def story() -> None:
        stage = Stage(service(nodes=1))
        stage.start()
        await stage.until_complete()
        old = stage.mesos.live["kube-node-0-kubelet"].agent
        stage.mesos.shrink(old.hostname, "mem")
        stage.mesos.fail("kube-node-0-kubelet")
        await stage.until(lambda: stage.plan()["status"] != "COMPLETE")
        await stage.until_complete()
        homes = {
            stage.mesos.live[f"kube-node-0-{name}"].agent.hostname
            for name in ("kubelet", "proxy", "dns")
        }
        assert len(homes) == 1
        assert homes != {old.hostname}
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_nothing_is_moved_while_an_agent_is_out_of_reach() -> None:
    async def story() -> None:
        stage = Stage()
        stage.start()
        await stage.until_complete()
        kubelet = stage.mesos.live["kube-node-1-kubelet"]
        stage.mesos.fail("kube-node-1-dns")
        stage.mesos.lose_agent(kubelet.agent.hostname)
        # After 1,200 s it would be replaced.
        await stage.clock.sleep(1190)
        stage.mesos.return_agent(kubelet.agent.hostname)
        await stage.until_complete()
        assert stage.mesos.live["kube-node-1-kubelet"] is kubelet
        assert stage.mesos.live["kube-node-1-dns"].agent is kubelet.agent
        assert stage.mesos.violations == []
        await stage.close()

    play(story)


def test_two_pods_that_start_together_do_not_use_the_same_offer() -> None:
    async def story() -> None:
        pods = tuple(PodSpec(name, 1, (task("t"),)) for name in ("one", "two"))
        both = phase("both", Strategy.PARALLEL, ("one", 0, ("t",)), ("two", 0, ("t",)))
        spec = ServiceSpec("kubernetes", "kubernetes", pods, (PlanSpec("deploy", (both,)),))
        stage = Stage(spec, [SimulatedAgent("a1", "dc-a", "a-1")])
        stage.start()
        await stage.until_complete()
        assert [name for _, name, _ in stage.mesos.launches] == ["one-0-t", "two-0-t"]
        assert stage.workload.ended == []
        await stage.close()

    play(story)


def test_a_command_that_cannot_be_made_is_reported_and_tried_again() -> None:
    async def story() -> None:
        stage = Stage()
        stage.workload.fails_for.add("kube-apiserver-0-instance")
        stage.start()
        await stage.until(lambda: "no certificate" in str(stage.steps()), 60)
        assert stage.steps()["kube-apiserver-0:[instance]"]["status"] == "DELAYED"
        stage.workload.fails_for.clear()
        await stage.until_complete()
        assert stage.mesos.violations == []
        await stage.close()

    play(story)
