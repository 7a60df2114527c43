"""What role container_runtime leaves of registries that are no longer mirrored."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from .ansible_runs import ansible_playbook

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the role's files belong to root")


def run_role(certs: Path, *lists: list[str], check: bool = False) -> str:
    """Run the role once with each list of registries; returns what Ansible said at the end."""
    given = {
        "ansible_python_interpreter": sys.executable,
        "container_runtime_certs_dir": f"{certs}/",
        "lists": lists,
    }
    done = ansible_playbook(
        "localhost,",
        Path(__file__).with_name("registry_mirrors.yml"),
        *("-c", "local", "-e", json.dumps(given)),
        *(["--check"] if check else []),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()[-2]


def below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_registry_taken_off_the_list_is_no_longer_mirrored_and_what_others_made_stays(
    tmp_path: Path,
) -> None:
    certs = tmp_path / "certs.d"
    theirs = certs / "docker.io"
    theirs.mkdir(parents=True)
    (theirs / "hosts.toml").write_text('server = "https://registry-1.docker.io"\n')
    run_role(certs, ["_default", "ghcr.io", "quay.io"])
    (certs / "ghcr.io/ca.crt").write_text("a certificate of the site\n")
    (certs / "registry.site").symlink_to("quay.io")
    (certs / "k8s.site").mkdir()
    (certs / "k8s.site/hosts.toml").symlink_to("../_default/hosts.toml")
    before = below(certs)

    assert "changed=1 " in run_role(certs, ["_default"], check=True)
    assert below(certs) == before

    # The second time there is nothing left to do, and what is listed was not touched at all.
    assert "changed=1 " in run_role(certs, ["_default"], ["_default"])
    # An empty quay.io would keep containerd from looking at _default.
    assert below(certs) == [
        "_default",
        "_default/hosts.toml",
        "docker.io",
        "docker.io/hosts.toml",
        "ghcr.io",
        "ghcr.io/ca.crt",
        "k8s.site",
        "k8s.site/hosts.toml",
        "registry.site",
    ]
