"""Where the instances of one pod are, and where the next may be: rules that look at the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import lcm

from kubedcos.model.constraint import HOSTNAME, REGION, ZONE, Constraint, Operator
from kubedcos.model.offer import Agent
from kubedcos.offers import rules
from kubedcos.offers.requirement import KnownAgent, Requirement, Surroundings, sums
from kubedcos.offers.rules import Key

ONE_EACH = "one on each agent"
TO_LEAVE = "agents to leave"
_COUNTED = frozenset({Operator.UNIQUE, Operator.MAX_PER})


@dataclass(slots=True)
class Spread:
    """Instances over the values of a field, evenly or in proportion to the agents there.

    Attributes:
        rule: as it is shown.
        over: the field.
        least: as many values as there are said to be; 0 when only what is known counts.
        homes: agents that could ever hold an instance, by value.
        free: those of them that hold none yet.
        taken: instances by value.
        _whole: what the homes of every value divide; they are known before anything is placed.
    """

    rule: str
    over: str
    proportional: bool = False
    least: int = 0
    homes: Counter[Key] = field(default_factory=Counter)
    free: Counter[Key] = field(default_factory=Counter)
    taken: Counter[Key] = field(default_factory=Counter)
    _choices: frozenset[Key] | None = None
    _fresh: bool = False
    _whole: int = 0

    def note(self, key: Key | None, instances: int, homes: int) -> None:
        """So many instances more, and so many free agents more, at a value."""
        if key is None:
            return
        self.taken[key] += instances
        self.free[key] += homes
        self._fresh = False

    @property
    def choices(self) -> frozenset[Key] | None:
        """Values that the next instance may go to; None when any will do.

        A value where no agent is known that could take one more is no choice. In proportion means
        by Sainte-Laguë's divisors, so that few instances reach small places, too.
        """
        if not self._fresh:
            self._choices, self._fresh = self._found(), True
        return self._choices

    def _found(self) -> frozenset[Key] | None:
        possible = [key for key, agents in self.free.items() if agents > 0]
        if self.least and sum(1 for count in self.taken.values() if count > 0) < self.least:
            return frozenset(key for key in possible if not self.taken[key])
        if not possible:
            return None
        if self.proportional and not self._whole:
            self._whole = lcm(*self.homes.values())
        shares = [self._share(key) for key in possible]
        lowest = min(shares)
        return frozenset(
            [key for key, share in zip(possible, shares, strict=True) if share == lowest]
        )

    def _share(self, key: Key) -> tuple[int, int]:
        # In whole numbers, over what all divisors divide: equal shares are equal exactly.
        taken = self.taken[key]
        return (2 * taken + 1) * self._whole // self.homes[key] if self._whole else 0, taken


class Standing:
    """The instances of a pod as its rules see them, kept up to date as more are placed.

    Args:
        requirement: of any instance of the pod.
        surroundings: agents known, and where they are.
        placed: agents by pod name and index, of all pods.
        portless: ids of agents that offer, and not a port that an instance needs.
    """

    def __init__(
        self,
        requirement: Requirement,
        surroundings: Surroundings,
        placed: Mapping[tuple[str, int], Agent],
        portless: Collection[str] = (),
    ) -> None:
        self._pod = requirement.pod
        self._reserved = requirement.pod.reserved
        self._rules = requirement.pod.placement
        self._around = surroundings
        self._siblings = frozenset({self._pod.name, *self._rules.apart_from})
        self._needs = sums(requirement.to_reserve)
        self._avoid = requirement.avoid
        self._held: dict[str, dict[tuple[str, int], None]] = {}
        self._placed: dict[int, Agent] = {}
        self._counts = {
            rule: Counter[Key]() for rule in self._rules.rules if rule.operator in _COUNTED
        }
        self._clusters = tuple(
            rule
            for rule in self._rules.rules
            if rule.operator is Operator.CLUSTER and not rule.value
        )
        self.spreads = tuple(self._spreads())
        fields = [spread.over for spread in self.spreads]
        fields += [rule.field for rule in self._clusters]
        self._fields = (*fields, ZONE) if self._reserved else tuple(fields)
        self._portless = portless
        self._homes: set[str] = set()
        self._nearly: dict[str, list[Agent]] | None = None
        self._without: dict[str, list[frozenset[Key] | None]] = {}
        if self.spreads:
            self._survey()
        for (pod, index), agent in placed.items():
            if pod in self._siblings:
                self.put(pod, index, agent)

    def put(self, pod: str, index: int, agent: Agent) -> None:
        """An instance lives on an agent."""
        if pod in self._siblings:
            self._count(pod, index, agent, 1)

    def lift(self, index: int) -> Agent | None:
        """Leave an instance of the pod out of account; returns where it was."""
        agent = self._placed.get(index)
        if agent is not None:
            self._count(self._pod.name, index, agent, -1)
        return agent

    def signature(self, agent: Agent) -> tuple[Key | None, ...]:
        """What of an agent rules other than the counting ones look at; the same for many agents."""
        return tuple([self._key(agent, field) for field in self._fields])

    def crowd(self, agent: Agent) -> int:
        """Instances in an agent's zone, for pods whose members had better not fall together."""
        if not self._reserved:
            return 0
        zone = self._key(agent, ZONE)
        return sum(self._key(other, ZONE) == zone for other in self._placed.values())

    def full(self, agent: Agent) -> bool:
        """Whether no further instance may be on an agent, however others are moved about."""
        if not self._counts and not self._held.get(agent.id):
            return False
        return next(self.counting(agent), None) is not None

    def balanced(self, agent: Agent) -> bool:
        """Whether the rules that `unbalanced` tells of let the next instance be on an agent."""
        return next(self.unbalanced(agent), None) is None

    def broken(self, agent: Agent) -> Iterator[tuple[str, str]]:
        """Rules that an agent breaks because of where others are: the rule, and a clause why."""
        yield from self.counting(agent)
        yield from self.unbalanced(agent)

    def unbalanced(self, agent: Agent) -> Iterator[tuple[str, str]]:
        """Of `broken`, those that are the same for all agents of one signature."""
        for spread in self.spreads:
            key, choices = self._key(agent, spread.over), spread.choices
            if choices is not None and key is not None and key not in choices:
                yield spread.rule, f"is in {_called(spread.over)} {'/'.join(key)}"
        yield from self._elsewhere(agent)

    def _elsewhere(self, agent: Agent) -> Iterator[tuple[str, str]]:
        """Rules by which all instances share a value that is not this agent's."""
        for rule in self._clusters:
            first, key = self._first(rule), self._key(agent, rule.field)
            if first is not None and key != first and key is not None:
                called = _called(rule.field)
                yield str(rule), f"has {called} {'/'.join(key)} instead of {'/'.join(first)}"

    def fixed(self, agent: Agent) -> Iterator[tuple[str, str]]:
        """Of `broken`, those that hold whichever agents could take an instance."""
        yield from self.counting(agent)
        yield from self._elsewhere(agent)

    def admits(self, agent: Agent, constraint: str) -> bool:
        """Whether an agent would be among the places to spread over, but for one constraint.

        Args:
            agent: any.
            constraint: a rule of placement as `broken` names it, or ``cpus``, ``mem`` or ``ports``.
        """
        if constraint not in self._without:
            self._without[constraint] = [
                self._choices_without(spread, constraint) for spread in self.spreads
            ]
        keys = (self._key(agent, spread.over) for spread in self.spreads)
        return all(
            choices is None or key is None or key in choices
            for key, choices in zip(keys, self._without[constraint], strict=True)
        )

    def counting(self, agent: Agent) -> Iterator[tuple[str, str]]:
        """Of `broken`, those that only more instances can bring about, never fewer places."""
        held = self._held.get(agent.id, {})
        for pod, index in sorted(held):
            if pod != self._pod.name or self._rules.unique_agent:
                yield ONE_EACH, f"has {pod}-{index} already"
        for rule, counts in self._counts.items():
            key = self._key(agent, rule.field)
            most = rule.number or 1
            if key is not None and counts[key] >= most:
                instances = "an instance" if most == 1 else f"{counts[key]} instances"
                yield str(rule), f"has {instances} on {_called(rule.field)} {'/'.join(key)} already"

    def _spreads(self) -> Iterator[Spread]:
        by = self._rules.spread_by
        if by:
            field = REGION if by == "region" else ZONE
            yield Spread(f"spread by {by}", field, proportional=self._rules.proportional)
        for rule in self._rules.rules:
            # One on each agent is as even as hosts can be.
            told = rule.field == HOSTNAME and self._rules.unique_agent
            if rule.operator is Operator.GROUP_BY and not told:
                yield Spread(str(rule), rule.field, least=rule.number)

    def _survey(self) -> None:
        """Which agents could ever hold an instance."""
        for known in self._around.agents:
            agent = known.agent
            if agent.id in self._avoid or agent.id in self._portless or self._too_small(known):
                continue
            if next(rules.broken_by(self._rules, agent, self._around), None) is not None:
                continue
            self._homes.add(agent.id)
            for spread in self.spreads:
                key = self._key(agent, spread.over)
                if key is not None:
                    spread.homes[key] += 1
                    spread.note(key, 0, 1)

    def _too_small(self, known: KnownAgent) -> list[str]:
        """What an agent has never offered enough of beyond what other pods of ours hold there."""
        held = self._around.held.get(known.agent.id)
        others = [held[pod] for pod in held if pod not in self._siblings] if held else ()
        short = []
        for name in ("cpus", "mem"):
            foreign = sum([amounts.get(name, 0) for amounts in others]) if others else 0
            if known.largest.get(name, 0) - foreign < self._needs[name]:
                short.append(name)
        return short

    def _nearly_homes(self) -> dict[str, list[Agent]]:
        """Agents that only one constraint keeps from ever holding an instance, by that."""
        found: dict[str, list[Agent]] = {}
        for known in self._around.agents:
            agent = known.agent
            if agent.id in self._homes:
                continue
            reasons = {*self._too_small(known)}
            reasons |= {rule for rule, _ in rules.broken_by(self._rules, agent, self._around)}
            if agent.id in self._avoid:
                reasons.add(TO_LEAVE)
            if agent.id in self._portless:
                reasons.add("ports")
            if len(reasons) == 1:
                found.setdefault(reasons.pop(), []).append(agent)
        return found

    def _choices_without(self, spread: Spread, constraint: str) -> frozenset[Key] | None:
        """What `spread.choices` would be without a constraint."""
        if self._nearly is None:
            self._nearly = self._nearly_homes()
        homes, free = Counter(spread.homes), Counter(spread.free)
        for agent in self._nearly.get(constraint, ()):
            key = self._key(agent, spread.over)
            if key is not None:
                homes[key] += 1
                free[key] += self._is_free(agent)
        without = replace(spread, homes=homes, free=free, _fresh=False, _whole=0)
        if constraint == ONE_EACH:
            without.free = homes
        return without.choices

    def _count(self, pod: str, index: int, agent: Agent, more: int) -> None:
        self._without.clear()
        could = agent.id in self._homes and self._is_free(agent)
        held = self._held.setdefault(agent.id, {})
        if more > 0:
            held[pod, index] = None
        else:
            held.pop((pod, index), None)
        ours = pod == self._pod.name
        if ours and more > 0:
            self._placed[index] = agent
        elif ours:
            self._placed.pop(index, None)
        if ours:
            for rule, counts in self._counts.items():
                key = self._key(agent, rule.field)
                if key is not None:
                    counts[key] += more
        homes = self._is_free(agent) - could if agent.id in self._homes else 0
        for spread in self.spreads:
            spread.note(self._key(agent, spread.over), more if ours else 0, homes)

    def _is_free(self, agent: Agent) -> bool:
        held: Iterable[tuple[str, int]] = self._held.get(agent.id, {})
        if self._rules.unique_agent:
            return not self._held.get(agent.id)
        return all(pod == self._pod.name for pod, _ in held)

    def _first(self, rule: Constraint) -> Key | None:
        """The value of the instance of the lowest index, which the others follow."""
        if not self._placed:
            return None
        return self._key(self._placed[min(self._placed)], rule.field)

    def _key(self, agent: Agent, name: str) -> Key | None:
        # Those that are only spread may be without a region or zone; it is one place more then.
        if name == REGION:
            return (self._around.region(agent),)
        if name == ZONE:
            return (self._around.region(agent), agent.zone)
        return rules.key(agent, name, self._around)


def _called(name: str) -> str:
    return name.removeprefix("@")
