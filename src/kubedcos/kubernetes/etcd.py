"""etcd: its tasks' keys and flags."""

from __future__ import annotations

from kubedcos.kubernetes.etcd_membership import FOUNDERS_FOLDER, Seat, peer_url
from kubedcos.kubernetes.payload import Payload, private
from kubedcos.kubernetes.pki import Profile
from kubedcos.kubernetes.recipe import (
    CIPHER_SUITES,
    ETCD_PORT,
    Recipe,
    Signing,
    Situation,
    etcd_host,
    flags,
)
from kubedcos.kubernetes.vault import Ca

METRICS_PORT = 2381
VOLUME = "data"
_MEBIBYTE = 1 << 20
_LARGEST_QUOTA = 8192 * _MEBIBYTE  # what etcd's authors recommend as the most


def _profile(at: Situation) -> Profile:
    """Members are servers and, towards each other, clients."""
    name = etcd_host(at.options, at.pod_instance)
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
    client, peer = f"https://{address}:{ETCD_PORT}", peer_url(address)
    seat = at.seat or Seat(
        FOUNDERS_FOLDER, founds=True, members=((at.pod_instance, peer_url(address)),)
    )
    volume = at.volume(VOLUME)
    data = f"{volume}/{seat.folder}"
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
            "initial-cluster": tuple(f"{name}={url}" for name, url in seat.members),
            "initial-cluster-token": at.options.name,
            "initial-cluster-state": "new" if seat.founds else "existing",
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
        remove=tuple(f"{volume}/{folder}" for folder in seat.stale),
    )


RECIPE = Recipe("etcd", ("etcd",), _payload, {"server": _signing, "peer": _signing})
