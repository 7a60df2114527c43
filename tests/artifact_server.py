"""An artefact server with an index of everything that a cluster needs, and nothing else."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kubedcos.kubernetes import components


class _Index(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        names = {
            name
            for recipe in components.RECIPES.values()
            for name in (*recipe.binaries, *recipe.host_binaries)
        }
        artifacts = [
            {"name": name, "version": "1.36.3", "filename": name, "sha256": "0" * 64}
            for name in sorted(names)
        ]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"artifacts": artifacts}).encode())

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving() -> Iterator[str]:
    """The URL that `artifacts.url` of a cluster's options takes."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Index) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
