"""etcd: its tasks' keys and flags."""

from __future__ import annotations

from kubedcos.kubernetes.payload import Payload, private
from kubedcos.kubernetes.pki import Profile
from kubedcos.kubernetes.recipe import (
    CIPHER_SUITES,
    ETCD_PORT,
    Recipe,
    Signing,
    Situation,
    flags,
)
from kubedcos.kubernetes.vault import Ca

PEER_PORT = 2380
METRICS_PORT = 2381
VOLUME = "data"
_MEBIBYTE = 1 << 20
_LARGEST_QUOTA = 8192 * _MEBIBYTE  # what etcd's authors recommend as the most


def _profile(at: Situation) -> Profile:
    """Members are servers and, towards each other, clients."""
    name = f"{at.pod_instance}.{at.options.name}.{at.options.mesos.domain}"
    return Profile(
        common_name=at.pod_instance,
        dns_names=(name, "localhost"),
        addresses=(at.place.address, "127.0.0.1"),
        server=True,
        client=True,
    )


def _signing(at: Situation) -> Signing:
    return Signing(Ca.ETCD, _profile(at))


def _payload(at: Situation) -> Payload:
    address = at.place.address
    client, peer = f"https://{address}:{ETCD_PORT}", f"https://{address}:{PEER_PORT}"
    data = f"{at.volume(VOLUME)}/etcd"
    quota = min(at.options.etcd.disk_mb // 2 * _MEBIBYTE, _LARGEST_QUOTA)
    ca = private("etcd-ca.crt")
    arguments = flags(
        {
            "name": at.pod_instance,
            "data-dir": data,
            "listen-client-urls": (client, f"https://127.0.0.1:{ETCD_PORT}"),
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"{at.pod_instance}={peer}",
            "initial-cluster-token": at.options.name,
            "initial-cluster-state": "new",
            "cert-file": private("server.crt"),
            "key-file": private("server.key"),
            "client-cert-auth": True,
            "trusted-ca-file": ca,
            "auto-tls": False,
            "peer-cert-file": private("peer.crt"),
            "peer-key-file": private("peer.key"),
            "peer-client-cert-auth": True,
            "peer-trusted-ca-file": ca,
            "peer-auto-tls": False,
            "tls-min-version": "TLS1.2",
            "cipher-suites": CIPHER_SUITES,
            "listen-metrics-urls": f"http://127.0.0.1:{METRICS_PORT}",
            "quota-backend-bytes": quota,
        }
    )
    return Payload(
        argv=(at.binary("etcd"), *arguments),
        files=(at.ca_file(Ca.ETCD),),
        environment=at.go_environment(),
        directories=(data,),
    )


RECIPE = Recipe("etcd", ("etcd",), _payload, {"server": _signing, "peer": _signing})
