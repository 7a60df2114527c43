"""What befell each pod instance lately: sentences made from the changes of its tasks. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kubedcos.offers.evaluation import Outcome
from kubedcos.state.records import Entry, EventsRecord, TaskRecord

MOST_ENTRIES: Final = 20
"""Of one pod instance; older ones are forgotten."""
_MOST_TEXT: Final = 300
_MOST_AGENTS: Final = 10


@dataclass(frozen=True, slots=True)
class Change:
    """A sentence on what changed; a notable one is worth a write of its own."""

    what: str
    notable: bool = False


@dataclass(frozen=True, slots=True)
class Considered:
    """The last offers that a pod instance was held against.

    Attributes:
        at: seconds since 1970.
        agents: how many agents offered.
        reason: the whole in a sentence.
        verdicts: host, and what was said of it; the nearest to a fit come first, few are kept.
    """

    at: float
    agents: int
    reason: str
    verdicts: tuple[tuple[str, str], ...] = ()


def changes(old: TaskRecord | None, new: TaskRecord) -> tuple[Change, ...]:
    """What the new record of a task says that the old one did not."""
    name = new.spec.name
    if old is None or old.task_id != new.task_id:
        return (Change(f"{name}: launch intended on {new.agent.hostname}"),)
    found = []
    if new.kill_asked and not old.kill_asked:
        found.append(Change(f"{name}: asked to end", notable=True))
    if new.state != old.state:
        found.append(Change(f"{name}: {_state(new)}", notable=not new.alive))
    if new.ready and not old.ready:
        found.append(Change(f"{name}: ready"))
    return tuple(found)


def added(record: EventsRecord | None, instance: str, at: float, what: str) -> EventsRecord:
    """The record with one more entry, and without what is too old for it.

    The same word again only moves the time of the last entry.
    """
    entries = record.entries if record is not None else ()
    text = what[:_MOST_TEXT]
    if entries and entries[-1].what == text:
        entries = entries[:-1]
    return EventsRecord(instance, (*entries, Entry(at, text))[-MOST_ENTRIES:])


def considered(outcome: Outcome, at: float) -> Considered:
    """What is kept of an evaluation."""
    verdicts = outcome.verdicts if outcome.chosen is None else (outcome.chosen,)
    return Considered(
        at,
        outcome.agents,
        outcome.reason,
        tuple(
            (
                verdict.offers.agent.hostname,
                "; ".join(finding.reason for finding in verdict.findings) or "fits",
            )
            for verdict in verdicts[:_MOST_AGENTS]
        ),
    )


def _state(task: TaskRecord) -> str:
    why = task.message or task.reason.removeprefix("REASON_").replace("_", " ").lower()
    return f"{task.state} on {task.agent.hostname}" + (f": {why}" if why else "")
