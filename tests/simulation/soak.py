"""Runs seed after seed on all cores and says what it found: `make soak SEEDS=N FIRST=K`.

    python -m tests.simulation.soak --seeds 1000 --first 0

A failing seed is printed with what was found, the smallest schedule that still fails, and the last
lines of its journal. `--seed N` runs one seed alone, `--digest N` prints the digest of a seed.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import logging
import multiprocessing
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from .drill import Outcome, run
from .faults import Schedule
from .generator import schedule
from .shrinking import shrink

_TOLD: Final = 500
"""After so many seeds the soak says how far it is."""
_AHEAD: Final = 3
"""So many seeds for each core are under way or waiting: the time is overrun by no more."""
_SHOWN: Final = 5
"""Failing seeds that are shown in full; of more only the number and the finding."""


@dataclass(slots=True)
class Summary:
    """What a soak came to."""

    seeds: int = 0
    seconds: float = 0.0
    virtual: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """One more seed."""
        self.seeds += 1
        self.virtual += outcome.seconds
        self.kinds.update(outcome.kinds)
        if outcome.findings:
            self.failed.append(outcome)

    def __str__(self) -> str:
        """A few lines for people."""
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.kinds.items()))
        each = 1000 * self.seconds / max(self.seeds, 1)
        return (
            f"{self.seeds} seeds, {self.virtual / 3600:.1f} virtual hours in {self.seconds:.0f} s"
            f" ({each:.0f} ms each)\nfaults: {kinds or 'none'}\n"
            f"seeds with findings: {len(self.failed)}"
        )


def run_seed(seed: int) -> Outcome:
    """The outcome of one seed."""
    logging.disable(logging.CRITICAL)
    return outcome_of(schedule(seed))


def outcome_of(found: Schedule) -> Outcome:
    """The outcome of a schedule; whatever goes wrong in it is a finding, too."""
    gc.disable()  # a run is over sooner than it pays
    try:
        return run(found)
    except Exception as error:
        return Outcome(found, (f"the run broke: {error!r}",), "", 0.0, {})
    finally:
        gc.enable()


def soak(first: int, seeds: int, *, jobs: int, seconds: float = float("inf")) -> Iterator[Outcome]:
    """Outcomes of seeds in their order, until there are no more or the time is over."""
    until = time.monotonic() + seconds
    numbers = itertools.takewhile(lambda _: time.monotonic() < until, range(first, first + seeds))
    if jobs == 1:
        yield from map(run_seed, numbers)
        return
    context = multiprocessing.get_context("spawn")
    # A worker that dies ends it all; of other pools it would be started again without end.
    with ProcessPoolExecutor(jobs, context) as pool:
        # A few at a time: a pool would take all numbers in at once, and the time would not count.
        waiting: deque[Future[Outcome]] = deque()
        for number in numbers:
            waiting.append(pool.submit(run_seed, number))
            if len(waiting) > jobs * _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def complaint(outcome: Outcome) -> str:
    """What was found, and how to see more of it."""
    seed = outcome.schedule.seed
    lines = [f"seed {seed} fails:", *(f"  {it}" for it in outcome.findings), outcome.schedule.text]
    return "\n".join([*lines, f"more: python -m tests.simulation.soak --seed {seed}"])


def explain(outcome: Outcome) -> str:
    """Everything that helps to understand a failing seed."""
    small = shrink(outcome.schedule, lambda candidate: bool(outcome_of(candidate).findings))
    again = outcome_of(small)
    lines = [f"seed {outcome.schedule.seed} fails:", *(f"  {it}" for it in outcome.findings)]
    lines += ["as small as it gets:", small.text, *(f"  {it}" for it in again.findings)]
    lines += ["the last lines of its journal:", *again.tail]
    return "\n".join(lines)


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--seed", type=int)
    parser.add_argument("--digest", type=int)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    if chosen.digest is not None:
        print(run_seed(chosen.digest).digest)
        return 0
    if chosen.seed is not None:
        outcome = run_seed(chosen.seed)
        print(explain(outcome) if outcome.findings else f"{outcome.schedule.text}\nall is well")
        return int(bool(outcome.findings))
    summary, started = Summary(), time.monotonic()
    for outcome in soak(chosen.first, chosen.seeds, jobs=chosen.jobs, seconds=chosen.seconds):
        summary.add(outcome)
        if summary.seeds % _TOLD == 0:
            print(f"{summary.seeds} seeds, {len(summary.failed)} with findings", flush=True)
        if outcome.findings:
            brief = f"seed {outcome.schedule.seed}: {outcome.findings[0]}"
            print(explain(outcome) if len(summary.failed) <= _SHOWN else brief, flush=True)
    summary.seconds = time.monotonic() - started
    print(summary)
    return int(bool(summary.failed))


if __name__ == "__main__":
    sys.exit(_main())
