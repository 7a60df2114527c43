"""What outlives the master: agents admitted, lost or gone for good; quota, weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal, Protocol

import msgspec

from kubedcos.embedded.master.machines import Machine, MachineID, Schedule
from kubedcos.embedded.master.quota import NO_QUOTA, Quota
from kubedcos.embedded.master.state import Drain, MasterState
from kubedcos.embedded.protocol import DrainConfig
from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.mesos.messages import AgentInfo, Unavailability

FILE_NAME: Final = "registry.json"


class StoredDrain(msgspec.Struct, frozen=True):
    """A drain, as far as it is."""

    config: DrainConfig
    drained: bool = False


class StoredMachine(msgspec.Struct, frozen=True):
    """A machine that is scheduled for maintenance, or in it."""

    id: MachineID
    mode: Literal["DRAINING", "DOWN"]
    unavailability: Unavailability | None = None


class Registry(msgspec.Struct, frozen=True, omit_defaults=True):
    """What operators and time have decided; times are seconds since 1970.

    Attributes:
        admitted: agents that are registered, or expected back.
        quotas, weights: by role.
        drains: by id of agents that are admitted or unreachable.
        deactivated: ids of such agents.
    """

    admitted: tuple[AgentInfo, ...] = ()
    unreachable: dict[str, float] = {}
    gone: dict[str, float] = {}
    quotas: dict[str, Quota] = {}
    weights: dict[str, float] = {}
    drains: dict[str, StoredDrain] = {}
    deactivated: tuple[str, ...] = ()
    machines: tuple[StoredMachine, ...] = ()
    schedule: Schedule = Schedule()


def registry_of(state: MasterState) -> Registry:
    """What of the state is to be stored."""
    registered = [agent.info for agent in state.agents.values()]
    known = state.agents.keys() | state.recovered.keys() | state.unreachable.keys()
    return Registry(
        admitted=(*registered, *state.recovered.values()),
        unreachable=dict(state.unreachable),
        gone=dict(state.gone),
        # A role that was reset stays listed until the master restarts, as with Mesos.
        quotas={role: quota for role, quota in state.quotas.items() if quota != NO_QUOTA},
        weights=dict(state.weights),
        drains={
            agent_id: StoredDrain(drain.config, drain.drained)
            for agent_id, drain in state.drains.items()
            if agent_id in known
        },
        deactivated=tuple(sorted(state.deactivated & known)),
        machines=tuple(
            StoredMachine(machine.id, machine.mode, machine.unavailability)
            for machine in state.machines.values()
            if machine.mode != "UP"
        ),
        schedule=state.schedule,
    )


def recover(state: MasterState, registry: Registry) -> None:
    """Begin where the last master stopped: admitted agents are expected back."""
    state.recovered = {info.id.value: info for info in registry.admitted if info.id is not None}
    state.unreachable = dict(registry.unreachable)
    state.gone = dict(registry.gone)
    state.quotas = dict(registry.quotas)
    # Those of the flag count until there are any in the registry.
    state.weights = dict(registry.weights) or state.weights
    state.drains = {
        agent_id: Drain(stored.config, stored.drained)
        for agent_id, stored in registry.drains.items()
    }
    state.deactivated = set(registry.deactivated)
    state.machines = {
        stored.id.key: Machine(stored.id, stored.mode, stored.unavailability)
        for stored in registry.machines
    }
    state.schedule = registry.schedule


def forget_old(state: MasterState, *, now: float, max_age: float, max_count: int) -> bool:
    """Drop lost and gone agents that are too old or too many; whether any was dropped."""
    dropped = False
    for known in (state.unreachable, state.gone):
        by_age = sorted(known, key=known.__getitem__)
        surplus = set(by_age[: max(len(by_age) - max_count, 0)])
        for agent_id in by_age:
            if agent_id in surplus or now - known[agent_id] > max_age:
                del known[agent_id]
                dropped = True
    return dropped


def encoded(registry: Registry) -> bytes:
    """The registry as it is stored."""
    return msgspec.json.encode(registry)


class RegistryLost(KubedcosError):
    """The registry could not be read or stored: this master cannot lead any more."""


class RegistryStore(Protocol):
    """Where the registry is. Both methods may block."""

    def load(self) -> Registry:
        """The registry, empty when there is none yet; raises `RegistryLost`, `InvalidInput`."""

    def save(self, registry: Registry) -> None:
        """Store durably; raises `RegistryLost`."""


class FileStore:
    """A registry in a directory; a crash leaves the old or the new one, never half of one."""

    def __init__(self, work_dir: Path) -> None:
        self._path = work_dir / FILE_NAME

    def load(self) -> Registry:
        """The registry, empty when there is none yet.

        Raises:
            InvalidInput: the file is damaged, or cannot be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=Registry)
        except FileNotFoundError:
            return Registry()
        except msgspec.DecodeError as error:
            wanted = "the registry as this program wrote it; restore it, or remove it to start anew"
            problem = Problem(str(self._path), str(error), wanted, "registry-damaged")
            raise InvalidInput([problem]) from error
        except OSError as error:
            wanted = "a registry that can be read, below a folder --work_dir"
            problem = Problem(str(self._path), str(error.strerror), wanted, "registry-unreadable")
            raise InvalidInput([problem]) from error

    def save(self, registry: Registry) -> None:
        """Store durably."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_suffix(".new")
        with scratch.open("wb") as file:
            file.write(encoded(registry))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)


class MemoryStore:
    """A registry that is gone with the process, for tests and `--registry=in_memory`."""

    def __init__(self) -> None:
        self._registry = Registry()

    def load(self) -> Registry:
        """The registry as saved last."""
        return self._registry

    def save(self, registry: Registry) -> None:
        """Keep it."""
        self._registry = registry
