"""Arithmetic on Mesos' values: scalars, ranges and sets, each in the form that is computed with.

Scalars are fixed point with three decimals. Ranges are sets of whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

SCALE: Final = 1000
"""Scalars are whole numbers of thousandths."""
_MOST: Final = (1 << 63) - 1

Spans = tuple[tuple[int, int], ...]
"""Sorted, disjoint, not touching, both ends included."""
Amount = int | Spans | frozenset[str]
"""Thousandths of a scalar, ranges, or a set."""


def thousandths(value: float) -> int:
    """A scalar in fixed point, rounded as Mesos rounds; infinities as the most of 64 bits."""
    try:
        return round(value * SCALE)
    except OverflowError:
        return _MOST if value > 0 else -_MOST
    except ValueError:  # no number
        return 0


def merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """Spans brought into normal form; empty ones vanish."""
    result: list[tuple[int, int]] = []
    for begin, end in sorted(span for span in spans if span[0] <= span[1]):
        if result and begin <= result[-1][1] + 1:
            result[-1] = (result[-1][0], max(end, result[-1][1]))
        else:
            result.append((begin, end))
    return tuple(result)


def without(spans: Spans, taken: Spans) -> Spans:
    """Numbers of `spans` that are not in `taken`, in one pass: a task may name thousands."""
    rest: list[tuple[int, int]] = []
    position = 0
    for low, high in spans:
        while position < len(taken) and taken[position][1] < low:
            position += 1
        start, at = low, position
        while at < len(taken) and taken[at][0] <= high:
            if start < taken[at][0]:
                rest.append((start, taken[at][0] - 1))
            start = taken[at][1] + 1
            at += 1
        if start <= high:
            rest.append((start, high))
        position = max(position, at - 1)
    return tuple(rest)


def plus(one: Amount, other: Amount) -> Amount:
    """Two amounts of one type together.

    Raises:
        TypeError: they are of different types.
    """
    if isinstance(one, int) and isinstance(other, int):
        return one + other
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return one | other
    if isinstance(one, tuple) and isinstance(other, tuple):
        return merged((*one, *other))
    raise TypeError("amounts of different types")


def united(amounts: Iterable[Amount]) -> Amount:
    """Ranges or sets together; of a whole disk, which cannot add up, any."""
    first, *others = amounts
    if isinstance(first, tuple):
        spans = (one for amount in (first, *others) if isinstance(amount, tuple) for one in amount)
        return merged(spans)
    if isinstance(first, frozenset):
        return first.union(*(other for other in others if isinstance(other, frozenset)))
    return first


def minus(one: Amount, other: Amount) -> Amount:
    """What is left of `one`, never less than nothing; errors as in `plus`."""
    if isinstance(one, int) and isinstance(other, int):
        return max(one - other, 0)
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return one - other
    if isinstance(one, tuple) and isinstance(other, tuple):
        return without(one, other)
    raise TypeError("amounts of different types")


def covers(one: Amount, other: Amount) -> bool:
    """Whether all of `other` can be taken from `one`; errors as in `plus`."""
    if isinstance(one, int) and isinstance(other, int):
        return one >= other
    return not minus(other, one)


def number_text(value: float) -> str:
    """A scalar as Mesos writes it in texts: up to three decimals, none if whole."""
    if not math.isfinite(value):
        return str(value)
    text = f"{round(value * SCALE) / SCALE:.3f}".rstrip("0").rstrip(".")
    return text or "0"


def spans_text(spans: Spans) -> str:
    """Ranges as Mesos writes them in views: ``[1-2, 5-9]``."""
    return "[" + ", ".join(f"{low}-{high}" for low, high in spans) + "]"
