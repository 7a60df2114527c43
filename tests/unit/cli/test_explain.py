"""Options explain themselves."""

from __future__ import annotations

import pytest
import typer

from kubedcos.cli.asking import seconds
from kubedcos.cli.explain import _paths, _schema, explanation, page
from kubedcos.errors import InvalidInput


def test_every_option_is_explained() -> None:
    schema = _schema()
    paths = list(_paths(schema, schema))
    assert len(paths) > 30
    for path in paths:
        found = explanation(schema, path)
        assert found["meaning"], path
        assert found["type"] not in ("", "anything"), path
        assert page(found).startswith(f"OPTION   {path}")


def test_a_section_lists_what_is_in_it() -> None:
    text = page(explanation(_schema(), "etcd"))
    assert "OPTIONS" in text
    assert "mem_mb" in text
    assert "TYPE     section" in text


def test_an_option_says_its_default_and_limits() -> None:
    found = explanation(_schema(), "etcd.disk_mb")
    assert (found["type"], found["default"]) == ("whole number", 1024)
    assert "at least 512" in page(found)


def test_a_misspelt_option_is_answered_with_the_right_one() -> None:
    with pytest.raises(InvalidInput, match="Did you mean mem_mb"):
        explanation(_schema(), "etcd.mem_mbs")
    with pytest.raises(InvalidInput, match="nothing below this one"):
        explanation(_schema(), "etcd.mem_mb.more")


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5m", 90)]
)
def test_durations(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "10x", "-5", "1 h", "ten"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="is no duration such as 90s"):
        seconds(text)


def test_what_stands_under_a_chosen_name_is_explained() -> None:
    found = explanation(_schema(), "node_pools.gpu.count")
    assert "one on an agent" in found["meaning"]
