"""kube-apiserver, kube-controller-manager, kube-scheduler: their tasks' keys and flags."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography.hazmat.primitives import serialization

from kubedcos.kubernetes import api_policy
from kubedcos.kubernetes.payload import File, Payload, private
from kubedcos.kubernetes.pki import Profile
from kubedcos.kubernetes.recipe import (
    API_PORT,
    CIPHER_SUITES,
    CLUSTER_CA,
    ETCD_PORT,
    Recipe,
    Signing,
    Situation,
    api_host,
    api_url,
    etcd_host,
    flags,
    kubeconfig_file,
    yaml_file,
)
from kubedcos.kubernetes.vault import Ca

CONTROLLER_MANAGER_PORT = 10257
SCHEDULER_PORT = 10259
KUBELET_CLIENT = "kube-apiserver-kubelet-client"
FRONT_PROXY_CLIENT = "front-proxy-client"
_ADMISSION = (
    "NodeRestriction",
    "EventRateLimit",
    "DenyServiceExternalIPs",
)


def audit_folder(cluster: str) -> str:
    """Where the host that runs kube-apiserver keeps audit logs; they outlive the task."""
    return f"/var/log/kubedcos/{cluster}"


def client(common_name: str, *groups: str, ca: Ca = Ca.CLUSTER) -> Signing:
    """A certificate to log in with."""
    return Signing(ca, Profile(common_name, organizations=groups, client=True))


def _loopback_server(at: Situation) -> Signing:
    """For a component that serves its health and metrics to its own host only."""
    return Signing(
        Ca.CLUSTER,
        Profile(
            f"system:{at.task.kind}:serving",
            dns_names=("localhost",),
            addresses=("127.0.0.1",),
            server=True,
        ),
    )


# --- kube-apiserver ------------------------------------------------------------------------------


def _api_server(at: Situation) -> Signing:
    domain = at.options.network.cluster_domain
    names = (
        api_host(at.options),
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        f"kubernetes.default.svc.{domain}",
        "localhost",
        *(host for host in at.fronts if not _is_address(host)),
    )
    # Some programs do not read tls-server-name in kubeconfigs: a front's own name will do, too.
    addresses = (
        at.place.address,
        at.options.api_service_address,
        "127.0.0.1",
        *(host for host in at.fronts if _is_address(host)),
    )
    profile = Profile("kube-apiserver", dns_names=names, addresses=addresses, server=True)
    return Signing(Ca.CLUSTER, profile)


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _public_pem(private_pem: bytes) -> str:
    key = serialization.load_pem_private_key(private_pem, password=None).public_key()
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


_AMONG_SEVERAL = {
    # It says that it is not ready, and serves on until the balancers have heard of it.
    "shutdown-delay-duration": "8s",
    # Now and then clients are asked to connect anew, or one that came back would have none.
    "goaway-chance": "0.001",
}
"""Flags of an API server that has others beside it."""


def _etcd_hosts(at: Situation) -> tuple[str, ...]:
    """Where etcd is: a single member never moves, several are known by names that stay."""
    count = at.options.etcd.count
    if count == 1:
        return at.etcd
    return tuple(etcd_host(at.options, f"etcd-{index}") for index in range(count))


def _api_payload(at: Situation) -> Payload:
    options = at.options
    signing_key = at.vault.service_account_key()
    issuer = f"https://kubernetes.default.svc.{options.network.cluster_domain}"
    plugins = _ADMISSION + (("AlwaysPullImages",) if options.apiserver.always_pull_images else ())
    audit = audit_folder(options.name)
    members = _etcd_hosts(at)
    arguments = flags(
        {
            "advertise-address": at.place.address,
            "bind-address": "0.0.0.0",  # noqa: S104  agents, pods and people come from everywhere
            "secure-port": API_PORT,
            "etcd-servers": tuple(f"https://{host}:{ETCD_PORT}" for host in members),
            "etcd-cafile": private("etcd-ca.crt"),
            "etcd-certfile": private("etcd-client.crt"),
            "etcd-keyfile": private("etcd-client.key"),
            "tls-cert-file": private("server.crt"),
            "tls-private-key-file": private("server.key"),
            "tls-min-version": "VersionTLS12",
            "tls-cipher-suites": CIPHER_SUITES,
            "client-ca-file": CLUSTER_CA,
            "kubelet-certificate-authority": CLUSTER_CA,
            "kubelet-client-certificate": private("kubelet-client.crt"),
            "kubelet-client-key": private("kubelet-client.key"),
            "kubelet-preferred-address-types": ("InternalIP", "Hostname"),
            "proxy-client-cert-file": private("front-proxy.crt"),
            "proxy-client-key-file": private("front-proxy.key"),
            "requestheader-client-ca-file": private("front-proxy-ca.crt"),
            "requestheader-allowed-names": FRONT_PROXY_CLIENT,
            "requestheader-username-headers": "X-Remote-User",
            "requestheader-group-headers": "X-Remote-Group",
            "requestheader-extra-headers-prefix": "X-Remote-Extra-",
            # The agent may have no kube-proxy: reach extension servers at their pods' addresses.
            "enable-aggregator-routing": True,
            "service-account-issuer": issuer,
            "service-account-key-file": private("service-account.pub"),
            "service-account-signing-key-file": private("service-account.key"),
            "service-account-lookup": True,
            "service-account-extend-token-expiration": False,
            "service-cluster-ip-range": options.network.service_cidr,
            "authorization-mode": ("Node", "RBAC"),
            "authentication-config": private("authentication.yaml"),
            "enable-admission-plugins": plugins,
            "admission-control-config-file": private("admission.yaml"),
            "encryption-provider-config": private("encryption.yaml"),
            "audit-policy-file": private("audit.yaml"),
            "audit-log-path": f"{audit}/audit.log",
            "audit-log-maxage": 30,
            "audit-log-maxbackup": 10,
            "audit-log-maxsize": 100,
            # Who may start privileged pods is for Pod Security and RBAC to say, in each namespace.
            "allow-privileged": True,
            "request-timeout": "300s",
            "profiling": False,
            **(_AMONG_SEVERAL if options.apiserver.count > 1 else {}),
        }
    )
    return Payload(
        argv=(at.binary("kube-apiserver"), *arguments),
        files=(
            at.ca_file(Ca.CLUSTER),
            at.ca_file(Ca.ETCD),
            at.ca_file(Ca.FRONT_PROXY),
            File("service-account.key", signing_key.decode()),
            File("service-account.pub", _public_pem(signing_key)),
            yaml_file("authentication.yaml", api_policy.authentication()),
            yaml_file("admission.yaml", api_policy.admission()),
            yaml_file("encryption.yaml", api_policy.encryption(at.vault.encryption_key())),
            yaml_file("audit.yaml", api_policy.audit()),
        ),
        environment=at.go_environment(),
        wait_for_one=tuple((host, ETCD_PORT) for host in members),
        directories=(audit,),
    )


API_SERVER = Recipe(
    "kube-apiserver",
    ("kube-apiserver",),
    _api_payload,
    {
        "server": _api_server,
        "etcd-client": lambda _: client("kube-apiserver-etcd-client", ca=Ca.ETCD),
        "kubelet-client": lambda _: client(KUBELET_CLIENT),
        "front-proxy": lambda _: client(FRONT_PROXY_CLIENT, ca=Ca.FRONT_PROXY),
    },
)


# --- kube-controller-manager ---------------------------------------------------------------------


def _delegation() -> dict[str, object]:
    """Flags that both remaining components have: log in, and ask who their own visitors are."""
    config = private("kubeconfig")
    return {
        "kubeconfig": config,
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "client-ca-file": CLUSTER_CA,
        "requestheader-client-ca-file": private("front-proxy-ca.crt"),
        "requestheader-allowed-names": FRONT_PROXY_CLIENT,
        "tls-cert-file": private("server.crt"),
        "tls-private-key-file": private("server.key"),
        "tls-min-version": "VersionTLS12",
        "tls-cipher-suites": CIPHER_SUITES,
        "bind-address": "127.0.0.1",
        "profiling": False,
        "leader-elect": True,
    }


def _delegation_files(at: Situation) -> tuple[File, ...]:
    return (
        at.ca_file(Ca.CLUSTER),
        at.ca_file(Ca.FRONT_PROXY),
        kubeconfig_file("kubeconfig", api_url(at.options), "client"),
    )


def _controller_manager_payload(at: Situation) -> Payload:
    authority = at.vault.authority(Ca.CLUSTER)
    arguments = flags(
        {
            **_delegation(),
            "secure-port": CONTROLLER_MANAGER_PORT,
            "cluster-name": at.options.name,
            "cluster-signing-cert-file": CLUSTER_CA,
            "cluster-signing-key-file": private("cluster-ca.key"),
            "cluster-signing-duration": "8760h",
            "root-ca-file": CLUSTER_CA,
            "service-account-private-key-file": private("service-account.key"),
            "use-service-account-credentials": True,
            "service-cluster-ip-range": at.options.network.service_cidr,
            # Hosts own slices of the overlay by their index; Kubernetes hands out none.
            "allocate-node-cidrs": False,
            "terminated-pod-gc-threshold": 1000,
        }
    )
    return Payload(
        argv=(at.binary("kube-controller-manager"), *arguments),
        files=(
            *_delegation_files(at),
            File("cluster-ca.key", authority.pair.key_pem.decode()),
            File("service-account.key", at.vault.service_account_key().decode()),
        ),
        environment=at.go_environment(),
        wait_for=((api_host(at.options), API_PORT),),
    )


CONTROLLER_MANAGER = Recipe(
    "kube-controller-manager",
    ("kube-controller-manager",),
    _controller_manager_payload,
    {
        "client": lambda _: client("system:kube-controller-manager"),
        "server": _loopback_server,
    },
)


# --- kube-scheduler ------------------------------------------------------------------------------


def _scheduler_payload(at: Situation) -> Payload:
    arguments = flags({**_delegation(), "secure-port": SCHEDULER_PORT})
    return Payload(
        argv=(at.binary("kube-scheduler"), *arguments),
        files=_delegation_files(at),
        environment=at.go_environment(),
        wait_for=((api_host(at.options), API_PORT),),
    )


SCHEDULER = Recipe(
    "kube-scheduler",
    ("kube-scheduler",),
    _scheduler_payload,
    {"client": lambda _: client("system:kube-scheduler"), "server": _loopback_server},
)
