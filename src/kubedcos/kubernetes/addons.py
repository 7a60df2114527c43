"""What is put into a cluster once: roles before there are nodes, services after.

Manifests are Jinja templates in ``manifests/``; a short task applies each from within Mesos, so
that the framework scheduler itself needs no right to change clusters.
"""

from __future__ import annotations

from importlib import resources

import jinja2

from kubedcos.config.cluster import ClusterOptions
from kubedcos.kubernetes.approval import APPROVER_USER
from kubedcos.kubernetes.control_plane import KUBELET_CLIENT
from kubedcos.kubernetes.node import BOOTSTRAP_GROUP
from kubedcos.kubernetes.payload import File, Payload, private
from kubedcos.kubernetes.pki import HOUR, Profile
from kubedcos.kubernetes.recipe import (
    API_PORT,
    Recipe,
    Signing,
    Situation,
    api_host,
    api_url,
    kubeconfig_file,
)
from kubedcos.kubernetes.vault import Ca

ADMINISTRATORS = "kubedcos:administrators"
"""Group that the role ``cluster-admin`` is bound to; unlike system:masters it can be revoked."""
NAMESPACE = "kubedcos-system"
"""Where the framework scheduler runs its probe pods."""
MANDATORY = ("cluster-roles", "tls-bootstrapping")
KIND_PREFIX = "addon-"

_ENVIRONMENT = jinja2.Environment(
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  YAML, from our own validated options
)


def wanted(options: ClusterOptions) -> tuple[str, ...]:
    """Add-ons that come after the nodes, in order."""
    return ("dns", "metrics-server") if options.addons.metrics_server else ("dns",)


def manifest(name: str, options: ClusterOptions) -> str:
    """The manifest of an add-on (or ``demo``, the demonstration's web application)."""
    folder = resources.files("kubedcos.kubernetes").joinpath("manifests")
    template = folder.joinpath(f"{name}.yaml.j2").read_text(encoding="utf-8")
    return _ENVIRONMENT.from_string(template).render(
        options=options,
        administrators=ADMINISTRATORS,
        approver=APPROVER_USER,
        bootstrappers=BOOTSTRAP_GROUP,
        kubelet_client=KUBELET_CLIENT,
        namespace=NAMESPACE,
    )


def _first(at: Situation) -> Signing:
    """Before there are roles only ``system:masters`` may do anything: for ten minutes."""
    profile = Profile(
        f"kubedcos:{at.task.kind}",
        organizations=("system:masters",),
        client=True,
        lifetime=HOUR / 6,
    )
    return Signing(Ca.CLUSTER, profile)


def _later(at: Situation) -> Signing:
    profile = Profile(
        f"kubedcos:{at.task.kind}", organizations=(ADMINISTRATORS,), client=True, lifetime=HOUR
    )
    return Signing(Ca.CLUSTER, profile)


def _payload(name: str, at: Situation) -> Payload:
    return Payload(
        argv=(
            at.binary("kubectl"),
            f"--kubeconfig={private('kubeconfig')}",
            f"--cache-dir={private('cache')}",
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=kubedcos",
            f"--filename={private('manifest.yaml')}",
        ),
        files=(
            at.ca_file(Ca.CLUSTER),
            kubeconfig_file("kubeconfig", api_url(at.options), "client"),
            File("manifest.yaml", manifest(name, at.options)),
        ),
        environment={"HOME": private(""), **at.go_environment()},
        wait_for=((api_host(at.options), API_PORT),),
    )


def _recipe(name: str) -> Recipe:
    return Recipe(
        f"{KIND_PREFIX}{name}",
        ("kubectl",),
        lambda at: _payload(name, at),
        {"client": _first if name == MANDATORY[0] else _later},
    )


RECIPES = tuple(_recipe(name) for name in (*MANDATORY, "dns", "metrics-server"))
