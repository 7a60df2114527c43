"""Changes of a cluster that runs: what they would do, whether they may, and doing them.

Everything that can be refused is refused before the first change. The change itself is one write
to the store: afterwards whatever scheduler leads works towards the new target.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kubedcos.api import configurations
from kubedcos.api.configurations import Configurations
from kubedcos.api.hosted import Hosted
from kubedcos.api.hosting import Clusters
from kubedcos.config import changes as rules
from kubedcos.config import cluster as options_file
from kubedcos.config.changes import ChangeRefused, OptionChange
from kubedcos.config.cluster import ClusterOptions
from kubedcos.config.lineage import numbers
from kubedcos.config.pools import pool_name
from kubedcos.config.scaling import node_counts, with_count
from kubedcos.errors import InvalidInput, Problem, Refused
from kubedcos.scheduler.preview import Doing, Planned, preview
from kubedcos.scheduler.steering import Operator
from kubedcos.state.records import ConfigurationRecord


@dataclass(frozen=True, slots=True)
class Terms:
    """How a change is asked for.

    Attributes:
        dry_run: only say what would be done.
        expect: number of the configuration that the change was thought out against; another one
            means that somebody else was faster, and is refused. None: whatever it is.
        force: remove nodes although Kubernetes says that they cannot be drained.
        wait_for_capacity: go on although not everything fits on the agents there are.
        by: who asks.
        why: the reason given.
    """

    dry_run: bool = False
    expect: int | None = None
    force: bool = False
    by: str = ""
    why: str = ""
    wait_for_capacity: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change does, or would do.

    Attributes:
        configuration: number of the target, with the change if it was made.
        removed: pod instances that go.
    """

    changed: bool
    configuration: int
    changes: tuple[OptionChange, ...] = ()
    steps: tuple[Planned, ...] = ()
    removed: tuple[str, ...] = ()

    def view(self) -> dict[str, Any]:
        """As plain data; `kubedcos cluster update --json` shows it."""
        return {
            "changed": self.changed,
            "configuration": self.configuration,
            "changes": [
                {
                    "option": change.path,
                    "old": change.old,
                    "new": change.new,
                    "changeable": str(change.rule.changeable),
                    "why": change.rule.why,
                    "restarts": list(change.restarts),
                }
                for change in self.changes
            ],
            "steps": [{**asdict(step), "tasks": list(step.tasks)} for step in self.steps],
            "restarts": sorted(
                {step.pod_instance for step in self.steps if step.doing is Doing.RESTART}
            ),
            "removed": list(self.removed),
        }


@dataclass(frozen=True, slots=True)
class _Wish:
    """New options, and what they were asked for with."""

    options: ClusterOptions
    where: str
    why: str
    removed: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


async def update(
    clusters: Clusters, name: str, document: Mapping[str, Any], terms: Terms
) -> Outcome:
    """Give a cluster other options.

    Raises:
        Unknown: there is no such cluster.
        InvalidInput: the options are wrong.
        ChangeRefused: a rule forbids a change; nothing was changed.
        Refused: the cluster is being deleted, or was changed by somebody else meanwhile; or it
            would not fit, though it does now.
        StateError: nothing was changed.
    """
    clusters.get(name)
    options = options_file.validate(dict(document), "options")
    return await _carry_out(
        clusters, name, _Wish(options, "options", terms.why or "updated"), terms
    )


async def rollback(clusters: Clusters, name: str, number: int | None, terms: Terms) -> Outcome:
    """Give a cluster the options of an earlier configuration again; the one before by default.

    Raises:
        InvalidInput: there is no such configuration, or its options are of no use any more.
        ChangeRefused: a rule forbids the way back; nothing was changed.
        Refused: there is no earlier one, or as `update`.
    """
    clusters.get(name)
    known = configurations.load(clusters.store, name)
    record = known.former if number is None else known.get(number)
    if record is None:
        raise Refused(f"cluster {name} has had one configuration only; there is none to return to")
    where = f"configuration {record.number}"
    options = configurations.options_of(record)
    if options is None:
        wanted = "options that this version of kubedcos understands"
        raise InvalidInput([Problem(where, "options of another version", wanted)])
    why = terms.why or f"rolled back to configuration {record.number}"
    return await _carry_out(clusters, name, _Wish(options, where, why), terms)


async def scale(
    clusters: Clusters,
    name: str,
    *,
    pod: str,
    count: int | None,
    remove: Sequence[str],
    terms: Terms,
) -> Outcome:
    """Change the number of nodes of a pool, or remove nodes by name.

    Args:
        clusters: all of them.
        name: the cluster.
        pod: the pool's pod; with `remove` alone it is not looked at.
        count: nodes that there are to be; None: as many fewer as are removed.
        remove: names of pod instances that are to go.
        terms: how it is asked for.

    Raises:
        InvalidInput: there is no such pool or instance.
        ChangeRefused: a rule forbids it; nothing was changed.
    """
    hosted = clusters.get(name)
    removed = _by_pod(hosted, remove)
    options = hosted.options
    counts = node_counts(options)
    wanted = {of: counts[of] - len(indices) for of, indices in removed.items()}
    if count is not None:
        if pod not in counts:
            pools = [pool_name(of) or "the default pool (no name)" for of in counts]
            raise InvalidInput([_unknown("pool", pool_name(pod), pools)])
        wanted[pod] = count
    document: dict[str, Any] = options.model_dump(mode="json")
    for of, many in wanted.items():
        if many < 0:
            raise InvalidInput([Problem("nodes", str(many), "0 or more", id="option-value")])
        document = with_count(options_file.validate(document, "options"), of, many)
    after = options_file.validate(document, "options")
    why = terms.why or "scaled " + ", ".join(f"{of} to {many}" for of, many in wanted.items())
    return await _carry_out(clusters, name, _Wish(after, "options", why, removed), terms)


