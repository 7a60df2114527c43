"""`/files/*`, LIST_FILES and READ_FILE, of master and agent alike."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.responses import FileResponse, Response

from kubedcos.embedded.files import FileProblem, Files, file_info
from kubedcos.embedded.verbosity import number_fault

Json = dict[str, Any]

NAMES: Final = ("browse", "read", "download", "debug")
"""Below ``/files/``, also with the suffix ``.json``."""


def answer(
    files: Files, name: str, query: Mapping[str, str], as_json: Callable[[Any], Response]
) -> Response:
    """The answer of one of `NAMES`; JSON is written by `as_json`."""
    if name == "debug":
        return as_json(files.debug())
    path = query.get("path")
    if not path:
        return _text(400, "Expecting 'path=value' in query.\n")
    try:
        if name == "browse":
            return as_json(files.browse(path))
        if name == "download":
            return _download(files, path)
        offset, length = _number(query, "offset"), _number(query, "length")
        data, start, _ = files.read(path, offset, length)
    except FileProblem as problem:
        return _text(problem.status, str(problem))
    return as_json({"data": data.decode("utf-8", "replace"), "offset": start})


def _text(status: int, body: str) -> Response:
    return Response(body, status, media_type="text/plain; charset=utf-8")


def _download(files: Files, path: str) -> Response:
    real = files.download(path)
    return FileResponse(
        real,
        media_type="application/octet-stream",
        headers={"Content-Disposition": f"attachment; filename={real.name}"},
    )


def _number(query: Mapping[str, str], name: str) -> int | None:
    given = query.get(name)
    if given is None:
        return None
    fault = number_fault(given)
    if fault is not None:
        raise FileProblem(400, f"Failed to parse {name}: {fault}.\n")
    if int(given) < -1:
        raise FileProblem(400, f"Negative {name} provided: {int(given)}.\n")
    return int(given)


def list_files(files: Files, path: str) -> Json:
    """Body of the answer to LIST_FILES.

    Raises:
        FileProblem: with the answer.
    """
    infos = []
    for entry in files.browse(path):
        try:
            real = files.resolve(entry["path"])
        except FileProblem:
            continue  # a link that leads out
        infos.append(file_info(entry, real))
    return {"file_infos": infos} if infos else {}


def read_file(files: Files, path: str, offset: int, length: int | None) -> Json:
    """Body of the answer to READ_FILE; raises as `list_files`."""
    data, _, size = files.read(path, offset, length)
    return {"size": size, "data": base64.b64encode(data).decode()}
