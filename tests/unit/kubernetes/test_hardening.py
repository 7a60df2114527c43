"""Each scored check of CIS 1.12 that looks at flags or configuration, against what we render."""

from __future__ import annotations

import pytest
import yaml

from kubedcos.config import cluster
from kubedcos.kubernetes import node, node_network
from kubedcos.kubernetes.components import RECIPES
from kubedcos.kubernetes.payload import Payload
from kubedcos.kubernetes.recipe import CIPHER_SUITES
from kubedcos.kubernetes.vault import MemorySecretStore, Vault

from .parts import FakeClock, situation


@pytest.fixture(scope="module")
def vault() -> Vault:
    """For all of these: making its keys takes longer than a check, and none changes them."""
    return Vault(MemorySecretStore(), "kubernetes", FakeClock())


@pytest.fixture
def render(options, vault):
    def payload(kind: str) -> Payload:
        return RECIPES[kind].payload(situation(kind, options, vault))

    return payload


def flags_of(payload: Payload) -> dict[str, str]:
    pairs = (argument.removeprefix("--").split("=", 1) for argument in payload.argv[1:])
    return dict(pairs)


def file_of(payload: Payload, path: str) -> str:
    return next(file.text for file in payload.files if file.path == path)


EXPECTED = {
    "kube-apiserver": {
        "1.2.2": ("token-auth-file", None),
        "1.2.4": ("kubelet-client-certificate", "set"),
        "1.2.4b": ("kubelet-client-key", "set"),
        "1.2.5": ("kubelet-certificate-authority", "set"),
        "1.2.6-8": ("authorization-mode", "Node,RBAC"),
        "1.2.12-13": ("disable-admission-plugins", None),
        "1.2.15": ("profiling", "false"),
        "1.2.16": ("audit-log-path", "set"),
        "1.2.17": ("audit-log-maxage", "30"),
        "1.2.18": ("audit-log-maxbackup", "10"),
        "1.2.19": ("audit-log-maxsize", "100"),
        "1.2.20": ("request-timeout", "300s"),
        "1.2.21": ("service-account-lookup", "true"),
        "1.2.22": ("service-account-key-file", "set"),
        "1.2.23": ("etcd-certfile", "set"),
        "1.2.23b": ("etcd-keyfile", "set"),
        "1.2.24": ("tls-cert-file", "set"),
        "1.2.24b": ("tls-private-key-file", "set"),
        "1.2.25": ("client-ca-file", "set"),
        "1.2.26": ("etcd-cafile", "set"),
        "1.2.27": ("encryption-provider-config", "set"),
        "1.2.29": ("tls-cipher-suites", ",".join(CIPHER_SUITES)),
        "1.2.30": ("service-account-extend-token-expiration", "false"),
        "3.2.1": ("audit-policy-file", "set"),
        "tls": ("tls-min-version", "VersionTLS12"),
    },
    "kube-controller-manager": {
        "1.3.1": ("terminated-pod-gc-threshold", "set"),
        "1.3.2": ("profiling", "false"),
        "1.3.3": ("use-service-account-credentials", "true"),
        "1.3.4": ("service-account-private-key-file", "set"),
        "1.3.5": ("root-ca-file", "set"),
        "1.3.6": ("feature-gates", None),
        "1.3.7": ("bind-address", "127.0.0.1"),
    },
    "kube-scheduler": {
        "1.4.1": ("profiling", "false"),
        "1.4.2": ("bind-address", "127.0.0.1"),
    },
    "etcd": {
        "2.1": ("cert-file", "set"),
        "2.1b": ("key-file", "set"),
        "2.2": ("client-cert-auth", "true"),
        "2.3": ("auto-tls", "false"),
        "2.4": ("peer-cert-file", "set"),
        "2.4b": ("peer-key-file", "set"),
        "2.5": ("peer-client-cert-auth", "true"),
        "2.6": ("peer-auto-tls", "false"),
    },
}


@pytest.mark.parametrize(
    ("kind", "check"), [(kind, check) for kind, checks in EXPECTED.items() for check in checks]
)
def test_flags(render, kind: str, check: str) -> None:
    name, wanted = EXPECTED[kind][check]
    seen = flags_of(render(kind)).get(name)
    if wanted == "set":
        assert seen
    else:
        assert seen == wanted


def test_1_2_3_to_14_admission_plugins(render) -> None:
    plugins = flags_of(render("kube-apiserver"))["enable-admission-plugins"].split(",")
    assert {"NodeRestriction", "EventRateLimit", "DenyServiceExternalIPs"} <= set(plugins)
    assert "AlwaysAdmit" not in plugins


def test_1_2_11_images_are_always_pulled_only_when_asked_for(vault) -> None:
    options = cluster.load("apiserver: {always_pull_images: true}", "t")
    payload = RECIPES["kube-apiserver"].payload(situation("kube-apiserver", options, vault))
    assert "AlwaysPullImages" in flags_of(payload)["enable-admission-plugins"]


