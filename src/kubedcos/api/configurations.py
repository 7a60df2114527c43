"""The configurations of a cluster in the store: its target, and those that it had before."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from kubedcos.config import cluster as options_file
from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.lineage import Lineage
from kubedcos.errors import InvalidInput, Problem
from kubedcos.state import documents, records
from kubedcos.state.records import ConfigurationRecord, TaskRecord
from kubedcos.state.store import Change, Store

_log = logging.getLogger(__name__)
KEPT: Final = 20
"""So many configurations are kept, and older ones while tasks run with them."""


@dataclass(frozen=True, slots=True)
class Configurations:
    """What the store has of one cluster.

    Attributes:
        by_number: records by number, ascending.
    """

    by_number: Mapping[int, ConfigurationRecord]

    @property
    def target(self) -> ConfigurationRecord | None:
        """The one that the cluster is to have."""
        return self.by_number[max(self.by_number)] if self.by_number else None

    @property
    def former(self) -> ConfigurationRecord | None:
        """The one before the target."""
        numbers = sorted(self.by_number)
        return self.by_number[numbers[-2]] if len(numbers) > 1 else None

    def get(self, number: int) -> ConfigurationRecord:
        """The configuration with this number.

        Raises:
            InvalidInput: there is none.
        """
        if number in self.by_number:
            return self.by_number[number]
        known = ", ".join(str(found) for found in self.by_number) or "none so far"
        raise InvalidInput(
            [Problem("configuration", str(number), f"one of: {known}", id="configuration-unknown")]
        )

    def following(self, record: ConfigurationRecord) -> ConfigurationRecord:
        """The record as the one that comes next."""
        return replace(record, number=max(self.by_number, default=0) + 1)

    def lineage(self) -> Lineage:
        """What the cluster's shape follows from."""
        target = self.target
        if target is None:
            return Lineage()
        former = {}
        for number, record in self.by_number.items():
            if number != target.number and (options := options_of(record)) is not None:
                former[number] = options
        return Lineage(target.number, former, dict(target.indices))


def load(store: Store, cluster: str) -> Configurations:
    """A cluster's configurations.

    Raises:
        StateError: the store cannot be read.
    """
    return Configurations(documents.configurations(store, cluster))


def options_of(record: ConfigurationRecord) -> ClusterOptions | None:
    """Options of a configuration; None when this version does not understand them any more."""
    where = f"stored configuration {record.number}"
    try:
        return options_file.validate(json.loads(record.options), where)
    except (InvalidInput, ValueError) as error:
        _log.warning("%s cannot be read and is passed over: %s", where, error)
        return None


def first(options: ClusterOptions, now: float, by: str = "") -> ConfigurationRecord:
    """The configuration of a new cluster."""
    return ConfigurationRecord(1, text_of(options), made_at=now, by=by, why="created")


def text_of(options: ClusterOptions) -> str:
    """Options as they are stored."""
    return json.dumps(options.model_dump(mode="json"))


def changes(
    known: Configurations, record: ConfigurationRecord, tasks: Sequence[TaskRecord]
) -> list[Change]:
    """What to write so that `record` becomes the target; the cluster's options go with it.

    Configurations beyond `KEPT` are dropped, unless tasks may still run with them; tasks from
    before configurations were counted hold the first.
    """
    used = {task.configuration or min(known.by_number, default=0) for task in tasks}
    old = [number for number in known.by_number if number <= record.number - KEPT]
    dropped = [number for number in old if number not in used]
    return [
        documents.put(records.CONFIGURATION, record.key, record),
        documents.put_options(record.options),
        *(documents.remove(records.CONFIGURATION, str(number)) for number in dropped),
    ]
