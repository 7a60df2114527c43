"""Takes secrets out of what leaves the house: support archives and logs.

Three nets, each for what the others miss: values under names that mean a secret, texts that look
like one (PEM keys, tokens, logins in URLs), and secrets that are known to whoever redacts.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

REDACTED: Final = "[redacted]"
_LEAST_SECRET: Final = 6
"""Known secrets that are shorter are not looked for: they would be found everywhere."""

_NAMES: Final = re.compile(
    r"(?i)(pass(word|wd|phrase)?|secret|token|api[-_]?key|private[-_]?key|access[-_]?key"
    r"|client[-_]?key([-_]?data)?|encryption[-_]?key|credential|authorization|kubeconfig|cookie"
    r"|bearer|\bauth\b)"
)
_HARMLESS: Final = re.compile(r"(?i)(_file|_path|-file|_name|_count|_seconds|_id|_url)$")
_ASSIGNED: Final = (
    r"(?i)([\w.-]*(?:password|passwd|passphrase|secret|token|api[-_]?key|private[-_]?key"
    r"|client[-_]?key[-_]?data|encryption[-_]?key|credential)[\w.-]*"
)

_TEXTS: Final = (
    # PEM: whatever is a key; certificates are public.
    re.compile(
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
        re.DOTALL,
    ),
    # The same in base64, as in a kubeconfig: LS0t is "---", and certificates are left alone.
    re.compile(r"LS0tLS1CRUdJTi(?!BDRVJUSUZJQ0FUR)[A-Za-z0-9+/=\s]{40,}"),
    # JSON Web Tokens: service accounts', OIDC's.
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    # Bootstrap tokens of Kubernetes.
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
)
_HEADER: Final = re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9+/_.~=-]{6,}")
_LOGIN: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]*:[^/\s@]+@")
_QUOTED: Final = re.compile(_ASSIGNED + r"""["']?\s*[=:]\s*)(["'])(?:(?!\2).)*\2""")
_BARE: Final = re.compile(_ASSIGNED + r"""["']?\s*[=:]\s*)(?!["'\s\[])[^\s,;&"'}\])]+""")
_FLAG: Final = re.compile(
    r"(?i)(--[\w-]*(?:password|secret|token|api-key|private-key)[\s=]+)[^\s\"']+"
)


class Redactor:
    """Redacts texts and plain data.

    Args:
        known: secrets to look for wherever they stand, also in base64 and percent-encoded.
    """

    def __init__(self, known: Iterable[str | bytes] = ()) -> None:
        forms: set[str] = set()
        for secret in known:
            forms |= _forms(secret)
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = (
            re.compile("|".join(re.escape(form) for form in longest_first)) if forms else None
        )

    def __repr__(self) -> str:
        """Without what it knows."""
        return "Redactor()"

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        for pattern in _TEXTS:
            text = pattern.sub(REDACTED, text)
        text = _HEADER.sub(rf"\1 {REDACTED}", text)
        text = _LOGIN.sub(rf"\1{REDACTED}@", text)
        text = _QUOTED.sub(rf"\1\2{REDACTED}\2", text)
        text = _BARE.sub(_unless_harmless, text)
        return _FLAG.sub(rf"\1{REDACTED}", text)

    def data(self, value: Any) -> Any:
        """Plain data without secrets; the shape stays."""
        match value:
            case str():
                return self.text(value)
            case bytes():
                return self.text(value.decode(errors="replace"))
            case Mapping():
                return {
                    self.text(str(key)): REDACTED
                    if found and secret_name(str(key))
                    else self.data(found)
                    for key, found in value.items()
                }
            case list() | tuple() | set() | frozenset():
                return [self.data(part) for part in value]
            case _:
                return value


def secret_name(name: str) -> bool:
    """Whether what stands under this name is a secret."""
    return bool(_NAMES.search(name)) and not _HARMLESS.search(name)


def _unless_harmless(found: re.Match[str]) -> str:
    name = re.split(r"[\s=:\"']", found.group(1), maxsplit=1)[0]
    return found.group(0) if _HARMLESS.search(name) else f"{found.group(1)}{REDACTED}"


def _forms(secret: str | bytes) -> set[str]:
    """A secret as it may stand in a text: as it is, in JSON, percent-encoded, in base64."""
    raw = secret.encode() if isinstance(secret, str) else secret
    text = raw.decode(errors="replace").strip()
    if len(text) < _LEAST_SECRET:
        return set()
    forms = {text, json.dumps(text)[1:-1], quote(text, safe="")}
    for variant in {raw, text.encode()}:
        forms |= {
            base64.b64encode(variant).decode().rstrip("="),
            base64.urlsafe_b64encode(variant).decode().rstrip("="),
        }
    # Keys in PEM stand in logs line by line, too.
    forms |= {line for line in text.splitlines() if len(line) >= 40 and "-----" not in line}
    return forms
