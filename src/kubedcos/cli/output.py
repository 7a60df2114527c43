"""What commands print: the answer on stdout in the format asked for, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import typer

from kubedcos.errors import ExitCode, InvalidInput, KubedcosError, Problem


class Format(StrEnum):
    """Formats of reading commands."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


OutputOption = Annotated[Format, typer.Option("--output", "-o", help="How to print the answer.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Short for -o json.")]


def chosen(output: Format, as_json: bool) -> Format:
    """The format that `-o` and `--json` together mean.

    Raises:
        InvalidInput: they contradict each other.
    """
    if as_json and output not in {Format.TABLE, Format.JSON}:
        raise InvalidInput(
            [Problem("--json", f"-o {output} beside it", "one of them", id="output-contradiction")]
        )
    return Format.JSON if as_json else output


def show(
    document: Any,
    output: Format,
    *,
    columns: Sequence[tuple[str, str]] = (),
    wide: Sequence[tuple[str, str]] = (),
    text: str | None = None,
) -> None:
    """Print `document` in the format `output`.

    Args:
        document: the whole answer as plain data; JSON and YAML show all of it.
        output: the format.
        columns: title and key of each table column; `document` is then a list of mappings.
        wide: columns that only ``wide`` shows.
        text: what a table prints instead, for answers that are no list.
    """
    if output is Format.JSON:
        print_answer(json.dumps(document, indent=2, default=str))
    elif output is Format.YAML:
        import yaml  # only those who ask for YAML pay for it

        plain = json.loads(json.dumps(document, default=str))
        print_answer(yaml.safe_dump(plain, sort_keys=False).rstrip("\n"))
    elif text is not None:
        print_answer(text)
    else:
        print_answer(table(document, [*columns, *(wide if output is Format.WIDE else ())]))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str]]) -> str:
    """Rows under titles, in columns as wide as their widest cell."""
    cells = [[title for title, _ in columns]]
    cells += [[_cell(row.get(key)) for _, key in columns] for row in rows]
    widths = [max(len(line[number]) for line in cells) for number in range(len(columns))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def print_answer(text: str) -> None:
    """The answer, alone on stdout."""
    write(f"{text}\n")


def write(text: str) -> None:
    """Write a part of the answer at once; ends the program when nobody reads any more.

    Raises:
        KubedcosError: stdout takes nothing, such as a file on a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Python must not complain of the rest while it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(ExitCode.OK)  # whoever read it has seen enough
        raise KubedcosError(f"cannot write the answer to stdout: {error.strerror}") from error


def tell(text: str) -> None:
    """Progress and remarks, on stderr."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