def test_1_2_1_nobody_is_anonymous_beyond_health(render) -> None:
    payload = render("kube-apiserver")
    assert "anonymous-auth" not in flags_of(payload)
    anonymous = yaml.safe_load(file_of(payload, "authentication.yaml"))["anonymous"]
    paths = {condition["path"] for condition in anonymous["conditions"]}
    assert anonymous["enabled"] is True
    assert paths == {"/livez", "/readyz", "/healthz"}


def test_1_2_28_secrets_are_sealed_with_secretbox_first(render, vault) -> None:
    config = yaml.safe_load(file_of(render("kube-apiserver"), "encryption.yaml"))
    (rule,) = config["resources"]
    assert rule["resources"] == ["secrets"]
    assert list(rule["providers"][0]) == ["secretbox"]
    assert rule["providers"][0]["secretbox"]["keys"][0]["secret"] == vault.encryption_key()


def test_2_7_etcd_has_an_authority_of_its_own(render) -> None:
    payload = render("kube-apiserver")
    assert file_of(payload, "etcd-ca.crt") != file_of(payload, "cluster-ca.crt")
    assert flags_of(render("etcd"))["trusted-ca-file"].endswith("/etcd-ca.crt")


def test_3_2_2_audit_never_logs_the_content_of_secrets(render) -> None:
    rules = yaml.safe_load(file_of(render("kube-apiserver"), "audit.yaml"))["rules"]

    def level(resource: str, verb: str) -> str:
        for rule in rules:
            if "nonResourceURLs" in rule or "users" in rule or "userGroups" in rule:
                continue
            if verb not in rule.get("verbs", [verb]):
                continue
            groups = rule.get("resources")
            if groups is None or any(
                group["group"] == "" and resource in group.get("resources", [resource])
                for group in groups
            ):
                return str(rule["level"])
        return "None"

    for secret in ("secrets", "configmaps", "serviceaccounts/token"):
        assert level(secret, "create") == level(secret, "get") == "Metadata"
    for access in ("pods/exec", "pods/portforward", "pods/proxy", "services/proxy"):
        assert level(access, "create") == "Metadata"
    assert level("pods", "create") == "Request"
    assert level("nodes", "get") == "Metadata"


def test_4_2_kubelet(options, vault) -> None:
    config = node.kubelet_config(situation("kubelet", options, vault))
    assert config["authentication"]["anonymous"]["enabled"] is False
    assert config["authentication"]["x509"]["clientCAFile"]
    assert config["authorization"]["mode"] == "Webhook"
    assert config["readOnlyPort"] == 0
    assert config["streamingConnectionIdleTimeout"] not in {"0", "0s"}
    assert config["makeIPTablesUtilChains"] is True
    assert config["eventRecordQPS"] >= 0
    assert config["rotateCertificates"] is True
    assert config["serverTLSBootstrap"] is True
    assert set(config["tlsCipherSuites"]) <= set(CIPHER_SUITES)
    assert config["tlsMinVersion"] == "VersionTLS12"
    assert config["podPidsLimit"] > 0
    assert config["seccompDefault"] is True
    assert config["protectKernelDefaults"] is True


def test_4_2_7_nodes_are_called_as_their_hosts(render) -> None:
    assert "hostname-override" not in file_of(render("kubelet"), "node.json")


def test_4_3_1_kube_proxy_shows_metrics_to_its_host_only(options, vault) -> None:
    config = node_network.proxy_config(situation("kube-proxy", options, vault))
    assert config["metricsBindAddress"].startswith("127.0.0.1:")


@pytest.mark.parametrize("kind", list(RECIPES))
def test_1_1_and_4_1_files_are_for_root_alone(render, kind: str) -> None:
    for file in render(kind).files:
        assert file.mode <= 0o600
        assert not file.path.startswith("/")


@pytest.mark.parametrize("kind", list(RECIPES))
def test_no_secret_is_on_a_command_line_or_in_an_environment(render, vault, kind: str) -> None:
    payload = render(kind)
    shown = " ".join([*payload.argv, *payload.environment.values(), repr(payload)])
    assert "PRIVATE KEY" not in shown
    assert vault.encryption_key() not in shown


def test_what_travels_goes_only_where_it_is_needed(render, vault) -> None:
    signing = vault.service_account_key().decode()
    for kind in RECIPES:
        texts = [file.text for file in render(kind).files]
        assert (signing in texts) == (kind in {"kube-apiserver", "kube-controller-manager"})
        has_authority = any("BEGIN PRIVATE KEY" in t and t != signing for t in texts)
        assert has_authority == (kind == "kube-controller-manager")
        assert any(vault.encryption_key() in t for t in texts) == (kind == "kube-apiserver")
