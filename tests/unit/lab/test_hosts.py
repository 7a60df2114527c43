import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from tests.unit.lab.test_spec import inventory

from kubedcos.errors import InvalidInput
from kubedcos.lab import hosts, keys
from kubedcos.lab.engine import Machine, Podman, global_options, strays
from kubedcos.lab.spec import parse

SPEC = parse(inventory(), "inv")
M1 = SPEC.host("m1")


def test_hybrid_cgroups_need_runc_and_say_so_when_it_is_missing() -> None:
    hybrid = Machine(unified_cgroups=False, systemd=True, runtimes=frozenset({"crun", "runc"}))
    assert global_options(hybrid) == ("--runtime", "runc", "--cgroup-manager", "cgroupfs")

    with pytest.raises(InvalidInput, match="runc"):
        global_options(Machine(unified_cgroups=False, systemd=True, runtimes=frozenset({"crun"})))


def test_an_ordinary_workstation_gets_podmans_own_choice() -> None:
    assert global_options(Machine(True, True, frozenset({"crun"}))) == ()
    assert global_options(Machine(True, False, frozenset({"crun"}))) == (
        "--cgroup-manager",
        "cgroupfs",
    )


def test_a_host_is_marked_as_ours_and_keeps_its_own_name_files(tmp_path: Path) -> None:
    arguments = hosts.create_arguments(SPEC, M1, "image:1", modules=tmp_path / "none")
    assert "--label=kubedcos.lab=mini" in arguments
    assert "--network=mini-dc-a:ip=10.1.0.10" in arguments
    assert {"--no-hosts", "--dns=none", "--cgroupns=private"} <= set(arguments)
    assert "--volume=/var/lib/containerd" in arguments


def test_another_way_of_making_a_host_makes_it_another_one(tmp_path: Path) -> None:
    none = tmp_path / "none"
    made_from = hosts.made_from(SPEC, M1, "image:1", modules=none)
    assert f"--label=kubedcos.made-from={made_from}" in hosts.create_arguments(
        SPEC, M1, "image:1", modules=none
    )
    assert made_from != hosts.made_from(SPEC, M1, "image:1", modules=tmp_path)
    assert made_from != hosts.made_from(SPEC, M1, "image:2", modules=none)


def test_kernel_modules_are_shown_to_hosts_where_there_are_any(tmp_path: Path) -> None:
    arguments = hosts.create_arguments(SPEC, M1, "image:1", modules=tmp_path)
    assert f"--volume={tmp_path}:{tmp_path}:ro" in arguments


def test_files_of_a_host_are_written_before_its_first_start(tmp_path: Path) -> None:
    (tmp_path / "etc/ssh").mkdir(parents=True)
    (tmp_path / "root/.ssh").mkdir(parents=True)
    private = keys.new_key()

    hosts.write_files(
        tmp_path, M1, operator_key="ssh-ed25519 AAAA", host_key=private, nameservers=["9.9.9.9"]
    )

    assert "10.1.0.10 m1\n" in (tmp_path / "etc/hosts").read_text()
    assert (tmp_path / "etc/resolv.conf").read_text() == "nameserver 9.9.9.9\n"
    assert (tmp_path / "root/.ssh/authorized_keys").read_text() == "ssh-ed25519 AAAA\n"
    key = tmp_path / hosts.HOST_KEY
    assert key.read_bytes() == private
    assert key.stat().st_mode & 0o777 == 0o600


def test_loopback_resolvers_are_passed_over_for_the_real_ones() -> None:
    stub = "nameserver 127.0.0.53\noptions edns0\n"
    real = "# upstream\nnameserver 10.0.0.2\nnameserver fe80::1\nnameserver 10.0.0.3\n"
    assert hosts.nameservers({"/etc/resolv.conf": stub, "/run/real": real}) == [
        "10.0.0.2",
        "10.0.0.3",
    ]
    assert hosts.nameservers({"/etc/resolv.conf": stub}) == []


def test_a_host_that_does_not_boot_is_told_by_its_name() -> None:
    def runner(argv: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(argv, 1, stdout="starting\n", stderr="")

    times = iter(range(100))
    with pytest.raises(hosts.HostDidNotStart, match=r"host m1: systemd is starting after 5 s"):
        hosts.wait_until_up(
            Podman(runner=runner),
            M1,
            seconds=5,
            monotonic=lambda: float(next(times)),
            sleep=lambda _: None,
        )


def test_the_operators_key_is_made_once_and_readable_by_its_owner_alone(tmp_path: Path) -> None:
    first = keys.operator_key(tmp_path / "lab")
    path = tmp_path / "lab" / keys.KEY_FILE
    load_ssh_private_key(path.read_bytes(), password=None)

    assert keys.operator_key(tmp_path / "lab") == first
    assert first.startswith("ssh-ed25519 ")
    assert path.stat().st_mode & 0o777 == 0o600


def test_known_hosts_has_addresses_and_names() -> None:
    text = keys.known_hosts(
        [(M1, "ssh-ed25519 AAAA root@m1\n"), (SPEC.host("b1"), "ssh-ed25519 B")]
    )
    assert text == "10.1.0.10,m1 ssh-ed25519 AAAA root@m1\n10.2.0.10,b1 ssh-ed25519 B\n"


def test_a_host_that_ended_is_told_at_once_with_its_last_words() -> None:
    def runner(argv: Any, **_: Any) -> subprocess.CompletedProcess[str]:
        answers = {"inspect": "exited\n", "logs": "Failed to allocate manager object\n"}
        out = next((text for word, text in answers.items() if word in argv), "")
        return subprocess.CompletedProcess(argv, 1, stdout=out, stderr="")

    with pytest.raises(hosts.HostDidNotStart, match="Failed to allocate manager object"):
        hosts.wait_until_up(Podman(runner=runner), M1, seconds=600)


def test_podman_at_work_on_our_containers_is_seen_and_nothing_else(tmp_path: Path) -> None:
    lines = {
        "10": ["podman", "--runtime", "runc", "start", "mini-m1"],
        "11": ["/usr/bin/podman", "create", "--name=mini-b1", "image"],
        "12": ["podman", "exec", "mini-m1", "sh"],
        "13": ["podman", "start", "other"],
        "14": ["vi", "start", "mini-m1"],
    }
    for number, words in lines.items():
        (tmp_path / number).mkdir()
        (tmp_path / number / "cmdline").write_bytes("\0".join([*words, ""]).encode())
    assert sorted(strays(["mini-m1", "mini-b1"], tmp_path)) == [10, 11]
