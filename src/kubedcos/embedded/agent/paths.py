"""Where things lie in an agent's work and runtime directories; the sandbox part is Mesos' own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Run:
    """Names of one run of an executor (one container)."""

    framework_id: str
    executor_id: str
    container_id: str


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths below `work_dir` (persistent) and `runtime_dir` (gone after a boot)."""

    work_dir: Path
    runtime_dir: Path

    @property
    def meta(self) -> Path:
        """What must survive a restart of the agent."""
        return self.work_dir / "meta"

    @property
    def boot_id(self) -> Path:
        """Boot id of the machine at the last start of the agent."""
        return self.meta / "boot_id"

    @property
    def resources(self) -> Path:
        """Dynamic reservations and persistent volumes."""
        return self.meta / "resources" / "resources.json"

    @property
    def latest(self) -> Path:
        """Link to the current identity; operators remove it to get a new agent id."""
        return self.meta / "slaves" / "latest"

    def identity(self, agent_id: str) -> Path:
        """Meta directory of one agent id."""
        return self.meta / "slaves" / agent_id

    def info(self, agent_id: str) -> Path:
        """AgentInfo as first registered."""
        return self.identity(agent_id) / "slave.info"

    def drain(self, agent_id: str) -> Path:
        """How the agent is being drained."""
        return self.identity(agent_id) / "drain.config"

    def framework(self, agent_id: str, framework_id: str) -> Path:
        """Meta directory of a framework."""
        return self.identity(agent_id) / "frameworks" / framework_id

    def run(self, agent_id: str, run: Run) -> Path:
        """Meta directory of a run: task, launch description, journal, updates."""
        executors = self.framework(agent_id, run.framework_id) / "executors"
        return executors / run.executor_id / "runs" / run.container_id

    def sandbox(self, agent_id: str, run: Run) -> Path:
        """The task's working directory."""
        return self.executor_sandboxes(agent_id, run) / "runs" / run.container_id

    def executor_sandboxes(self, agent_id: str, run: Run) -> Path:
        """What is above the `runs` of an executor."""
        frameworks = self.work_dir / "slaves" / agent_id / "frameworks"
        return frameworks / run.framework_id / "executors" / run.executor_id

    def socket(self, container_id: str) -> Path:
        """Where the executor listens."""
        return self.runtime_dir / "executors" / f"{container_id}.sock"

    def volume(self, role: str, volume_id: str, root: str | None = None) -> Path:
        """Directory of a persistent volume, on the root disk or below a PATH disk's `root`."""
        base = Path(root) if root else self.work_dir
        return base / "volumes" / "roles" / role.replace("/", " ") / volume_id


def virtual_path(run: Run) -> str:
    """The stable path under which Mesos shows the latest run's sandbox."""
    return f"/frameworks/{run.framework_id}/executors/{run.executor_id}/runs/latest"
