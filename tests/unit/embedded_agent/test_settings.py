import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kubedcos.embedded.agent.detector import (
    FixedDetector,
    ZooKeeperDetector,
    detector_of,
)
from kubedcos.embedded.agent.machine import offered_disk, offered_memory
from kubedcos.embedded.agent.settings import (
    Settings,
    containerizer_fault,
    load,
    refused_policy,
)
from kubedcos.errors import InvalidInput


def settings(*flags: str, **environment: str) -> Settings:
    base = ("--master=h:5050", "--work_dir=/tmp/w", "--ip=10.0.0.1")
    names = {flag.partition("=")[0] for flag in flags}
    given = [flag for flag in base if flag.partition("=")[0] not in names]
    return load([*given, *flags], environment)


def problem(*flags: str) -> str:
    with pytest.raises(InvalidInput) as caught:
        settings(*flags)
    return str(caught.value)


def test_domain_attributes_and_credentials() -> None:
    domain = {"fault_domain": {"region": {"name": "dc-b"}, "zone": {"name": "b-1"}}}
    found = settings(
        f"--domain={json.dumps(domain)}",
        "--attributes=rack:r1;cores:4",
        '--credential={"principal": "agent", "secret": "s"}',
        '--http_credentials={"credentials": [{"principal": "ops", "secret": "o"}]}',
    )
    assert found.domain is not None
    assert found.domain.fault_domain is not None
    assert found.domain.fault_domain.zone.name == "b-1"
    assert [a.name for a in found.attributes] == ["rack", "cores"]
    assert found.credential is not None
    assert found.credential.principal == "agent"
    assert found.http_credentials == {"ops": "o"}


def test_environment_and_files(tmp_path: Path) -> None:
    (tmp_path / "resources").write_text(
        '[{"name": "cpus", "type": "SCALAR", "scalar": {"value": 3}}]'
    )
    found = settings(MESOS_RESOURCES=f"file://{tmp_path}/resources", MESOS_HOSTNAME="h1")
    assert found.resources.scalar("cpus") == 3
    assert found.hostname == "h1"


def test_what_is_not_given_is_detected() -> None:
    found = settings("--resources=cpus:1;disk(etcd):100", "--no-hostname_lookup")
    assert found.resources.scalar("cpus") == 1
    assert found.resources.scalar("mem") > 0
    assert found.resources.scalar("disk") == 100, "any disk switches the detection off"
    assert found.resources.spans() == ((31000, 32000),)
    assert found.hostname == "10.0.0.1"


def test_default_role_reserves() -> None:
    found = settings("--resources=cpus:1;mem:64;disk:1;ports:[1-2]", "--default_role=public")
    assert len(found.resources.reserved("public")) == 4


@pytest.mark.parametrize(
    "flag",
    [
        "authenticatee=org_example_Other",
        "container_logger=org_apache_mesos_LogrotateContainerLogger",
        "http_authenticators=org_example_Other",
        "nvidia_gpu_devices=0",
        "secret_resolver=org_example_Other",
        "volume_gid_range=[10000-20000]",
    ],
)
def test_what_a_task_or_a_caller_would_miss_is_refused(flag: str) -> None:
    assert f"flag --{flag.partition('=')[0]}" in problem(f"--{flag}")


@pytest.mark.parametrize(("total", "offered"), [(8192, 7168), (2048, 1024), (1500, 750)])
def test_memory_that_is_offered(total: int, offered: int) -> None:
    assert offered_memory(total) == offered


def test_disk_that_is_offered() -> None:
    assert (offered_disk(20480), offered_disk(8000)) == (15360, 4000)


def test_the_ip_may_come_from_a_command() -> None:
    found = load(
        ["--master=h:1", "--work_dir=/tmp/w", "--ip_discovery_command=find-ip"],
        {},
        command_output=lambda command: {"find-ip": "10.1.1.1"}[command],
    )
    assert found.ip == "10.1.1.1"


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(InvalidInput, match="exit 7"):
        load(["--master=h:1", "--work_dir=/tmp/w", "--ip_discovery_command=exit 7"], {})


def test_executors_do_not_see_the_agents_own_settings() -> None:
    found = settings(MESOS_ATTRIBUTES="a:b", LIBPROCESS_IP="1.1.1.1", HOME="/root")
    assert found.executor_environment == {"HOME": "/root"}
    given = settings('--executor_environment_variables={"A": "b"}', HOME="/root")
    assert given.executor_environment == {"A": "b"}


