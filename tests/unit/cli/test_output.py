import json

import pytest

from kubedcos.cli.output import Format, chosen, show, table
from kubedcos.errors import InvalidInput

ROWS = [{"name": "m1", "up": True, "zone": ""}, {"name": "long-name", "up": False, "zone": "a"}]
COLUMNS = [("NAME", "name"), ("UP", "up")]


def test_columns_are_aligned_and_gaps_are_dashes() -> None:
    assert table(ROWS, [*COLUMNS, ("ZONE", "zone")]).splitlines() == [
        "NAME        UP    ZONE",
        "m1          yes   -",
        "long-name   no    a",
    ]


def test_wide_adds_columns(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, Format.TABLE, columns=COLUMNS, wide=[("ZONE", "zone")])
    show(ROWS, Format.WIDE, columns=COLUMNS, wide=[("ZONE", "zone")])
    shown = capsys.readouterr().out.splitlines()
    assert "ZONE" not in shown[0]
    assert "ZONE" in shown[3]


def test_json_and_yaml_show_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, Format.JSON, columns=COLUMNS)
    assert json.loads(capsys.readouterr().out) == ROWS
    show({"a": ["ä"]}, Format.YAML)
    assert capsys.readouterr().out.startswith("a:\n- ")


def test_json_for_short_and_another_format_contradict_each_other() -> None:
    assert chosen(Format.TABLE, as_json=True) is Format.JSON
    assert chosen(Format.WIDE, as_json=False) is Format.WIDE
    with pytest.raises(InvalidInput):
        chosen(Format.YAML, as_json=True)
