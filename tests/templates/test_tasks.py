"""What each kind of task is given; secrets and programs are named instead of shown."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import yaml

from kubedcos.clock import SystemClock
from kubedcos.config import cluster
from kubedcos.kubernetes import addons, components
from kubedcos.kubernetes.payload import Facts
from kubedcos.kubernetes.recipe import Situation
from kubedcos.kubernetes.vault import MemorySecretStore, Vault
from kubedcos.scheduler.workload import AgentPlace

Golden = Callable[[str, str], None]
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----\n", re.DOTALL)
FACTS = Facts("a1", "/sandbox", 4, 8_000_000, 50_000_000_000, may_raise_priority=False)
PLACE = AgentPlace("uuid-S1", "a1", "10.89.1.11", "dc-a", "a-1")


class Dumper(yaml.SafeDumper):
    """Shows texts of several lines as blocks."""


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


Dumper.add_representer(str, _text)


def rendered(kind: str) -> str:
    """The payload of `kind` as YAML, with secrets and programs named instead of shown."""
    options = cluster.load("", "golden")
    vault = Vault(MemorySecretStore(), options.name, SystemClock())
    pod, task = next(
        (pod, task)
        for pod in components.service(options).pods
        for task in pod.tasks
        if task.kind == kind
    )
    at = Situation(
        options=options,
        vault=vault,
        task=task,
        task_id=f"{pod.instance(0)}-{task.name}__1",
        pod_instance=pod.instance(0),
        place=PLACE,
        volumes={volume.name: volume.container_path for volume in task.volumes},
        etcd=("10.89.1.12",),
        facts=FACTS,
    )
    payload = components.RECIPES[kind].payload(at).as_json()
    files = {file["path"]: _shown(file["path"], file["text"], vault) for file in payload["files"]}
    certificates = {
        name: f"{(signing := make(at)).ca} CA: {signing.profile}"
        for name, make in components.RECIPES[kind].keys.items()
    }
    return yaml.dump(
        {**payload, "files": files, "certificates": certificates},
        Dumper=Dumper,
        sort_keys=False,
        width=100,
    )


def _shown(path: str, text: str, vault: Vault) -> str:
    if path.endswith(".py"):
        return f"(launcher/{path})"
    return PEM.sub(r"(\1)", text).replace(vault.encryption_key(), "(32 bytes)")


@pytest.mark.parametrize("kind", list(components.RECIPES))
def test_payload(golden: Golden, kind: str) -> None:
    golden(f"tasks/{kind}.yml", rendered(kind))


@pytest.mark.parametrize("name", [*addons.MANDATORY, "dns", "metrics-server", "demo"])
def test_manifests_are_yaml_with_names(name: str) -> None:
    documents = list(yaml.safe_load_all(addons.manifest(name, cluster.load("", "golden"))))
    assert documents
    for document in documents:
        assert document["apiVersion"]
        assert document["kind"]
        assert document["metadata"]["name"]


def test_the_demo_manifest(golden: Golden) -> None:
    golden("tasks/demo.yml", addons.manifest("demo", cluster.load("", "golden")))
