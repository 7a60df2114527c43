"""What evaluation found: the choice, or why there is none, agent by agent and stage by stage.

Bounded however many agents there are: all are counted, the nearest to fitting are told in full.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from kubedcos.model.offer import Agent, Resource, amount_text
from kubedcos.offers.fit import Fit
from kubedcos.offers.placement import PLACEMENT, Finding
from kubedcos.offers.requirement import UNITS
from kubedcos.offers.standing import Standing

MOST_AGENTS = 40
"""Agents that an outcome tells of in full."""
_NAMED_AT_MOST = 3
STAGES = (PLACEMENT, "reservation", "cpus", "mem", "disk", "ports", "volumes")
"""Stages in the order of evaluation; all are tried on every agent."""


@dataclass(frozen=True, slots=True)
class AgentOffers:
    """All offers of one agent to one role; one ACCEPT takes them together."""

    agent: Agent
    offer_ids: tuple[str, ...]
    resources: tuple[Resource, ...]
    unavailable_from: float | None = None
    role: str = ""


@dataclass(frozen=True, slots=True, order=True)
class Score:
    """Why one fitting agent is preferred to another; the lowest wins, fields in this order.

    Attributes:
        is_new: it does not hold an earlier reservation of the instance.
        leaving: maintenance of it is planned.
        common: for pods with a role of their own, that nothing there is reserved for it.
        crowd: instances in its zone, for members of a quorum.
        scarce: kinds of resources there that the instance has no use for, such as GPUs.
        spare: what is left beyond the instance, in thousandths of the instance's own needs, of
            the resource that runs out first: the tightest fit leaves large agents to others.
        total: all that the agent offers, likewise.
        agent_id: settles the rest.
    """

    is_new: bool
    leaving: bool
    common: bool
    crowd: int
    scarce: int
    spare: int
    total: int
    agent_id: str

    def __str__(self) -> str:
        """Score in words."""
        parts = [] if self.is_new else ["holds its reservation"]
        if self.leaving:
            parts.append("maintenance is planned")
        if self.crowd:
            parts.append(f"{self.crowd} in its zone")
        if self.scarce:
            parts.append(f"{self.scarce} scarce resources")
        parts.append(f"room for {amount_text(self.spare)} more")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class StageVerdict:
    """What one stage said of one agent."""

    stage: str
    passed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What evaluation said of one agent: a fit with its score, or findings."""

    offers: AgentOffers
    fit: Fit | None = None
    findings: tuple[Finding, ...] = ()
    score: Score | None = None

    @property
    def placeable(self) -> bool:
        """Whether the pod instance may be there, resources aside."""
        return not any(finding.rule == PLACEMENT for finding in self.findings)

    @property
    def stages(self) -> tuple[StageVerdict, ...]:
        """Every stage's verdict; what passed says so without figures."""
        broken: dict[str, list[str]] = {}
        for finding in self.findings:
            stage = finding.rule if finding.rule in STAGES else "volumes"
            broken.setdefault(stage, []).append(finding.reason)
        return tuple(
            StageVerdict(stage, stage not in broken, ", ".join(broken.get(stage, ())))
            for stage in STAGES
        )