def _by_pod(hosted: Hosted, remove: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Names of instances as numbers by pod.

    Raises:
        InvalidInput: there is no such node.
        ChangeRefused: it is a member of the control plane.
    """
    found: dict[str, tuple[int, ...]] = {}
    pools = node_counts(hosted.options)
    pods = {
        pod.instance(index): (pod.name, index)
        for pod in hosted.workload.kubernetes.spec.pods
        for index in pod.indices
    }
    nodes = [instance for instance, (pod, _) in pods.items() if pod in pools]
    for instance in dict.fromkeys(remove):
        if instance not in pods:
            raise InvalidInput([_unknown("pod", instance, nodes)])
        pod, index = pods[instance]
        if pod not in pools:
            raise ChangeRefused(
                [
                    Problem(
                        "remove",
                        instance,
                        "a node; of etcd and the control plane nothing is ever taken away",
                        id="remove-not-a-node",
                        fix=f"`kubedcos pod replace {instance}` moves it to another agent.",
                    )
                ]
            )
        found[pod] = (*found.get(pod, ()), index)
    return found


def _unknown(kind: str, name: str, known: Sequence[str] | Mapping[str, Any]) -> Problem:
    return Problem(kind, repr(name), f"one of: {', '.join(known)}", id=f"{kind}-unknown")


async def _carry_out(clusters: Clusters, name: str, wish: _Wish, terms: Terms) -> Outcome:
    async with clusters.changing:
        hosted = clusters.get(name)
        known = _may_change(clusters, hosted, terms)
        target = known.target
        assert target is not None
        found = rules.differences(hosted.options, wish.options)
        if problems := rules.problems(found, wish.where):
            raise ChangeRefused(problems)
        if not found and not wish.removed:
            return Outcome(False, target.number)
        clusters.refuse_clashes(wish.options, wish.where)
        if not terms.wait_for_capacity:
            await clusters.refuse_unfit(wish.options)
        record = known.following(
            ConfigurationRecord(
                target.number,
                configurations.text_of(wish.options),
                _indices(hosted, wish),
                made_at=clusters.clock.time(),
                by=terms.by,
                why=wish.why,
            )
        )
        after = Configurations({**known.by_number, record.number: record})
        steps = await _look_ahead(clusters, hosted, wish.options, after, terms)
        removed = tuple(step.pod_instance for step in steps if step.doing is Doing.REMOVE)
        outcome = Outcome(True, record.number, found, steps, removed)
        if terms.dry_run:
            return outcome
        tasks = tuple(hosted.scheduler.world.tasks.values())
        clusters.store.write(name, configurations.changes(known, record, tasks))
        await clusters.restart(hosted, wish.options)
        what = f"cluster change to configuration {record.number}"
        hosted.scheduler.note_action(Operator(terms.by, terms.why), what, wish.why)
        return outcome


def _may_change(clusters: Clusters, hosted: Hosted, terms: Terms) -> Configurations:
    """The cluster's configurations, if it may be changed at all."""
    name = hosted.options.name
    if hosted.deleting is not None:
        raise Refused(f"cluster {name} is being deleted")
    known = configurations.load(clusters.store, name)
    number = known.target.number if known.target else 0
    if terms.expect is not None and terms.expect != number:
        raise Refused(
            f"cluster {name} has configuration {number} by now, the change was thought out for "
            f"{terms.expect}; look at the difference again"
        )
    return known


def _indices(hosted: Hosted, wish: _Wish) -> dict[str, tuple[int, ...]]:
    """Numbers of the nodes after the change, where there are gaps."""
    before = {pod.name: pod.indices for pod in hosted.workload.kubernetes.spec.pods}
    found = {}
    for pod, count in node_counts(wish.options).items():
        after = numbers(before.get(pod, ()), count, wish.removed.get(pod, ()))
        if after != tuple(range(count)):
            found[pod] = after
    return found


async def _look_ahead(
    clusters: Clusters,
    hosted: Hosted,
    options: ClusterOptions,
    after: Configurations,
    terms: Terms,
) -> tuple[Planned, ...]:
    """Steps of the change.

    Raises:
        InvalidInput: the artefact server lacks what the new options need.
        ChangeRefused: nodes that are to go cannot be drained.
    """
    workload = await clusters.workload_for(hosted, options, after.lineage())
    try:
        steps = preview(workload.kubernetes.spec, hosted.scheduler.world)
    finally:
        await workload.kubernetes.close()
    leaving = [step.pod_instance for step in steps if step.doing is Doing.REMOVE]
    if leaving and not terms.force:
        problems = await hosted.workload.kubernetes.objections_to_leaving(leaving)
        if problems:
            raise ChangeRefused(problems)
    return steps
