"""Which kubelets' certificate requests are approved: only those of nodes that we started. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from kubedcos.kubernetes.node import BOOTSTRAP_GROUP, bootstrap_user

APPROVER_USER = "kubedcos:framework-scheduler"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
_NODES = "system:nodes"
_CLIENT_USAGES = frozenset({"digital signature", "client auth"})
_SERVER_USAGES = frozenset({"digital signature", "server auth"})
_RSA_USAGE = frozenset({"key encipherment"})


@dataclass(frozen=True, slots=True)
class NodeClaim:
    """A node that one of our tasks is.

    Attributes:
        task_id: the kubelet's task.
        node: the node's name.
        address: the agent's address.
    """

    task_id: str
    node: str
    address: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether to approve, and why."""

    approve: bool
    reason: str


def is_open(request: Mapping[str, Any]) -> bool:
    """Whether a CertificateSigningRequest is ours to decide and not decided yet."""
    signer = request["spec"].get("signerName")
    decided = request.get("status", {}).get("conditions") or []
    return signer in {CLIENT_SIGNER, SERVING_SIGNER} and not decided


def decide(request: Mapping[str, Any], claims: Iterable[NodeClaim]) -> Verdict:
    """Look at an open request (a CertificateSigningRequest as JSON) of a kubelet."""
    spec = request["spec"]
    claim = _claim_of(spec, claims)
    if claim is None:
        return _no(f"{spec.get('username')} is no node that this cluster's framework started")
    try:
        csr = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
    except (ValueError, binascii.Error):
        return _no("not a certificate signing request")
    if not csr.is_signature_valid:
        return _no("not signed by its own key")
    if _names(csr, NameOID.COMMON_NAME) != {f"system:node:{claim.node}"}:
        return _no(f"common name is not system:node:{claim.node}")
    if _names(csr, NameOID.ORGANIZATION_NAME) != {_NODES}:
        return _no(f"organisation is not {_NODES}")
    usages = frozenset(spec.get("usages", ())) - _RSA_USAGE
    if spec["signerName"] == CLIENT_SIGNER:
        return _client(csr, usages, claim)
    return _serving(csr, usages, claim, spec)


def _claim_of(spec: Mapping[str, Any], claims: Iterable[NodeClaim]) -> NodeClaim | None:
    username, groups = spec.get("username", ""), set(spec.get("groups", ()))
    for claim in claims:
        if username == bootstrap_user(claim.task_id) and BOOTSTRAP_GROUP in groups:
            return claim
        if username == f"system:node:{claim.node}" and _NODES in groups:
            return claim
    return None


def _client(
    csr: x509.CertificateSigningRequest, usages: frozenset[str], claim: NodeClaim
) -> Verdict:
    if usages != _CLIENT_USAGES:
        return _no(f"usages {sorted(usages)} are not those of a client")
    if any(_alternative_names(csr)):
        return _no("a client needs no alternative names")
    return Verdict(approve=True, reason=f"kubelet of task {claim.task_id}")


def _serving(
    csr: x509.CertificateSigningRequest,
    usages: frozenset[str],
    claim: NodeClaim,
    spec: Mapping[str, Any],
) -> Verdict:
    if spec.get("username") != f"system:node:{claim.node}":
        return _no("only a node itself may ask for its serving certificate")
    if usages != _SERVER_USAGES:
        return _no(f"usages {sorted(usages)} are not those of a server")
    names, addresses, others = _alternative_names(csr)
    if others or not names | addresses:
        return _no("alternative names must be host names or addresses, at least one")
    if names - {claim.node} or addresses - {claim.address}:
        return _no(f"alternative names other than {claim.node} and {claim.address}")
    return Verdict(approve=True, reason=f"kubelet of task {claim.task_id}")


def _no(reason: str) -> Verdict:
    return Verdict(approve=False, reason=reason)


def _names(csr: x509.CertificateSigningRequest, oid: x509.ObjectIdentifier) -> set[str]:
    return {str(attribute.value) for attribute in csr.subject.get_attributes_for_oid(oid)}


def _alternative_names(csr: x509.CertificateSigningRequest) -> tuple[set[str], set[str], set[str]]:
    """Host names, addresses, and everything else, as text."""
    try:
        value = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return set(), set(), set()
    names = {str(name) for name in value.get_values_for_type(x509.DNSName)}
    addresses = {str(address) for address in value.get_values_for_type(x509.IPAddress)}
    others = {str(n) for n in value if not isinstance(n, x509.DNSName | x509.IPAddress)}
    return names, addresses, others
