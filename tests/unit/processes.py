"""Whether processes that a test has started are still there."""

from pathlib import Path

from tests.waiting import DEADLINE, until


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the latter when it ends while it is read
        return False
    return state not in {"Z", "X"}


async def until_dead(pid: int, seconds: float = DEADLINE) -> None:
    """Wait until a process has ended; fails after that long."""
    await until(lambda: not alive(pid), seconds)