@pytest.mark.parametrize(
    ("flag", "word"),
    [
        ("--isolation=posix/cpu,disk/xfs", "disk/xfs"),
        ("--ip=nowhere", "IPv4"),
        ("--launcher=docker", "linux or posix"),
        ("--domain={}x", "--domain"),
        ('--domain={"fault_domain": {"region": 1}}', "fault_domain"),
        ('--credential={"principal": "a"}', "secret"),
        ('--http_credentials=["a"]', "http_credentials"),
        ("--resources=cpus=1", "resources"),
        ("--ip_discovery_command=x", "only one"),
        ("--no_such_flag=1", "no_such_flag"),
        ("--modules={}", "modules"),
        ('--default_container_info={"type": "DOCKER", "docker": {"image": "x"}}', "type MESOS"),
        (
            '--default_container_info={"type": "MESOS", "mesos": {"image": {"type": "DOCKER"}}}',
            "an",
        ),
        (
            '--default_container_info={"type": "MESOS", "volumes": [{"container_path": "a"}]}',
            "mode",
        ),
        ('--default_container_dns={"mesos": [{"network_mode": "HOST", "dns": {}}]}', "HOST"),
        ('--default_container_dns={"mesos": [{"dns": {}}]}', "UNKNOWN network mode"),
        ('--effective_capabilities={"capabilities": 3}', "effective_capabilities"),
    ],
)
def test_bad_flags_are_named(flag: str, word: str) -> None:
    assert word in problem(flag)


def test_isolators_that_mesos_adds() -> None:
    found = settings("--isolation=cgroups/all,filesystem/linux,docker/volume").isolators.names
    assert found == {
        *("cgroups/all", "filesystem/linux", "docker/volume", "network/cni", "environment_secret"),
        *("volume/image", "volume/host_path", "volume/sandbox_path"),
    }
    assert settings("--isolation=process,posix/disk").isolators.names == {
        *("posix/cpu", "posix/mem", "disk/du", "filesystem/posix", "network/cni"),
        "environment_secret",
    }


CANNOT_START = [
    (("--isolation=posix/cpu,posix/cpu",), "Duplicate entries found in --isolation flag"),
    (
        ("--isolation=filesystem/linux,filesystem/posix",),
        "Using multiple filesystem isolators simultaneously is disallowed",
    ),
    (
        ("--isolation=filesystem/linux", "--launcher=posix"),
        (
            "Failed to create isolator 'filesystem/linux': 'filesystem/linux' isolator requires "
            "'linux' launcher"
        ),
    ),
    (
        ("--isolation=namespaces/pid", "--launcher=linux"),
        "'filesystem/linux' must be used to enable pid namespace",
    ),
    (
        ("--isolation=volume/host_path", "--launcher=linux"),
        "Failed to create isolator 'volume/host_path': 'filesystem/linux' isolator must be used",
    ),
    (
        (
            *("--isolation=linux/capabilities", '--effective_capabilities={"capabilities":"KILL"}'),
            '--bounding_capabilities={"capabilities":["CHOWN"]}',
        ),
        "Allowed capabilities are not a subset of the bounding capabilites",
    ),
    (
        ("--network_cni_config_dir=/etc",),
        (
            "Failed to create isolator 'network/cni': Missing required "
            "'--network_cni_plugins_dir' flag"
        ),
    ),
    (
        ("--network_cni_config_dir=/no/such", "--network_cni_plugins_dir=/opt"),
        "The CNI network configuration directory '/no/such' does not exist",
    ),
]


@pytest.mark.skipif(os.geteuid() != 0, reason="without root other reasons come first")
@pytest.mark.parametrize(("flags", "words"), CANNOT_START)
def test_isolators_that_cannot_be_are_told_in_mesos_words(
    flags: tuple[str, ...], words: str
) -> None:
    text = containerizer_fault(settings(*flags))
    assert text is not None
    assert text.startswith(
        "Failed to create a containerizer: Could not create MesosContainerizer: "
    )
    assert words in text


def test_default_flags_can_start() -> None:
    assert containerizer_fault(settings("--launcher=posix")) is None


def test_unknown_policies_in_mesos_words() -> None:
    text = refused_policy(settings("--reconfiguration_policy=any").flags)
    assert text == (
        "Unknown option for 'reconfiguration_policy' flag any. Please run the agent with "
        "'--help' to see the valid options."
    )
    assert refused_policy(settings().flags) is None


def test_masters() -> None:
    assert isinstance(detector_of("h:5050", 10), FixedDetector)
    assert isinstance(detector_of("zk://a:1,b:2/mesos", 10), ZooKeeperDetector)
    for bad in ("h", "zk:/x", "h:port", ":1"):
        with pytest.raises(InvalidInput):
            detector_of(bad, 10)


def test_a_work_dir_that_is_no_folder_ends_the_agent_with_a_sentence(tmp_path: Path) -> None:
    work = tmp_path / "file"
    work.write_text("")
    flags = ("--master=127.0.0.1:9", "--ip=127.0.0.1", "--port=0", "--launcher=posix")
    done = subprocess.run(
        [sys.executable, "-m", "kubedcos.embedded.agent", *flags, f"--work_dir={work}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"EXIT with status 1: Failed to create the directory '{work}'" in done.stderr
    assert "Traceback" not in done.stderr
