"""Files of credentials, and HTTP Basic with them, for master and agent."""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from kubedcos.errors import InvalidInput, Problem

_FORM = '{"principal": …, "secret": …}'


@dataclass(frozen=True, slots=True)
class Credential:
    """A principal and its secret."""

    principal: str
    secret: str


def credential(value: Any, flag: str) -> Credential:
    """One credential from parsed JSON.

    Raises:
        InvalidInput: not of that form; the value itself is not told.
    """
    try:
        return msgspec.convert(value, Credential)
    except msgspec.ValidationError as error:
        raise InvalidInput([Problem(f"flag --{flag}", str(error), _FORM, "flag-value")]) from None


def secrets_by_principal(value: Any, flag: str) -> dict[str, str]:
    """Mesos' list of credentials from parsed JSON.

    Raises:
        InvalidInput: not of that form.
    """
    entries = value.get("credentials") if isinstance(value, dict) else None
    if not isinstance(entries, list):
        wanted = f'{{"credentials": [{_FORM}]}}'
        raise InvalidInput([Problem(f"flag --{flag}", "other JSON", wanted, "flag-value")])
    listed = [credential(entry, flag) for entry in entries]
    return {entry.principal: entry.secret for entry in listed}


def principal_of(header: str | None, known: Mapping[str, str]) -> str | None:
    """Whose `Authorization` header (HTTP Basic) it is; None when it is nobody's of `known`."""
    scheme, _, encoded = (header or "").partition(" ")
    if scheme != "Basic":
        return None
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    principal, colon, secret = decoded.partition(":")
    wanted = known.get(principal)
    if not colon or wanted is None:
        return None
    same = secrets.compare_digest(wanted.encode(), secret.encode())
    return principal if same else None
