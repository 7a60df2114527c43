"""`mesos-dns -config FILE`: the command line of Mesos-DNS."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from kubedcos import __version__
from kubedcos.embedded.mesos_dns.config import load
from kubedcos.embedded.mesos_dns.server import Server, log
from kubedcos.errors import KubedcosError


def main(arguments: list[str] | None = None) -> int:
    """Run until a signal; returns the exit status."""
    parser = argparse.ArgumentParser(prog="mesos-dns", allow_abbrev=False)
    parser.add_argument("-config", "--config", default="config.json", type=Path)
    parser.add_argument("-version", "--version", action="store_true")
    parser.add_argument("-v", "--v", nargs="?", const="1", default="0")
    options = parser.parse_args(arguments)
    if options.version:
        sys.stdout.write(f"{__version__}\n")
        return 0
    try:
        asyncio.run(Server(load(options.config)).run())
    except KubedcosError as error:
        log(f"ERROR: {error}")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
