"""Kubeconfigs for people: one client certificate each, in a group that can be locked out."""

from __future__ import annotations

import base64

import yaml

from kubedcos.kubernetes.addons import ADMINISTRATORS
from kubedcos.kubernetes.pki import DAY, Profile
from kubedcos.kubernetes.vault import Ca, Vault

LIFETIME = 30 * DAY


def admin_kubeconfig(
    vault: Vault,
    cluster: str,
    server: str,
    now: float,
    user: str = "admin",
    *,
    tls_server_name: str = "",
) -> str:
    """A kubeconfig (YAML) for an administrator, good for thirty days.

    Args:
        vault: the cluster's secrets.
        cluster: its name; also the context's.
        server: URL under which the API is reached.
        now: seconds since 1970.
        user: part of the user name that audit logs show.
        tls_server_name: name that the API's certificate has, by which a front knows the cluster;
            empty: that in the URL.
    """
    authority = vault.authority(Ca.CLUSTER)
    profile = Profile(
        f"kubedcos:{user}", organizations=(ADMINISTRATORS,), client=True, lifetime=LIFETIME
    )
    pair = authority.issue_pair(profile, now)
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": cluster,
                "cluster": {
                    "server": server,
                    "certificate-authority-data": _text(authority.certificate_pem),
                    **({"tls-server-name": tls_server_name} if tls_server_name else {}),
                },
            }
        ],
        "users": [
            {
                "name": f"{cluster}-{user}",
                "user": {
                    "client-certificate-data": _text(pair.certificate_pem),
                    "client-key-data": _text(pair.key_pem),
                },
            }
        ],
        "contexts": [
            {"name": cluster, "context": {"cluster": cluster, "user": f"{cluster}-{user}"}}
        ],
        "current-context": cluster,
    }
    return yaml.safe_dump(config, sort_keys=False)


def _text(pem: bytes) -> str:
    return base64.b64encode(pem).decode()
