"""Where a cluster's options come from: the configurations that it had, and its instances' numbers.

Each change of options makes a new configuration with the next number; the one with the highest
number is the target. A rollback is a change to the options of an earlier one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kubedcos.config.changes import differences
from kubedcos.config.cluster import ClusterOptions


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a cluster's shape follows from beside its options.

    Attributes:
        target: number of the configuration that the options are; 0 where nobody counts.
        former: options of earlier configurations by number.
        indices: for pods whose instances have gaps in their numbers: which there are.
    """

    target: int = 0
    former: Mapping[int, ClusterOptions] = field(default_factory=dict)
    indices: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def reasons(self, options: ClusterOptions, pod: str, task: str) -> dict[int, str]:
        """Configurations with which this task would have to be started anew, and why.

        Number 0 stands for tasks from before configurations were counted: they have the first.
        """
        found = {}
        for number, old in sorted(self.former.items()):
            changed = [change for change in differences(old, options) if change.concerns(pod, task)]
            if changed:
                found[number] = ", ".join(str(change) for change in changed)
        first = min(self.former, default=0)
        if first in found:
            found[0] = found[first]
        return found


def numbers(known: Collection[int], count: int, removed: Collection[int] = ()) -> tuple[int, ...]:
    """Numbers of a pod's instances after its count changed; nobody is renumbered.

    New instances take the lowest numbers that are free. Of those that are too many the ones in
    `removed` go first, then those with the highest numbers.

    Args:
        known: numbers so far.
        count: how many instances there are to be.
        removed: numbers that are to go; they are not given out again here.
    """
    kept = sorted(set(known) - set(removed))[:count]
    free = (number for number in range(count + len(known) + len(removed)) if number not in known)
    while len(kept) < count:
        kept.append(next(free))
    return tuple(sorted(kept))
