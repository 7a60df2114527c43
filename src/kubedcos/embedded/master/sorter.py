"""Whose turn it is: dominant resource fairness over a tree of clients with weights.

Clients are roles (`a/b` stands below `a`, and what it holds counts for `a`), or the frameworks of
one role. Siblings go by their dominant share divided by their weight, then by how often they were
allocated something, then by name.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kubedcos.embedded.master.quantities import Quantities, add

DEFAULT_WEIGHT = 1.0
_OWN = "."
"""A client's own place among the clients below it; it has the default weight, as in Mesos."""


@dataclass(slots=True, eq=False)
class _Node:
    path: str
    weight: float
    parent: _Node | None
    client: str | None = None
    held: dict[str, int] = field(default_factory=dict)
    turns: int = 0
    share: float = 0.0
    children: dict[str, _Node] = field(default_factory=dict)
    sorted: list[_Node] = field(default_factory=list)


def _key(node: _Node) -> tuple[float, int, str]:
    return (node.share, node.turns, node.path)


class Sorter:
    """Clients of which some are active; the order changes with everything that is allocated.

    Args:
        total: what there is to share.
        weights: by path of a client or of an ancestor of clients.
        excluded: resources that do not count for fairness.
    """

    def __init__(
        self,
        total: Quantities,
        weights: Mapping[str, float] | None = None,
        excluded: frozenset[str] = frozenset(),
    ) -> None:
        self._total = {name: all_ for name, all_ in total.items() if name not in excluded and all_}
        self._weights = weights or {}
        self._root = _Node("", DEFAULT_WEIGHT, None)
        self._leaves: dict[str, _Node] = {}
        self._sorted = False
        self._order: list[str] | None = None

    def hold(self, client: str, held: Quantities, turns: int = 0) -> None:
        """A client holds that much already, and has had that many turns."""
        node: _Node | None = self._leaf(client)
        while node is not None:
            add(node.held, held)
            node.turns += turns
            node = node.parent
        self._sorted = False

    def activate(self, client: str) -> None:
        """The client wants to be among those in `order`."""
        self._leaf(client).client = client
        self._sorted = False

    def allocated(self, client: str, more: Quantities) -> None:
        """The client got that much, which may move it and its ancestors back."""
        node = self._leaf(client)
        while node.parent is not None:
            add(node.held, more)
            node.turns += 1
            node.share = self._share(node)
            if self._sorted and len(node.parent.sorted) > 1:
                self._move(node, node.parent.sorted)
            node = node.parent

    def order(self) -> Sequence[str]:
        """Active clients, the next in turn first; a later change makes a new list."""
        if not self._sorted:
            self._sort(self._root)
            self._sorted, self._order = True, None
        if self._order is None:
            self._order = []
            _list(self._root, self._order)
        return self._order

    def _leaf(self, client: str) -> _Node:
        leaf = self._leaves.get(client)
        if leaf is None:
            node, path = self._root, ""
            for part in (*client.split("/"), _OWN):
                path = f"{path}/{part}" if path else part
                below = node.children.get(part)
                if below is None:
                    below = _Node(path, self._weights.get(path, DEFAULT_WEIGHT), node)
                    node.children[part] = below
                node = below
            self._leaves[client] = leaf = node
        return leaf

    def _share(self, node: _Node) -> float:
        held = node.held
        share = max((held.get(name, 0) / all_ for name, all_ in self._total.items()), default=0.0)
        return share / node.weight

    def _move(self, node: _Node, siblings: list[_Node]) -> None:
        place, key = siblings.index(node), _key(node)
        late = place + 1 < len(siblings) and _key(siblings[place + 1]) < key
        early = place > 0 and key < _key(siblings[place - 1])
        if late or early:
            del siblings[place]
            insort(siblings, node, key=_key)
            self._order = None

    def _sort(self, node: _Node) -> None:
        for child in node.children.values():
            child.share = self._share(child)
            self._sort(child)
        node.sorted = sorted(node.children.values(), key=_key)


def _list(node: _Node, found: list[str]) -> None:
    for child in node.sorted:
        if child.client is not None:
            found.append(child.client)
        _list(child, found)
