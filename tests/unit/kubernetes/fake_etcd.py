"""etcd's membership API as etcd 3.6 has it, over httpx2's mock transport."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx2


@dataclass
class FakeMember:
    id: int
    peer_url: str
    name: str = ""
    learner: bool = False
    alive: bool = False
    caught_up: bool = True

    @property
    def host(self) -> str:
        return self.peer_url.removeprefix("https://").removesuffix(":2380")

    def as_json(self) -> dict[str, Any]:
        """Without what has its default, as protocol buffers are written."""
        found: dict[str, Any] = {"ID": str(self.id), "peerURLs": [self.peer_url]}
        if self.name:
            found |= {"name": self.name, "clientURLs": [f"https://{self.host}:2379"]}
        return found | ({"isLearner": True} if self.learner else {})


@dataclass
class FakeEtcd:
    """A cluster that refuses what etcd refuses; remembers the calls that changed it."""

    members: list[FakeMember] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    lost_answers: int = 0
    _next: int = 100

    def start(self, name: str, host: str, *, founder: bool = False) -> FakeMember:
        """A process starts at `host`: as the first member, or as one that was added."""
        if founder:
            self._next += 1
            self.members.append(FakeMember(self._next, f"https://{host}:2380"))
        member = self.at(host)
        member.name, member.alive = name, True
        return member

    def at(self, host: str) -> FakeMember:
        return next(member for member in self.members if member.host == host)

    def names(self) -> list[str]:
        return sorted(
            f"{member.name or '?'}@{member.host}" + (" (learner)" if member.learner else "")
            for member in self.members
        )

    @property
    def client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=httpx2.MockTransport(self.handle))

    def handle(self, call: httpx2.Request) -> httpx2.Response:
        here = next((m for m in self.members if m.host == call.url.host and m.alive), None)
        if here is None:
            raise httpx2.ConnectError("refused")
        body = json.loads(call.content or b"{}")
        path = call.url.path.removeprefix("/v3/")
        leader = self._voters(alive=True)[0].id if self._has_quorum() else 0
        if path == "maintenance/status":
            status = {"header": {"member_id": str(here.id)}, "leader": str(leader)}
            return httpx2.Response(200, json=status | {"isLearner": here.learner})
        if call.url.path == "/health":
            return httpx2.Response(200, json={"health": "true" if leader else "false"})
        if here.learner:
            return _fault(9, "etcdserver: rpc not supported for learner")
        if not leader:
            return _fault(14, "etcdserver: no leader")
        answer = self._act(path, body)
        if self.lost_answers and path != "cluster/member/list":
            self.lost_answers -= 1
            raise httpx2.ReadTimeout("")
        return answer

    def _act(self, path: str, body: dict[str, Any]) -> httpx2.Response:
        number = int(body.get("ID", 0))
        found = next((member for member in self.members if member.id == number), None)
        if path == "cluster/member/list":
            return self._reply()
        if path == "maintenance/alarm":
            return httpx2.Response(200, json={})
        if path == "cluster/member/add":
            return self._add(body["peerURLs"][0], learner=body.get("isLearner", False))
        if found is None:
            return _fault(5, "etcdserver: member not found")
        if path == "cluster/member/remove":
            voters, alive = self._voters(), self._voters(alive=True)
            if found.alive and not found.learner and len(alive) - 1 < 1 + (len(voters) - 1) // 2:
                return _fault(14, "etcdserver: unhealthy cluster")
            self.changes.append(f"remove {found.name or '?'}@{found.host}")
            self.members.remove(found)
            return self._reply()
        if path == "cluster/member/promote":
            if not found.learner:
                return _fault(9, "etcdserver: can only promote a learner member")
            if not found.alive or not found.caught_up:
                return _fault(
                    9, "etcdserver: can only promote a learner member which is in sync with leader"
                )
            self.changes.append(f"promote {found.name}@{found.host}")
            found.learner = False
            return self._reply()
        return httpx2.Response(404, text="404 page not found")

    def _add(self, url: str, *, learner: bool) -> httpx2.Response:
        if any(member.peer_url == url for member in self.members):
            return _fault(9, "etcdserver: Peer URLs already exists")
        if any(member.learner for member in self.members):
            return _fault(9, "etcdserver: too many learner members in cluster")
        if len(self._voters(alive=True)) < len(self._voters()):
            return _fault(14, "etcdserver: unhealthy cluster")
        self._next += 1
        member = FakeMember(self._next, url, learner=learner)
        self.changes.append(f"add {member.host}")
        self.members.append(member)
        return httpx2.Response(
            200,
            json={"member": member.as_json(), "members": [m.as_json() for m in self.members]},
        )

    def _voters(self, *, alive: bool = False) -> list[FakeMember]:
        return [m for m in self.members if not m.learner and (m.alive or not alive)]

    def _has_quorum(self) -> bool:
        return len(self._voters(alive=True)) > len(self._voters()) // 2

    def _reply(self) -> httpx2.Response:
        members = [member.as_json() for member in self.members]
        return httpx2.Response(200, json={"header": {"cluster_id": "7"}, "members": members})


def _fault(code: int, message: str) -> httpx2.Response:
    status = {5: 404, 9: 400, 14: 503}[code]
    return httpx2.Response(status, json={"code": code, "message": message, "details": []})
