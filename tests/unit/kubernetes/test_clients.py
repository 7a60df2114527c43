"""What the framework scheduler itself asks of Mesos agents, etcd and Kubernetes."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import httpx2
import pytest
from cryptography import x509

from kubedcos.kubernetes.delivery import SandboxUnreadable
from kubedcos.kubernetes.kube_api import ApiError, KubeApi, tls_context
from kubedcos.kubernetes.logins import Logins
from kubedcos.kubernetes.pki import DAY, Authority, Profile
from kubedcos.kubernetes.sandbox import AgentSandboxReader
from kubedcos.kubernetes.vault import Ca, MemorySecretStore, Vault

from .parts import NOW, FakeClock

Answer = httpx2.Response | Exception


def client(answer: Answer, calls: list[httpx2.Request] | None = None) -> httpx2.AsyncClient:
    def handle(call: httpx2.Request) -> httpx2.Response:
        if calls is not None:
            calls.append(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx2.AsyncClient(transport=httpx2.MockTransport(handle))


def read(answer: Answer, framework_id: str = "F", calls: list[httpx2.Request] | None = None) -> str:
    reader = AgentSandboxReader(client(answer, calls), lambda: framework_id, 5051)
    return asyncio.run(reader.read("10.0.0.1", "etcd-0-peer__1", "kubedcos-proof"))


def test_a_sandbox_is_read_as_that_of_our_framework() -> None:
    calls: list[httpx2.Request] = []
    assert read(httpx2.Response(200, json={"data": "abc", "offset": 0}), calls=calls) == "abc"
    url = calls[0].url
    assert (url.scheme, url.host, url.port, url.path) == ("http", "10.0.0.1", 5051, "/files/read")
    path = "/frameworks/F/executors/etcd-0-peer__1/runs/latest/kubedcos-proof"
    assert url.params["path"] == path


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (httpx2.Response(404), "agent 10.0.0.1: 404"),
        (httpx2.Response(401, text="who are you?"), "401 who are you?"),
        (httpx2.Response(200, json={"offset": 0}), "an answer without data"),
        (httpx2.ConnectError("refused"), "refused"),
    ],
)
def test_what_cannot_be_read_is_told(answer: Answer, why: str) -> None:
    with pytest.raises(SandboxUnreadable, match=why.replace("?", r"\?")):
        read(answer)


def test_before_registration_nothing_is_read() -> None:
    calls: list[httpx2.Request] = []
    with pytest.raises(SandboxUnreadable, match="not registered"):
        read(httpx2.Response(200, json={"data": "x"}), framework_id="", calls=calls)
    assert calls == []


def test_api_errors_have_kubernetes_own_words() -> None:
    async def get(answer: Answer) -> None:
        await KubeApi("https://a", client(answer)).get("/x")

    with pytest.raises(ApiError, match="403 pods is forbidden") as caught:
        asyncio.run(get(httpx2.Response(403, json={"message": "pods is forbidden"})))
    assert caught.value.status == 403
    with pytest.raises(ApiError, match="500 broken"):
        asyncio.run(get(httpx2.Response(500, text="broken")))
    told: list[str] = []

    async def get_elsewhere(answer: Answer) -> None:
        await KubeApi("https://a", client(answer)).reporting(lambda: told.append("a")).get("/x")

    with pytest.raises(ApiError, match="404"):
        asyncio.run(get_elsewhere(httpx2.Response(404, text="")))
    assert told == []
    with pytest.raises(ApiError, match="refused"):
        asyncio.run(get_elsewhere(httpx2.ConnectError("refused")))
    assert told == ["a"]
    with pytest.raises(ApiError, match="https://a: refused") as caught:
        asyncio.run(get(httpx2.ConnectError("refused")))
    assert caught.value.status == 0


def test_deleting_what_is_gone_is_no_error() -> None:
    async def delete(status: int) -> None:
        await KubeApi("https://a", client(httpx2.Response(status, json={}))).delete("/x")

    asyncio.run(delete(404))
    with pytest.raises(ApiError):
        asyncio.run(delete(403))


def test_client_keys_never_touch_a_disk() -> None:
    authority = Authority.create("ca", NOW)
    before = len(list(Path("/proc/self/fd").iterdir()))
    context = tls_context(
        authority.certificate_pem, authority.issue_pair(Profile("u", client=True), NOW)
    )
    assert len(list(Path("/proc/self/fd").iterdir())) == before, "and no descriptor stays open"
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert len(context.get_ca_certs()) == 1


def test_logins_are_renewed_at_half_time() -> None:
    clock, made = FakeClock(), []

    def connect(context: ssl.SSLContext) -> httpx2.AsyncClient:
        made.append(context)
        return client(httpx2.Response(200, json={}))

    vault = Vault(MemorySecretStore(), "k", clock)
    logins = Logins(vault, clock, connect)
    first = logins.etcd()
    clock.now += DAY / 2 - 1
    assert logins.etcd() is first
    clock.now += 2
    assert logins.etcd() is not first
    logins.api("10.0.0.1")
    logins.api("10.0.0.1", "system:kube-scheduler")
    assert len(made) == 4
    trusted = made[-1].get_ca_certs(binary_form=True)[0]
    authority = x509.load_pem_x509_certificate(vault.authority(Ca.CLUSTER).certificate_pem)
    assert x509.load_der_x509_certificate(trusted) == authority
    asyncio.run(logins.close())
    assert first.is_closed
