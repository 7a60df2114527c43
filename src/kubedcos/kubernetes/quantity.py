"""Kubernetes' quantities, such as ``600m`` and ``1Gi``, as numbers. Pure."""

from __future__ import annotations

from decimal import Decimal

_SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


def parse_quantity(text: str) -> Decimal:
    """The number that `text` stands for.

    Raises:
        ValueError: not a quantity.
    """
    number = text.rstrip("mkKMGTi")
    suffix = text[len(number) :]
    if suffix not in _SUFFIXES or not number:
        raise ValueError(f"not a quantity: {text!r}")
    return Decimal(number) * _SUFFIXES[suffix]
