"""The framework scheduler's API as the command line asks it; standard library only, for speed."""

from __future__ import annotations

import getpass
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from kubedcos.cli import contexts
from kubedcos.cli.contexts import Context
from kubedcos.errors import (
    ExitCode,
    InvalidInput,
    KubedcosError,
    NotYetComplete,
    Problem,
    Refused,
)

ANSWER_SECONDS = 15.0
TAKEOVER_SECONDS = 15.0
"""How long schedulers that stand by are asked again: one of them leads within this time."""
TAKEOVER_PAUSE_SECONDS = 0.5


class Unreachable(KubedcosError):
    """No framework scheduler answers."""


class _WrongRequest(KubedcosError):
    """The scheduler takes no such request, or not from us."""

    exit_code = ExitCode.USAGE


class _StandsBy(Exception):
    """A scheduler that does not lead has answered."""

    def __init__(self, leader: str) -> None:
        self.leader = leader


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirection for a refusal: with it the token would go to whoever it names."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked of whichever scheduler leads; `path` has the query."""

    method: str
    path: str
    body: bytes | None
    why: str


class Client:
    """Asks the framework scheduler of one context."""

    def __init__(self, context: Context, *, seconds: float = ANSWER_SECONDS) -> None:
        self._context = context
        self._seconds = seconds
        try:
            tls = ssl.create_default_context(cadata=context.ca_pem)
        except ssl.SSLError as error:
            raise InvalidInput(
                [Problem(f"context {context.name}: ca_pem", str(error), "a certificate")]
            ) from error
        https = urllib.request.HTTPSHandler(context=tls)
        self._opener = urllib.request.build_opener(https, _NoRedirect())

    def get(self, *path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The object that GET answers; see `ask`."""
        found = _document(self.ask("GET", path, query=query))
        if not isinstance(found, dict):
            raise _nonsense(found, "an object")
        return found

    def get_all(self, *path: str) -> list[dict[str, Any]]:
        """The list of objects that GET answers; see `ask`."""
        found = _document(self.ask("GET", path))
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise _nonsense(found, "a list of objects")
        return found

    def text(self, *path: str) -> str:
        """The answer to GET as it is; see `ask`."""
        return self.ask("GET", path).decode(errors="replace")

    def send(
        self,
        method: str,
        *path: str,
        document: Mapping[str, Any] | Sequence[str] | None = None,
        query: Mapping[str, str] | None = None,
        why: str = "",
    ) -> Any:
        """The answer to another method, with a JSON body; see `ask`."""
        return _document(self.ask(method, path, document, query=query, why=why))

    def ask(
        self,
        method: str,
        path: tuple[str, ...],
        document: Mapping[str, Any] | Sequence[str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        why: str = "",
    ) -> bytes:
        """Ask the scheduler of the context that leads.

        One that stands by says who leads; that one is asked next, if the context names it: the
        token goes nowhere else.

        Args:
            method: of HTTP.
            path: parts of the path after ``/v1``.
            document: the body, for JSON.
            query: parameters; empty ones are left out.
            why: the operator's reason; kept with what is done.

        Raises:
            Unreachable: none answers, or none leads.
            KubedcosError: the scheduler refused; the text and exit code are its own.
        """
        asked = urlencode({key: value for key, value in (query or {}).items() if value})
        request = _Request(
            method,
            "/".join(["v1", *(quote(part, safe="") for part in path)])
            + (f"?{asked}" if asked else ""),
            None if document is None else json.dumps(document).encode(),
            why,
        )
        deadline = time.monotonic() + TAKEOVER_SECONDS
        while True:
            reasons: list[str] = []
            standing_by = False
            urls = list(self._context.urls)
            while urls:
                url = urls.pop(0)
                try:
                    return self._ask_at(url, request)
                except _StandsBy as standby:
                    standing_by = True
                    reasons.append(f"{url}: stands by")
                    if standby.leader in urls:
                        urls.remove(standby.leader)
                        urls.insert(0, standby.leader)
                except (OSError, http.client.HTTPException) as error:
                    reasons.append(f"{url}: {getattr(error, 'reason', error)}")
            # Another one will lead in a moment, if any stands by.
            if not standing_by or time.monotonic() > deadline:
                break
            time.sleep(TAKEOVER_PAUSE_SECONDS)
        raise Unreachable(
            f"no framework scheduler of context {self._context.name} answers ("
            + "; ".join(reasons)
            + ")"
        )

    def _ask_at(self, url: str, wanted: _Request) -> bytes:
        request = urllib.request.Request(  # noqa: S310  the context holds https addresses
            f"{url}/{wanted.path}",
            method=wanted.method,
            data=wanted.body,
            headers={
                "Authorization": f"Bearer {self._context.token}",
                "Content-Type": "application/json",
                "Kubedcos-User": quote(_user(), safe="@"),
                "Kubedcos-Why": quote(wanted.why, safe=" "),
            },
        )
        try:
            with self._opener.open(request, timeout=self._seconds) as answer:
                body: bytes = answer.read()
                return body
        except urllib.error.HTTPError as error:
            said = error.read()
            leader = _leader(error.code, said)
            if leader is None:
                raise _refusal(error.code, said) from None
            raise _StandsBy(leader) from None


def connect() -> Client:
    """A client for the context in use.

    Raises:
        InvalidInput: there is none.
    """
    return Client(contexts.current())


def cluster_name(client: Client, given: str) -> str:
    """The cluster that a command is about: the one given, or the only one.

    Raises:
        InvalidInput: none is given and there is not exactly one.
    """
    if given:
        return given
    names = [str(cluster["name"]) for cluster in client.get_all("clusters")]
    if len(names) == 1:
        return names[0]
    seen = f"{len(names)} clusters ({', '.join(names)})" if names else "no cluster"
    wanted = "--cluster NAME" if names else "a cluster; `kubedcos cluster create` makes one"
    raise InvalidInput([Problem("cluster", seen, wanted, id="cluster-choice")])


def _user() -> str:
    """Who sits here, such as ``ann@control``; the scheduler keeps it with what is done."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = "unknown"
    return f"{name}@{socket.gethostname()}"[:100]


def _leader(status: int, body: bytes) -> str | None:
    """Who leads, when one that stands by has answered; empty when it does not know either."""
    if status != 503:
        return None
    try:
        return str(json.loads(body)["leader"] or "")
    except (ValueError, KeyError, TypeError):
        return None


def _document(body: bytes) -> Any:
    """What an answer says.

    Raises:
        KubedcosError: it is no JSON.
    """
    try:
        return json.loads(body)
    except ValueError:
        raise _nonsense(body.decode(errors="replace"), "JSON") from None


def _nonsense(seen: object, wanted: str) -> KubedcosError:
    """The error that an answer is which no framework scheduler gives."""
    return KubedcosError(
        f"who answers is no framework scheduler of this version: found {str(seen)[:200]!r}; "
        f"wanted {wanted}. Look at `url` of the context, and at the scheduler's version"
    )


def _refusal(status: int, body: bytes) -> KubedcosError:
    """The error that an answer means."""
    try:
        document = json.loads(body)
        text, code = str(document["error"]), int(document["exit_code"])
        if "problems" in document and code != ExitCode.REFUSED:
            return InvalidInput([Problem(**problem) for problem in document["problems"]])
    except (ValueError, KeyError, TypeError):
        said = body[:300].decode(errors="replace").strip()
        return KubedcosError(f"the framework scheduler answered {status}: {said or 'nothing'}")
    kinds: dict[int, type[KubedcosError]] = {
        ExitCode.USAGE: _WrongRequest,
        ExitCode.REFUSED: Refused,
        ExitCode.INCOMPLETE: NotYetComplete,
    }
    if status == 401:
        text = f"the framework scheduler does not know this context's token ({text})"
    return kinds.get(code, KubedcosError)(text)
