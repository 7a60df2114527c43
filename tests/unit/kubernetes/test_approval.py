"""Only kubelets that we started get certificates, and only their own."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Collection
from ipaddress import ip_address
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from kubedcos.kubernetes.approval import (
    CLIENT_SIGNER,
    SERVING_SIGNER,
    NodeClaim,
    decide,
    is_open,
)
from kubedcos.kubernetes.approver import INTERVAL, REQUESTS, Approver
from kubedcos.kubernetes.kube_api import KubeApi
from kubedcos.kubernetes.node import BOOTSTRAP_GROUP, bootstrap_user
from kubedcos.kubernetes.pki import new_key

from .parts import FakeClock

CLAIM = NodeClaim("kube-node-0-kubelet__1", "a1", "10.89.1.11")


def request(
    *,
    common_name: str = "system:node:a1",
    group: str = "system:nodes",
    names: tuple[str, ...] = (),
    addresses: tuple[str, ...] = (),
    **spec: Any,
) -> dict[str, Any]:
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, group),
        x509.NameAttribute(NameOID.COMMON_NAME, common_name),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
    alternatives += [x509.IPAddress(ip_address(address)) for address in addresses]
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    pem = builder.sign(new_key(), hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {
        "metadata": {"name": "csr-1"},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": CLIENT_SIGNER,
            "username": bootstrap_user(CLAIM.task_id),
            "groups": [BOOTSTRAP_GROUP, "system:authenticated"],
            "usages": ["digital signature", "client auth"],
            **spec,
        },
    }


def serving(**changes: Any) -> dict[str, Any]:
    usual = {
        "names": ("a1",),
        "addresses": ("10.89.1.11",),
        "signerName": SERVING_SIGNER,
        "username": "system:node:a1",
        "groups": ["system:nodes"],
        "usages": ["digital signature", "server auth"],
    }
    return request(**{**usual, **changes})


@pytest.mark.parametrize(
    "good",
    [
        request(),
        request(usages=["key encipherment", "digital signature", "client auth"]),
        request(username="system:node:a1", groups=["system:nodes"]),
        serving(),
        serving(names=()),
    ],
)
def test_our_nodes_get_their_certificates(good: dict[str, Any]) -> None:
    assert decide(good, [CLAIM]).approve


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (request(username="system:admin"), "is no node"),
        (request(username=bootstrap_user("another")), "is no node"),
        (request(groups=["system:authenticated"]), "is no node"),
        # Another node, and one who is called as ours is and is none.
        (request(username="system:node:b1", groups=["system:nodes"]), "is no node"),
        (request(username="system:node:a1", groups=["system:authenticated"]), "is no node"),
        (serving(username="system:node:b1"), "is no node"),
        (request(common_name="system:node:b1"), "common name"),
        (request(common_name="system:kube-scheduler"), "common name"),
        (request(group="system:masters"), "organisation"),
        (request(usages=["digital signature", "server auth"]), "usages"),
        (request(names=("a1",)), "alternative names"),
        (request(request="bm90aGluZw=="), "not a certificate signing request"),
        (serving(username=bootstrap_user(CLAIM.task_id), groups=[BOOTSTRAP_GROUP]), "only a node"),
        (serving(addresses=("10.89.1.10",)), "other than a1 and 10.89.1.11"),
        (serving(names=("kubernetes.default",)), "other than a1"),
        (serving(names=(), addresses=()), "at least one"),
        (serving(usages=["digital signature", "server auth", "client auth"]), "usages"),
    ],
)
def test_everything_else_is_left_alone(bad: dict[str, Any], why: str) -> None:
    verdict = decide(bad, [CLAIM])
    assert not verdict.approve
    assert why in verdict.reason


def test_a_node_gets_nothing_in_the_name_of_another_one() -> None:
    other = NodeClaim("kube-node-1-kubelet__1", "b1", "10.89.2.21")
    for asked in (request, serving):
        verdict = decide(asked(username="system:node:b1", groups=["system:nodes"]), [CLAIM, other])
        assert not verdict.approve
        assert verdict.reason == "common name is not system:node:b1"


def test_a_node_that_ended_gets_nothing() -> None:
    assert not decide(request(), []).approve


@pytest.mark.parametrize(
    "other",
    [
        {"spec": {"signerName": "kubernetes.io/kube-apiserver-client"}},
        {
            "spec": {"signerName": CLIENT_SIGNER},
            "status": {"conditions": [{"type": "Denied"}]},
        },
    ],
)
def test_other_signers_and_decided_requests_are_not_ours(other: dict[str, Any]) -> None:
    assert not is_open(other)


class FakeApi:
    def __init__(self, *requests: dict[str, Any], changed: Collection[str] = ()) -> None:
        self.requests = list(requests)
        self.changed = changed
        self.approved: list[str] = []

    def answer(self, call: httpx2.Request) -> httpx2.Response:
        if call.method == "PUT" and call.url.path.split("/")[-2] in self.changed:
            return httpx2.Response(409, json={"message": "the object has been modified"})
        if call.method == "PUT":
            self.approved.append(call.url.path)
            return httpx2.Response(200, json={})
        return httpx2.Response(200, json={"items": self.requests})

    def connect(self) -> KubeApi:
        transport = httpx2.MockTransport(self.answer)
        return KubeApi("https://api", httpx2.AsyncClient(transport=transport))


def test_the_approver_approves_what_the_rules_allow() -> None:
    good, bad = request(), serving(addresses=("10.0.0.1",))
    bad["metadata"] = {"name": "csr-2"}
    api = FakeApi(good, bad)
    approver = Approver(lambda: [CLAIM], FakeClock())
    asyncio.run(approver.look(api.connect()))
    assert api.approved == [f"{REQUESTS}/csr-1/approval"]


def test_a_request_that_somebody_else_changed_meanwhile_keeps_no_other_waiting() -> None:
    changed, good = request(), request()
    changed["metadata"], good["metadata"] = {"name": "csr-1"}, {"name": "csr-2"}
    api = FakeApi(changed, good, changed=["csr-1"])
    asyncio.run(Approver(lambda: [CLAIM], FakeClock()).look(api.connect()))
    assert api.approved == [f"{REQUESTS}/csr-2/approval"]


def test_the_approver_goes_on_when_the_api_is_away() -> None:
    api = FakeApi(request())
    clock = FakeClock()
    begin = clock.now
    answers = iter([None, KubeApi("https://api", _broken()), api.connect()])

    async def until_approved() -> None:
        async with asyncio.timeout(60):
            await Approver(lambda: [CLAIM], clock).run(lambda: next(answers))

    with pytest.raises(RuntimeError):  # the answers are used up
        asyncio.run(until_approved())
    assert api.approved
    assert clock.now - begin == 3 * INTERVAL


def _broken() -> httpx2.AsyncClient:
    def refuse(call: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=call)

    return httpx2.AsyncClient(transport=httpx2.MockTransport(refuse))
