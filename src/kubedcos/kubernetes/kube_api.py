"""The few calls of the Kubernetes API that the framework scheduler makes."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from typing import Any

import httpx2

from kubedcos.errors import KubedcosError
from kubedcos.kubernetes.pki import KeyPair


class ApiError(KubedcosError):
    """The API refused or could not be reached; `status` is 0 when there was no answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(f"{status} {message}" if status else message)


def tls_context(ca_pem: bytes, pair: KeyPair | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, trusting `ca_pem` only, with a client certificate if given."""
    context = ssl.create_default_context(cadata=ca_pem.decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if pair is not None:
        # OpenSSL takes keys from files only: one that exists in memory and nowhere else.
        file = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
        try:
            os.write(file, pair.certificate_pem + pair.key_pem)
            context.load_cert_chain(f"/proc/self/fd/{file}")
        finally:
            os.close(file)
    return context


class KubeApi:
    """JSON in, JSON out, errors as `ApiError`.

    Args:
        url: of the server.
        client: logs in to it.
        silent: told when it did not answer, so that another one is asked next.
    """

    def __init__(
        self,
        url: str,
        client: httpx2.AsyncClient,
        silent: Callable[[], None] | None = None,
    ) -> None:
        self._url = url
        self._client = client
        self._silent = silent

    def reporting(self, silent: Callable[[], None]) -> KubeApi:
        """The same server, with somebody who is told when it does not answer."""
        return KubeApi(self._url, self._client, silent)

    async def get(self, path: str) -> Any:
        """GET."""
        return await self._call("GET", path)

    async def post(self, path: str, body: Any) -> Any:
        """POST."""
        return await self._call("POST", path, body)

    async def put(self, path: str, body: Any) -> Any:
        """PUT."""
        return await self._call("PUT", path, body)

    async def patch(self, path: str, body: Any) -> Any:
        """PATCH, by JSON merge patch (RFC 7396)."""
        return await self._call("PATCH", path, body, "application/merge-patch+json")

    async def delete(self, path: str) -> None:
        """DELETE; what is not there is no error."""
        try:
            await self._call("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    async def _call(
        self, method: str, path: str, body: Any = None, media_type: str = "application/json"
    ) -> Any:
        headers = {"content-type": media_type} if body is not None else None
        try:
            reply = await self._client.request(
                method, f"{self._url}{path}", json=body, headers=headers, timeout=10.0
            )
        except httpx2.HTTPError as error:
            if self._silent is not None:
                self._silent()
            raise ApiError(0, f"{self._url}: {str(error) or type(error).__name__}") from None
        if not reply.is_success:
            raise ApiError(reply.status_code, _message(reply))
        return (
            reply.json() if reply.headers.get("content-type", "").endswith("json") else reply.text
        )


def _message(reply: httpx2.Response) -> str:
    try:
        return str(reply.json()["message"])
    except (ValueError, KeyError, TypeError):
        return reply.text.strip()[:5000]
