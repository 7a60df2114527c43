"""`python -m kubedcos.embedded.master`, with Mesos' own flags."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from kubedcos.clock import SystemClock
from kubedcos.embedded import log_files, serving
from kubedcos.embedded.master.app import MasterApp
from kubedcos.embedded.master.engine import Engine
from kubedcos.embedded.master.options import MasterOptions, read_options
from kubedcos.embedded.protocol import MESOS_VERSION
from kubedcos.errors import KubedcosError
from kubedcos.mesos.zookeeper import zookeeper_address


async def serve(
    options: MasterOptions,
    engine: Engine | None = None,
    beside: Callable[[], Coroutine[Any, Any, None]] | None = None,
) -> int:
    """Run the master until a signal ends it.

    A master that must not lead any longer ends the process at once with status 1, as Mesos does:
    whoever is connected sees the connection break, and nothing more is answered.

    Raises:
        KubedcosError: nobody can listen at its address.

    Args:
        options: from the flags.
        engine: the one to serve; one of its own by default.
        beside: runs beside it until the end.
    """
    serving.look_for_garbage_rarely()
    engine = engine or Engine(options, SystemClock())
    server = serving.server(
        MasterApp(engine), host=options.bind, port=options.port, tls=options.tls
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.end)
    engine.unfit = _exit
    election = None
    if options.zk is None:
        engine.elect(engine.store.load())
    else:
        # Without kazoo, which these need, a master starts faster.
        from kubedcos.embedded.master.election import Election  # noqa: PLC0415  see above
        from kubedcos.embedded.master.leadership import Leadership  # noqa: PLC0415  see above

        leadership = Leadership(engine, _exit)
        election = Election(
            zookeeper_address(options.zk, "flag --zk"),
            engine.state.info,
            options.zk_session_timeout,
            leadership.led_by,
            leadership.lost,
        )
        if not options.in_memory:
            engine.store = election.registry(options.registry_store_timeout)
        engine.spawn(election.start())
    if beside is not None:
        engine.spawn(beside())
    await server.serve()
    await engine.close()
    if election is not None:
        await election.stop()
    return 0


def _exit(reason: str) -> None:
    print(f"EXIT with status 1: {reason}", file=sys.stderr, flush=True)
    os._exit(1)


def main(arguments: list[str]) -> int:
    """Read flags and serve; the exit status."""
    if "--version" in arguments:
        print(f"mesos {MESOS_VERSION} (kubedcos embedded)")
        return 0
    try:
        options = read_options(arguments, os.environ)
        log_files.configure(
            "mesos-master",
            options.hostname,
            options.flags.required("logging_level"),
            quiet=options.flags.boolean("quiet"),
            log_dir=options.flags.text("log_dir"),
        )
    except KubedcosError as error:
        print(error, file=sys.stderr)
        return 1
    serving.raise_descriptor_limit()
    try:
        return asyncio.run(serve(options))
    except KubedcosError as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
