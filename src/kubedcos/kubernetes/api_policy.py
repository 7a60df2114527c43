"""What kube-apiserver is told by file: who may come in unnamed, what is logged, what is sealed."""

from __future__ import annotations

from typing import Any

ANONYMOUS_PATHS = ("/livez", "/readyz", "/healthz")


def authentication() -> dict[str, Any]:
    """Without a name one may ask for health and nothing else."""
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {
            "enabled": True,
            "conditions": [{"path": path} for path in ANONYMOUS_PATHS],
        },
    }


def encryption(key: str) -> dict[str, Any]:
    """Secrets are sealed with secretbox; what was stored before can still be read.

    Args:
        key: base64 of 32 bytes.
    """
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [
            {
                "resources": ["secrets"],
                "providers": [
                    {"secretbox": {"keys": [{"name": "key1", "secret": key}]}},
                    {"identity": {}},
                ],
            }
        ],
    }


def admission() -> dict[str, Any]:
    """Events are what a broken client floods a cluster with; everything else has fair queues."""
    limits = [
        {"type": "Server", "qps": 500, "burst": 2000},
        {"type": "Namespace", "qps": 100, "burst": 1000, "cacheSize": 1000},
    ]
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [
            {
                "name": "EventRateLimit",
                "configuration": {
                    "apiVersion": "eventratelimit.admission.k8s.io/v1alpha1",
                    "kind": "Configuration",
                    "limits": limits,
                },
            }
        ],
    }


def audit() -> dict[str, Any]:
    """Who did what: bodies of what changes workloads, never those of secrets.

    The first rule that fits decides.
    """
    quiet_readers = ["system:kube-proxy", "system:kube-scheduler", "system:kube-controller-manager"]
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "nonResourceURLs": ["/livez*", "/readyz*", "/healthz*", "/version"]},
            {
                "level": "None",
                "resources": [
                    {"group": "", "resources": ["events"]},
                    {"group": "events.k8s.io", "resources": ["events"]},
                    {"group": "coordination.k8s.io", "resources": ["leases"]},
                ],
            },
            {
                "level": "Metadata",
                "resources": [
                    {
                        "group": "",
                        "resources": ["secrets", "configmaps", "serviceaccounts/token"],
                    },
                    {"group": "authentication.k8s.io", "resources": ["tokenreviews"]},
                ],
            },
            {
                "level": "Metadata",
                "resources": [
                    {
                        "group": "",
                        "resources": [
                            "pods/exec",
                            "pods/attach",
                            "pods/portforward",
                            "pods/proxy",
                            "nodes/proxy",
                            "services/proxy",
                        ],
                    }
                ],
            },
            {
                "level": "None",
                "users": quiet_readers,
                "verbs": ["get", "list", "watch"],
            },
            {
                "level": "None",
                "userGroups": ["system:nodes"],
                "verbs": ["get", "list", "watch"],
            },
            {
                "level": "Request",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                "resources": [
                    {"group": "", "resources": ["pods", "services", "namespaces"]},
                    {"group": "apps", "resources": ["deployments", "daemonsets", "statefulsets"]},
                    {"group": "rbac.authorization.k8s.io"},
                ],
            },
            {"level": "Metadata"},
        ],
    }