@dataclass(frozen=True, slots=True)
class Shortfall:
    """A resource that no agent that the instance may be on has enough of; thousandths."""

    resource: str
    needed: int
    best: int
    hostname: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best verdict if any fits, else why none does.

    Attributes:
        reason: a sentence for people.
        verdicts: of at most `MOST_AGENTS` agents, those nearest to fitting first.
        agents: how many were looked at.
        rejected: how many agents failed, by stage and rule.
        binding: of `rejected`, what keeps most agents from fitting all by itself: more would do
            without it than without anything else. Empty when every agent lacks two things.
        shortfall: what is short everywhere.
        at: when this was found, seconds since 1970; 0 where nobody asked the time.
    """

    chosen: Verdict | None
    reason: str
    verdicts: tuple[Verdict, ...] = ()
    agents: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    binding: str = ""
    shortfall: tuple[Shortfall, ...] = ()
    at: float = 0.0


def refused(verdicts: Sequence[Verdict], where: str, standing: Standing | None = None) -> Outcome:
    """The outcome when nothing fits.

    Args:
        verdicts: of every agent looked at.
        where: the instance's scope, such as ``in region dc-b``; empty when anywhere.
        standing: where the other instances are; None where that does not count.
    """
    short = _shortfalls([verdict for verdict in verdicts if verdict.placeable])
    rejected = Counter(
        stage
        for verdict in verdicts
        for stage in dict.fromkeys(finding.stage for finding in verdict.findings)
    )
    binding, count = _binding(verdicts, standing)
    if binding:
        rejected[binding] = count
    nearest = sorted(
        verdicts, key=lambda v: (not v.placeable, len(v.findings), v.offers.agent.hostname)
    )
    return Outcome(
        chosen=None,
        reason=_sentence(verdicts, short, where),
        verdicts=tuple(nearest[:MOST_AGENTS]),
        agents=len(verdicts),
        rejected=dict(sorted(rejected.items(), key=lambda pair: (-pair[1], pair[0]))),
        binding=binding,
        shortfall=short,
    )


def _binding(verdicts: Sequence[Verdict], standing: Standing | None) -> tuple[str, int]:
    """What keeps most agents from fitting all by itself, and how many fail by it at all.

    Where instances are spread follows from the other constraints: a place is passed over that has
    no port for them, and would be their place if it had. So without a constraint it is asked anew.
    """
    spreading = {f"{PLACEMENT} {spread.rule}" for spread in standing.spreads} if standing else set()
    alone: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found = {finding.constraint: finding for finding in verdict.findings}
        rest = found.keys() - spreading if len(found) > 1 else found
        if len(rest) == 1 and not spreading.issuperset(rest):
            (constraint,) = rest
            only = found[constraint]
            name = only.detail if only.rule == PLACEMENT else only.rule
            if standing is None or standing.admits(verdict.offers.agent, name):
                alone.setdefault(constraint, []).append(verdict)
        elif len(found) == 1:
            alone.setdefault(next(iter(found)), []).append(verdict)
    if not alone:
        return "", 0
    most = max(map(len, alone.values()))
    constraint = min(name for name, lacking in alone.items() if len(lacking) == most)
    # Where all of them lack the same port and nothing but that, it is told which.
    stages = {
        finding.stage
        for verdict in alone[constraint]
        for finding in verdict.findings
        if finding.constraint == constraint
    }
    name = stages.pop() if len(stages) == 1 else constraint
    failing = sum(
        any(name in {finding.stage, finding.constraint} for finding in verdict.findings)
        for verdict in verdicts
    )
    return name, failing


def _sentence(verdicts: Sequence[Verdict], short: Sequence[Shortfall], where: str) -> str:
    """Why nothing fits, as ``needs 3 cpus in region dc-b; best offer there: 2.1 (b1)``."""
    there = f" {where}" if where else ""
    if not verdicts:
        return f"needs an offer{there}; there is none"
    placeable = [verdict for verdict in verdicts if verdict.placeable]
    if not placeable:
        seen = _join([f"{_host(v)} {v.findings[0].reason}" for v in _first(verdicts)], verdicts)
        return f"needs an agent{there or ' that its placement allows'}; of those offering, {seen}"
    if short:
        reference = "best offer there" if there else "best offer"
        return "; ".join(
            f"needs {amount_text(each.needed)} {UNITS[each.resource]}{there};"
            f" {reference}: {amount_text(each.best)} ({each.hostname})"
            for each in short
        )
    nearest = sorted(placeable, key=lambda v: len(v.findings))
    lacks = [
        f"{_host(v)} " + ", ".join(finding.reason for finding in v.findings)
        for v in _first(nearest)
    ]
    return f"no single agent{there} has everything: {_join(lacks, placeable)}"


def _shortfalls(placeable: Sequence[Verdict]) -> tuple[Shortfall, ...]:
    """Resources that are short on each of these agents."""
    if not placeable:
        return ()
    counts: Counter[str] = Counter()
    best: dict[str, tuple[Finding, Verdict]] = {}
    for verdict in placeable:
        for finding in verdict.findings:
            # Without figures it is not the amount that is short.
            if finding.rule not in UNITS or not finding.needed:
                continue
            counts[finding.rule] += 1
            known = best.get(finding.rule)
            if known is None or finding.available > known[0].available:
                best[finding.rule] = (finding, verdict)
    return tuple(
        Shortfall(name, best[name][0].needed, best[name][0].available, _host(best[name][1]))
        for name in UNITS
        if counts[name] == len(placeable)
    )


def _first(verdicts: Sequence[Verdict]) -> Iterable[Verdict]:
    return verdicts[:_NAMED_AT_MOST]


def _join(texts: Sequence[str], all_of_them: Sequence[Verdict]) -> str:
    more = len(all_of_them) - _NAMED_AT_MOST
    shown = "; ".join(texts)
    return f"{shown}; and {more} more" if more > 0 else shown


def _host(verdict: Verdict) -> str:
    return verdict.offers.agent.hostname
