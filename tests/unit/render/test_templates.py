"""Rendering is strict: a missing name or template is an error that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubedcos.errors import InvalidInput, Problem
from kubedcos.render import Templates, render
from kubedcos.render.findings import findings_table


@pytest.fixture
def folder(tmp_path: Path) -> Templates:
    (tmp_path / "good.j2").write_text("{{ name }}\n")
    (tmp_path / "deep.j2").write_text("{{ host.zone }}\n")
    (tmp_path / "broken.j2").write_text("{% if x %}\n")
    return Templates(tmp_path)


def test_values_are_filled_in(folder: Templates) -> None:
    assert folder.render("good.j2", {"name": "a1"}) == "a1\n"


@pytest.mark.parametrize(
    ("name", "values", "identifier"),
    [
        ("good.j2", {}, "template-value-missing"),
        ("deep.j2", {"host": {}}, "template-value-missing"),
        ("broken.j2", {"x": 1}, "template-malformed"),
        ("absent.j2", {}, "template-unknown"),
    ],
)
def test_what_is_wrong_is_named(
    folder: Templates, name: str, values: dict[str, object], identifier: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        folder.render(name, values)
    (problem,) = caught.value.problems
    assert problem.id == identifier
    assert name in problem.where


def test_shipped_templates_are_found() -> None:
    text = render("dns/resolv.conf.j2", {"servers": ["10.0.0.1"], "search": []})
    assert "nameserver 10.0.0.1\n" in text


def test_findings_show_everything_an_operator_needs() -> None:
    text = findings_table([Problem("host a1", "MTU 1400", "1500", "mtu-too-large", "Lower it.")])
    for word in ("host a1", "[mtu-too-large]", "MTU 1400", "1500", "Lower it."):
        assert word in text
