"""Write docs/openapi.json from the API itself.

python docs/generate_openapi.py           write
python docs/generate_openapi.py --check   exit 1 and name what would change
"""

from __future__ import annotations

import json
import sys
from typing import Final

from page_blocks import ROOT, write_or_check

from kubedcos.api import app
from kubedcos.api.hosting import Clusters
from kubedcos.clock import SystemClock
from kubedcos.state.memory import MemoryStore

DOCUMENT: Final = ROOT / "docs/openapi.json"


def document() -> str:
    """The OpenAPI document, as the service answers it at /v1/openapi.json."""

    def nothing(*_: object) -> object:
        raise AssertionError("no cluster is made here")

    clusters = Clusters(
        store=MemoryStore(),
        clock=SystemClock(),
        make_workload=nothing,
        framework=nothing,
        connect=nothing,
    )
    return json.dumps(app.build(clusters, "none").openapi(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(write_or_check(__doc__, {DOCUMENT: document}))
