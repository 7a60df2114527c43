"""The programs that run on agents, as far as they can be tried without being root on one."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubedcos.kubernetes import launcher
from kubedcos.kubernetes.launcher import kubedcos_task, node_cgroups, supervise_node
from kubedcos.kubernetes.payload import PRIVATE, SANDBOX_PROOF
from kubedcos.kubernetes.pki import Authority, Profile, request_public_key

FOLDER = Path(launcher.__file__).parent


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.02)


def test_both_sides_mean_the_same_places() -> None:
    assert kubedcos_task.PRIVATE == supervise_node.PRIVATE == PRIVATE
    assert kubedcos_task.PROOF == SANDBOX_PROOF


@pytest.mark.parametrize(
    "name", ["kubedcos_task.py", "supervise.py", "balance.py", "node_cgroups.py"]
)
def test_programs_need_nothing_but_the_standard_library(name: str) -> None:
    lines = launcher.source(name).decode().splitlines()
    modules = {
        line.split()[1].split(".")[0] for line in lines if line.startswith(("import ", "from "))
    }
    assert modules <= set(sys.stdlib_module_names)


def test_a_nodes_supervisor_runs_from_what_travels_to_the_task(tmp_path: Path) -> None:
    """Where nothing of this package is installed, as on an agent."""
    for path, text in launcher.runnable("node", "supervise_node.py", "node_cgroups.py").items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    spec = tmp_path / "node.json"
    spec.write_text(json.dumps({"data": "/proc/self/no-such-folder"}))
    ran = subprocess.run(
        ["/usr/bin/python3", "-I", tmp_path / "node", spec],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "ModuleNotFoundError" not in ran.stderr
    assert "No such file or directory: '/proc/self/no-such-folder'" in ran.stderr


def test_a_program_with_another_sum_is_refused_with_both_sums(tmp_path: Path) -> None:
    path = tmp_path / "etcd"
    path.write_bytes(b"right")
    right = hashlib.sha256(b"right").hexdigest()
    kubedcos_task.verify({str(path): right})
    path.write_bytes(b"wrong")
    with pytest.raises(kubedcos_task.Failure) as caught:
        kubedcos_task.verify({str(path): right})
    assert right in str(caught.value)
    assert hashlib.sha256(b"wrong").hexdigest() in str(caught.value)


def test_a_missing_program_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kubedcos_task.Failure, match="No such file"):
        kubedcos_task.verify({str(tmp_path / "none"): "0"})


def test_keys_stay_where_they_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "PRIVATE", str(tmp_path))
    csr = kubedcos_task.create_key("server")
    request_public_key(csr.encode(), "test")
    assert (tmp_path / "server.key").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in csr


def test_files_of_the_reply_are_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "PRIVATE", str(tmp_path))
    kubedcos_task.write_files([{"path": "a/b.key", "text": "secret"}])
    assert (tmp_path / "a/b.key").read_text() == "secret"
    assert (tmp_path / "a/b.key").stat().st_mode & 0o777 == 0o600


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An HTTPS server that answers as it is told."""
    authority = Authority.create("api", time.time())
    profile = Profile("api", addresses=("127.0.0.1",), server=True)
    pair = authority.issue_pair(profile, time.time())
    told: dict[str, Any] = {"status": [200], "bodies": [], "ca": authority.certificate_pem.decode()}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told["bodies"].append(self.rfile.read(int(self.headers["Content-Length"])))
            self.answer()

        def do_GET(self) -> None:
            self.answer()

        def answer(self) -> None:
            status = told["status"].pop(0) if len(told["status"]) > 1 else told["status"][0]
            body = json.dumps({"argv": ["x"], "path": self.path}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    file = tmp_path / "api.pem"
    file.write_bytes(pair.certificate_pem + pair.key_pem)
    context.load_cert_chain(file)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    told["url"] = f"https://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield told
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_material_comes_from_whichever_scheduler_leads(scheduler: dict[str, Any]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"https://127.0.0.1:{unused.getsockname()[1]}"
        reply = kubedcos_task.ask([dead, scheduler["url"]], scheduler["ca"], "t__1", b"{}")
    assert reply["path"] == "/v1/tasks/t__1/material"
    assert scheduler["bodies"] == [b"{}"]


def test_a_refusal_is_final_and_says_why(scheduler: dict[str, Any]) -> None:
    scheduler["status"] = [409]
    with pytest.raises(kubedcos_task.Failure, match=r"refused.*409"):
        kubedcos_task.ask([scheduler["url"]], scheduler["ca"], "t", b"{}")
    assert len(scheduler["bodies"]) == 1


def test_not_now_is_asked_again(scheduler: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task.time, "sleep", lambda _: None)
    scheduler["status"] = [503, 404, 200]
    kubedcos_task.ask([scheduler["url"]], scheduler["ca"], "t", b"{}")
    assert len(scheduler["bodies"]) == 3


def test_a_scheduler_of_another_authority_gets_nothing(
    scheduler: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubedcos_task, "REQUEST_DEADLINE", 0.5)
    other = Authority.create("other", time.time()).certificate_pem.decode()
    with pytest.raises(kubedcos_task.Failure, match=r"no scheduler answered.*CERTIFICATE_VERIFY"):
        kubedcos_task.ask([scheduler["url"]], other, "t", b"{}")
    assert scheduler["bodies"] == []


def test_health_checks(scheduler: dict[str, Any]) -> None:
    port = scheduler["url"].rpartition(":")[2]
    assert kubedcos_task.check(["http", f"{scheduler['url']}/livez"]) == 0
    assert kubedcos_task.check(["tcp", "127.0.0.1", port]) == 0
    scheduler["status"] = [500]
    assert kubedcos_task.check(["http", f"{scheduler['url']}/livez"]) == 1
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        assert kubedcos_task.check(["tcp", "127.0.0.1", str(unused.getsockname()[1])]) == 1
    assert kubedcos_task.check(["ping"]) == 2


def test_waiting_ends_when_the_place_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        port = later.getsockname()[1]
        waiting = threading.Thread(target=kubedcos_task.wait_for, args=([["127.0.0.1", port]],))
        waiting.start()
        said: list[str] = []

        def told() -> bool:
            said.append(capsys.readouterr().err)
            return f"waiting for 127.0.0.1:{port}" in "".join(said)

        wait_until(told)
        later.listen()
        waiting.join(10)
        assert not waiting.is_alive()


def test_waiting_for_nothing_fails_with_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "WAIT_DEADLINE", 0.0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(kubedcos_task.Failure, match=f"127.0.0.1:{port} cannot be reached"):
            kubedcos_task.wait_for([["127.0.0.1", port]])


def test_one_place_of_several_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubedcos_task, "WAIT_DEADLINE", 0.0)
    kubedcos_task.wait_for_one([])
    with socket.socket() as unused, socket.socket() as open_one:
        for line in (unused, open_one):
            line.bind(("127.0.0.1", 0))
        open_one.listen()
        places = [["127.0.0.1", line.getsockname()[1]] for line in (unused, open_one)]
        kubedcos_task.wait_for_one(places)
        with pytest.raises(kubedcos_task.Failure, match="cannot be reached"):
            kubedcos_task.wait_for_one([places[0], ["nowhere.invalid", 1]])


def test_the_scheduler_is_told_what_volumes_hold(tmp_path: Path) -> None:
    (tmp_path / "data/etcd/member/wal/deeper").mkdir(parents=True)
    (tmp_path / "data/lost+found").mkdir()
    (tmp_path / "data/file").touch()
    found = kubedcos_task.facts(str(tmp_path), {"data": "data", "none": "none"})["volumes"]
    assert found["data"] == ["etcd", "etcd/member", "etcd/member/wal", "lost+found"]
    assert found["none"] == []


def run(name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", str(FOLDER / name), *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_task_without_its_environment_says_what_is_missing() -> None:
    done = run("kubedcos_task.py")
    assert done.returncode == 1
    assert "'KUBEDCOS_TASK' is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_usage() -> None:
    assert run("kubedcos_task.py", "start").returncode == 2


def supervised(tmp_path: Path, script: str, **changes: Any) -> Path:
    spec = {
        "run": ["/bin/sh", "-c", script],
        "before": [["touch", str(tmp_path / "before")]],
        "after": [["touch", str(tmp_path / "after")]],
        "stop_seconds": 5,
        **changes,
    }
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    return file


def test_a_supervised_program_ends_with_its_own_status(tmp_path: Path) -> None:
    assert run("supervise.py", str(supervised(tmp_path, "exit 7"))).returncode == 7
    assert (tmp_path / "before").exists()
    assert (tmp_path / "after").exists()


def test_what_cannot_be_prepared_does_not_start(tmp_path: Path) -> None:
    file = supervised(tmp_path, f"touch {tmp_path}/ran", before=[["false"]])
    assert run("supervise.py", str(file)).returncode == 1
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("trap", ["trap 'exit 0' TERM", "trap '' TERM"])
def test_a_supervised_program_is_ended_and_tidied_up_after(tmp_path: Path, trap: str) -> None:
    script = f"{trap}; touch {tmp_path}/up; while :; do sleep 0.05; done"
    file = supervised(tmp_path, script, stop_seconds=0.5)
    with subprocess.Popen([sys.executable, "-I", str(FOLDER / "supervise.py"), str(file)]) as child:
        wait_until((tmp_path / "up").exists)
        child.send_signal(signal.SIGTERM)
        assert child.wait(10) == 0
    assert (tmp_path / "after").exists()


def test_a_supervised_program_does_not_outlive_its_supervisor(tmp_path: Path) -> None:
    script = f"echo $$ > {tmp_path}/pid.new; mv {tmp_path}/pid.new {tmp_path}/pid; exec sleep 60"
    file = supervised(tmp_path, script)
    with subprocess.Popen([sys.executable, "-I", str(FOLDER / "supervise.py"), str(file)]) as child:
        wait_until((tmp_path / "pid").exists)
        pid = (tmp_path / "pid").read_text().strip()
        child.kill()
        child.wait(10)
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def _is_zombie(pid: str) -> bool:
    try:
        return ") Z" in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


MOUNTINFO = """\
20 1 0:1 / / rw - ext4 /dev/vda rw
30 20 0:2 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory
31 20 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
32 20 0:4 / /sys/fs/cgroup/systemd rw - cgroup systemd rw,name=systemd
33 20 0:5 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
34 20 0:6 / /var/lib/kubedcos rw - xfs /dev/vdb rw
"""
OWN_V1 = "4:memory:/mesos/c1\n3:cpu,cpuacct:/mesos/c1\n1:name=systemd:/\n0::/\n"


def on_host(
    monkeypatch: pytest.MonkeyPatch, root: Path, mountinfo: str, own: str
) -> node_cgroups.Cgroups:
    texts = {
        "/proc/self/mountinfo": mountinfo.replace("/sys/fs/cgroup", str(root)),
        "/proc/self/cgroup": own,
    }
    real = node_cgroups.read
    monkeypatch.setattr(node_cgroups, "read", lambda path: texts.get(path) or real(path))
    return node_cgroups.Cgroups()


def test_the_nodes_cgroup_is_made_in_every_hierarchy_and_taken_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "memory/mesos/c1").mkdir(parents=True)
    (tmp_path / "cpu,cpuacct/mesos/c1").mkdir(parents=True)
    (tmp_path / "systemd/mesos/killed/kubepods").mkdir(parents=True)
    (tmp_path / "unified").mkdir()
    (tmp_path / "cpu,cpuacct/mesos/being-made").mkdir()
    cgroups = on_host(monkeypatch, tmp_path, MOUNTINFO, OWN_V1)
    assert cgroups.root == "/mesos/c1"
    cgroups.prepare()
    (tmp_path / "cpu,cpuacct/mesos/being-made").rmdir()
    assert not (tmp_path / "systemd/mesos/killed").exists(), "what was killed hard left this"
    for hierarchy in ("memory", "cpu,cpuacct", "systemd", "unified"):
        (tmp_path / hierarchy / "mesos/c1/kubepods/burstable").mkdir(parents=True)
    cgroups.remove()
    left = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")}
    assert left == {
        *("memory", "memory/mesos", "memory/mesos/c1"),
        *("cpu,cpuacct", "cpu,cpuacct/mesos", "cpu,cpuacct/mesos/c1"),
        *("systemd", "systemd/mesos", "unified"),
    }


def mebibytes(path: Path) -> int:
    return int(path.read_text()) // node_cgroups.MEBIBYTE


def test_pods_get_what_the_nodes_own_programs_leave(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    top = tmp_path / "memory/mesos/c1"
    (top / "kubepods").mkdir(parents=True)
    (top / "memory.limit_in_bytes").write_text(f"{1056 << 20}\n")
    (top / "memory.stat").write_text(f"cache 1\nrss {200 << 20}\ntotal_rss {900 << 20}\n")
    limit = top / "kubepods/memory.limit_in_bytes"
    cgroups = on_host(monkeypatch, tmp_path, MOUNTINFO, OWN_V1)
    cgroups.bound_pods()
    assert not limit.exists(), "the kubelet has not made it yet"
    limit.write_text(f"{1024 << 20}\n")
    cgroups.bound_pods()
    assert mebibytes(limit) == 1056 - 200 - 64
    (top / "memory.stat").write_text(f"rss {197 << 20}\n")
    cgroups.bound_pods()
    assert mebibytes(limit) == 792, "a little less is not worth a change"
    (top / "memory.stat").write_text(f"rss {90 << 20}\n")
    cgroups.bound_pods()
    assert mebibytes(limit) == 896


def test_pods_get_what_is_left_with_cgroup_v2_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    top = tmp_path / "mesos/c1"
    for name, used in (("kubepods", 700), ("kubedcos", 150), ("leaf", 42)):
        (top / name).mkdir(parents=True)
        (top / name / "memory.stat").write_text(f"anon {used << 20}\n")
    (top / "memory.max").write_text(f"{1056 << 20}\n")
    limit = top / "kubepods/memory.max"
    limit.write_text("max\n")
    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    on_host(monkeypatch, tmp_path, mountinfo, "0::/mesos/c1/leaf\n").bound_pods()
    assert mebibytes(limit) == 1056 - 150 - 42 - 64


def test_a_new_cpuset_gets_its_parents_cpus(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in ("cpuset.cpus", "cpuset.mems"):
        (tmp_path / name).write_text("0-1\n")
        (tmp_path / "c" / name).write_text("\n")
    node_cgroups.Cgroups._fill_cpuset(str(tmp_path), str(tmp_path / "c"))
    assert (tmp_path / "c/cpuset.cpus").read_text() == "0-1\n"


def test_without_a_memory_cgroup_there_is_no_node(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(node_cgroups.Failure, match="--isolation=cgroups/cpu,cgroups/mem"):
        on_host(monkeypatch, tmp_path, MOUNTINFO, "4:memory:/\n0::/\n")


@pytest.mark.parametrize("own", ["0::/mesos/c1/leaf\n", "0::/mesos/c1\n"])
def test_cgroup_v2_with_and_without_a_leaf(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str
) -> None:
    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    assert on_host(monkeypatch, tmp_path, mountinfo, own).root == "/mesos/c1"


def test_cgroup_v2_processes_move_into_a_leaf(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = tmp_path / "mesos/c1"
    base.mkdir(parents=True)
    (base / "cgroup.procs").write_text("41\n42\n")
    (base / "cgroup.controllers").write_text("cpu memory\n")
    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    on_host(monkeypatch, tmp_path, mountinfo, "0::/mesos/c1\n").prepare()
    assert (base / "kubedcos/cgroup.procs").read_text() == "42"
    assert (base / "cgroup.subtree_control").read_text() == "+memory"


def test_cgroup_v2_controllers_come_from_the_top(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Mesos with cgroups/cpu and cgroups/mem shares out cpu and memory alone."""
    base = tmp_path / "mesos/c1"
    base.mkdir(parents=True)
    have = "cpuset cpu io memory hugetlb pids rdma"
    for path, controllers, shared in (
        (tmp_path, have, "cpu io memory pids"),
        (tmp_path / "mesos", "cpu io memory pids", "cpu memory"),
        (base, "cpu memory", "cpu memory"),
    ):
        (path / "cgroup.controllers").write_text(controllers + "\n")
        (path / "cgroup.subtree_control").write_text(shared + "\n")
    (base / "cgroup.procs").write_text("")

    def write(path: str, text: str) -> None:
        """As the kernel does: what a cgroup shares out is what those below it have."""
        file, controller = Path(path), text.removeprefix("+")
        assert file.name == "cgroup.subtree_control"
        assert controller in (file.parent / "cgroup.controllers").read_text().split()
        file.write_text(file.read_text() + f" {controller}")
        for child in file.parent.glob("*/cgroup.controllers"):
            child.write_text(child.read_text() + f" {controller}")

    mountinfo = "30 20 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n"
    cgroups = on_host(monkeypatch, tmp_path, mountinfo, "0::/mesos/c1/leaf\n")
    monkeypatch.setattr(node_cgroups, "write", write)
    cgroups.prepare()
    for_pods = set((base / "cgroup.subtree_control").read_text().split())
    assert for_pods == {"cpuset", "cpu", "memory", "hugetlb", "pids"}
    assert "rdma" not in (tmp_path / "cgroup.subtree_control").read_text()


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/var/lib/kubedcos/k", "xfs"), ("/var/lib/kubedcosx", "ext4"), ("/", "ext4")],
)
def test_the_filesystem_of_a_folder(monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    monkeypatch.setattr(supervise_node, "read", lambda _: MOUNTINFO)
    assert supervise_node.filesystem_of(path) == kind


def test_where_leases_are_is_read_from_the_overlays_configuration(tmp_path: Path) -> None:
    with pytest.raises(node_cgroups.Failure, match="is the overlay set up"):
        supervise_node.lease_stores(str(tmp_path))
    for ipam, stores in (
        ({"type": "host-local", "dataDir": "/x"}, ["/x"]),
        ({"type": "host-local"}, ["/var/lib/cni/networks"]),
    ):
        plugins = [{"type": "bridge", "ipam": ipam}, {"type": "portmap"}]
        (tmp_path / "10-k.conflist").write_text(json.dumps({"name": "k", "plugins": plugins}))
        assert supervise_node.lease_stores(str(tmp_path)) == stores


def test_a_node_gives_back_its_own_leases_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes, store = tmp_path / "notes", tmp_path / "store"
    (notes / "results").mkdir(parents=True)
    (store / "kubernetes").mkdir(parents=True)
    monkeypatch.setattr(supervise_node, "CNI_NOTES", str(notes))
    result = {"kind": "cniCacheV1", "networkName": "kubernetes", "containerId": "pod-1"}
    (notes / "results/kubernetes-pod-1-eth0").write_text(json.dumps(result))
    (notes / "results/half-written").write_text('{"kind": ')
    leases = {"10.0.0.2": "pod-1\r\neth0", "10.0.0.3": "another-node\r\neth0", "fd00::2": "pod-1"}
    for name, text in {**leases, "lock": "", "last_reserved_ip.0": "10.0.0.3"}.items():
        (store / "kubernetes" / name).write_text(text)
    supervise_node.return_leases([str(store)])
    left = sorted(path.name for path in (store / "kubernetes").iterdir())
    assert left == ["10.0.0.3", "last_reserved_ip.0", "lock"]
    assert not list((notes / "results").iterdir())


def test_a_program_that_ends_too_often_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise_node.time, "sleep", lambda _: None)
    program = supervise_node.Program("kubelet", ["/bin/false"])
    for _ in range(supervise_node.MOST_RESTARTS):
        program.child.wait(10)
        program.keep_running()
    program.child.wait(10)
    with pytest.raises(supervise_node.Failure, match="kubelet ended too often, last with status 1"):
        program.keep_running()
