"""The leading master, asked over HTTP: found, redirects followed, our login shown, TLS checked.

The scheduler's and the operator's API share this way; what an answer means is up to who asks.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx2

from kubedcos.mesos.detector import Detector, NoMaster

JSON: Final = "application/json"
_REDIRECTS: Final = 2
_NOT_FOR_THIS_LOGIN: Final = (401, 403)
_LONGEST_TEXT: Final = 500


class _NotLeading(Exception):
    """A master does not lead, or does not answer; the text says why."""


@dataclass(frozen=True, slots=True)
class _Question:
    method: str
    path: str
    content: bytes | None
    stream: bool

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept": JSON} if self.content is None else {"Accept": JSON, "Content-Type": JSON}


class LeadingMaster:
    """Asks whichever master leads.

    Args:
        detector: where the masters are.
        logins: principals with their secrets, for Basic authentication; the next is tried where
            one may not ask. Without any there is no authentication.
        tls: for masters that speak HTTPS; None for plain HTTP.
        transport: in place of the network, for tests.
        timeout_seconds: for connecting, and for each wait for a piece of an answer.
    """

    def __init__(
        self,
        detector: Detector,
        logins: Sequence[tuple[str, str]] = (),
        tls: ssl.SSLContext | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        timeout_seconds: float = 10.0,
    ) -> None:
        self._detector = detector
        self._logins = tuple(httpx2.BasicAuth(*login) for login in logins) or (httpx2.Auth(),)
        self._tls = tls
        self._transport = transport
        self._timeout = timeout_seconds

    async def ask(self, method: str, path: str, content: bytes | None = None) -> httpx2.Response:
        """The leader's answer, whole.

        Args:
            method: of HTTP.
            path: with the query, if there is one.
            content: a body in JSON.

        Raises:
            NoMaster: nobody leads or answers.
        """
        async with self._client(self._timeout) as client:
            return await self._answer(client, _Question(method, path, content, stream=False))

    @asynccontextmanager
    async def stream(
        self, path: str, content: bytes
    ) -> AsyncIterator[tuple[httpx2.Response, httpx2.AsyncClient]]:
        """The leader's answer to POST, to be read as it comes; one that is no success is whole.

        The client beside it shows the login that was let in, and is for whatever else belongs to
        the stream; its requests go over connections of their own.

        Raises:
            NoMaster: nobody leads or answers.
        """
        # A stream may be silent for long; who reads it keeps a deadline of his own.
        async with self._client(None) as client:
            reply = await self._answer(client, _Question("POST", path, content, stream=True))
            try:
                yield reply, client
            finally:
                await reply.aclose()

    def _client(self, read_seconds: float | None) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=self._transport,
            timeout=httpx2.Timeout(self._timeout, read=read_seconds),
            trust_env=False,
            verify=True if self._tls is None else self._tls,
        )

    async def _answer(self, client: httpx2.AsyncClient, asked: _Question) -> httpx2.Response:
        """The answer to the first login that is let in, or to the last one."""
        reasons = []
        for master in await self._detector.masters():
            try:
                for login in self._logins:
                    client.auth = login
                    reply = await self._follow(client, master, asked)
                    if reply.status_code not in _NOT_FOR_THIS_LOGIN:
                        break
            except _NotLeading as reason:
                reasons.append(f"{master} {reason}")
            else:
                return reply
        raise NoMaster("no leading master: " + "; ".join(reasons))

    async def _follow(
        self, client: httpx2.AsyncClient, master: str, asked: _Question
    ) -> httpx2.Response:
        """Ask a master, or whom it names.

        Redirects are followed by hand: an HTTP library drops credentials when the host changes, as
        it should in general, but the leader is a master as good as the one that names it.
        """
        url = f"{'http' if self._tls is None else 'https'}://{master}{asked.path}"
        names = ""
        for _ in range(_REDIRECTS + 1):
            try:
                reply = await self._send(client, url, asked)
                if reply.status_code != 307:
                    return reply
                url = _leader(url, reply.headers.get("Location", ""))
            except _NotLeading as reason:
                raise _NotLeading(f"{names}{reason}") from None
            names = f"names {urlsplit(url).netloc}, which "
        raise _NotLeading(f"{names}is one of more than {_REDIRECTS} redirects")

    async def _send(
        self, client: httpx2.AsyncClient, url: str, asked: _Question
    ) -> httpx2.Response:
        request = client.build_request(
            asked.method, url, content=asked.content, headers=asked.headers
        )
        try:
            async with asyncio.timeout(self._timeout if asked.stream else None):
                reply = await client.send(request, stream=asked.stream)
                if not reply.is_success:
                    await reply.aread()
        except (httpx2.TimeoutException, TimeoutError):
            raise _NotLeading(f"gives no answer within {self._timeout:g} s") from None
        except httpx2.HTTPError as error:
            raise _NotLeading(f"cannot be asked: {str(error) or type(error).__name__}") from error
        if reply.status_code >= 500:
            raise _NotLeading(_answered(reply))
        return reply


def refusal(reply: httpx2.Response) -> str:
    """Who answered what, such as ``m1:5050 answered 403 Forbidden``; for errors."""
    return f"{address(reply)} {_answered(reply)}"


def address(reply: httpx2.Response) -> str:
    """``host:port`` of the master that answered."""
    return reply.url.netloc.decode()


def _answered(reply: httpx2.Response) -> str:
    return f"answered {reply.status_code} {reply.text.strip()[:_LONGEST_TEXT]}".strip()


def _leader(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        _NotLeading: nowhere, or to another scheme, which may show our secret to anybody.
    """
    if not location:
        raise _NotLeading("redirects nowhere")
    leader = urljoin(url, location)
    if urlsplit(leader).scheme != urlsplit(url).scheme:
        raise _NotLeading(f"redirects to {location}, which is not {urlsplit(url).scheme.upper()}")
    return leader
