"""How names of tasks and frameworks become DNS labels.

Rules as Mesos-DNS applies them: upper case falls, ``.``, ``_`` and ``-`` become ``-``, every other
character is dropped, hyphens at either end are trimmed, and the label is cut to the length of the
chosen RFC. The oddity at the cut (hyphens that end up there are skipped and later characters move
up) is part of the recorded behaviour.
"""

from __future__ import annotations

from collections.abc import Callable

Spec = Callable[[str], str]

RFC1123_LENGTH = 63
RFC952_LENGTH = 24

_ALPHABET = "ybndrfg8ejkmcpqxot1uwisza345h769"  # z-base-32, by which task ids are shortened


def rfc1123(name: str) -> str:
    """A label of at most 63 characters (RFC 1123)."""
    return _clean(name, RFC1123_LENGTH, leading_digits=True)


def rfc952(name: str) -> str:
    """A label of at most 24 characters that starts with a letter (RFC 952)."""
    return _clean(name, RFC952_LENGTH, leading_digits=False)


def framework_name(name: str, spec: Spec) -> str:
    """A framework's part of the name: each piece between dots is cleaned alone."""
    return ".".join(label for label in (spec(part) for part in name.split(".")) if label)


def zbase32(data: bytes) -> str:
    """z-base-32 of `data`, most significant bits first."""
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    return "".join(_ALPHABET[int(bits[i : i + 5], 2)] for i in range(0, len(bits), 5))


def _clean(name: str, length: int, *, leading_digits: bool) -> str:
    label = ""
    cut = False
    for character in name:
        char = character.lower() if "A" <= character <= "Z" else character
        if char in "._-":
            char = "-"
        elif not ("a" <= char <= "z" or "0" <= char <= "9"):
            continue
        if not label and (char == "-" or (char.isdigit() and not leading_digits)):
            continue
        if len(label) == length:
            label = label.rstrip("-")
            if len(label) == length:
                break
            cut = True
        if cut and char == "-":
            continue
        label += char
    return label.rstrip("-")
