"""What may be fetched under which name. Pure; texts are Mesos'."""

from __future__ import annotations

from pathlib import PurePosixPath

from kubedcos.mesos.messages import Uri

_ILLEGAL = ("\\", "'", "\0")


def base_name(uri: str) -> str:
    """The file name that a URI gets in the sandbox.

    Raises:
        ValueError: with Mesos' text, when the URI has no path.
    """
    _, scheme, rest = uri.partition("://")
    if not scheme:
        return PurePosixPath(uri).name
    host, slash, path = rest.partition("/")
    if not slash or not path:
        raise ValueError(f"Malformed URI (missing path): {uri}")
    return (host + slash + path).rpartition("/")[2]


def problem_of(uri: Uri) -> str | None:
    """Why a URI is refused before anything is fetched, or None."""
    if any(character in uri.value for character in _ILLEGAL):
        return "Illegal characters in URI"
    if uri.output_file is not None:
        if any(character in uri.output_file for character in _ILLEGAL):
            return "Illegal characters in URI output file"
        path = PurePosixPath(uri.output_file)
        # Mesos itself lets `..` out of the sandbox; here it may not.
        if path.is_absolute() or ".." in path.parts:
            return "URI output file must be within the sandbox directory"
        if not uri.output_file:
            return "URI output file is empty"
    try:
        name = base_name(uri.value)
    except ValueError as error:
        return str(error)
    if not name and not uri.output_file:
        return f"Malformed URI (missing path): {uri.value}"
    return None
