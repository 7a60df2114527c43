"""Who may ask: operators show a bearer token, a scraper of metrics its own; nobody else is let in.

There is one token for all operators. Who of them it is, a request says itself (`USER_HEADER`), and
the address that it came from stands beside it: a record of what was done, not a proof of identity.
"""

from __future__ import annotations

import hmac
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final
from urllib.parse import unquote

from fastapi import Depends, HTTPException, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from kubedcos.errors import InvalidInput, Problem
from kubedcos.scheduler.steering import Operator

USER_HEADER: Final = "Kubedcos-User"
WHY_HEADER: Final = "Kubedcos-Why"
"""The reason of an action; both headers are percent-encoded UTF-8."""
MOST_REASON: Final = 500
_MOST_USER: Final = 100

_bearer = HTTPBearer(
    auto_error=False, scheme_name="token", description="Token of an operator, or of a scraper."
)
_Shown = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]


@dataclass(frozen=True, slots=True)
class Access:
    """What has to be shown.

    Attributes:
        token: of operators; opens everything.
        scrape_token: of whoever collects metrics; opens nothing else. Empty: there is none.
    """

    token: str
    scrape_token: str = ""

    def __repr__(self) -> str:
        """Without the tokens, so that no log can show them."""
        return "Access()"

    def operator(self) -> Callable[..., Operator]:
        """The dependency of what operators ask."""

        def check(request: Request, shown: _Shown) -> Operator:
            if not _same(shown, self.token):
                raise _unauthorised("a bearer token of an operator is needed")
            _refuse_unknown(request)
            return _operator(request)

        return check

    def scraper(self) -> Callable[..., None]:
        """The dependency of the metrics."""

        def check(shown: _Shown) -> None:
            known = self.scrape_token and _same(shown, self.scrape_token)
            if not known and not _same(shown, self.token):
                raise _unauthorised("a bearer token of a scraper or an operator is needed")

        return check

    def known(self, request: Request) -> bool:
        """Whether a request shows an operator's token; for what anybody sees a part of."""
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and _equal(shown, self.token)


def _same(shown: HTTPAuthorizationCredentials | None, token: str) -> bool:
    return shown is not None and _equal(shown.credentials, token)


def _equal(shown: str, token: str) -> bool:
    return bool(token) and hmac.compare_digest(shown.encode(), token.encode())


def _unauthorised(sentence: str) -> HTTPException:
    return HTTPException(401, sentence, headers={"WWW-Authenticate": "Bearer"})


def _operator(request: Request) -> Operator:
    """Who asks and why, as the request says.

    Raises:
        InvalidInput: a header is too long, or holds what is no text.
    """
    claimed = _text(request, USER_HEADER, _MOST_USER)
    why = _text(request, WHY_HEADER, MOST_REASON)
    address = request.client.host if request.client else ""
    who = claimed or "operator"
    return Operator(f"{who} at {address}" if address else who, why)


def _refuse_unknown(request: Request) -> None:
    """Refuse parameters that the route does not know: a slip must not widen what is asked.

    Raises:
        InvalidInput: with the names that it knows.
    """
    route = request.scope.get("route")
    if not isinstance(route, APIRoute):
        return
    known = sorted(_parameters(route.dependant))
    unknown = sorted(set(request.query_params) - set(known))
    if unknown:
        wanted = f"one of {', '.join(known)}" if known else "no parameter"
        raise InvalidInput(
            [
                Problem("query", f"parameter {name!r}", wanted, id="query-unknown")
                for name in unknown
            ]
        )


def _parameters(dependant: Dependant) -> set[str]:
    """Names of the query parameters of a route and of what it depends on."""
    names = {parameter.alias for parameter in dependant.query_params}
    return names.union(*(_parameters(inner) for inner in dependant.dependencies))


def _text(request: Request, name: str, most: int) -> str:
    text = unquote(request.headers.get(name, ""), errors="replace").strip()
    if len(text) > most or any(unicodedata.category(letter) in _NO_TEXT for letter in text):
        seen = f"{len(text)} characters" if len(text) > most else "control characters"
        wanted = f"one line of at most {most} characters, percent-encoded UTF-8"
        raise InvalidInput([Problem(f"header {name}", seen, wanted, id="header-text")])
    return text


_NO_TEXT: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
