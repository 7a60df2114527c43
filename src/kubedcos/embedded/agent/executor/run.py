"""Entry of the executor process: `python -I -S run.py LAUNCH_FILE LISTENING_FD`.

Started by its path, without the site's packages, so that it is small and starts at once. With
``group`` in the launch description it is the executor of task groups, else that of one command.
"""

import json
import os
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[4]))

from kubedcos.embedded.agent.executor.command import set_limits
from kubedcos.embedded.agent.executor.enclosure import enter, try_limits
from kubedcos.embedded.agent.executor.group import GroupSupervisor
from kubedcos.embedded.agent.executor.loop import log
from kubedcos.embedded.agent.executor.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    """Run the launch description in the file `arguments[0]`; `arguments[1]` is the listener."""
    launch = json.loads(Path(arguments[0]).read_text())
    listener = socket.socket(fileno=int(arguments[1]))
    listener.set_inheritable(False)
    try:
        pid = enter(launch.get("enclosure") or {}, lambda: os._exit(0))
        problem = try_limits(launch.get("rlimits") or (), set_limits)
    except OSError as error:
        problem = f"Failed to prepare the container: {error.strerror or error}"
    if problem is not None:
        log(problem)
        return 1
    supervisor = GroupSupervisor if launch.get("group") else Supervisor
    return supervisor(launch, listener, pid).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
