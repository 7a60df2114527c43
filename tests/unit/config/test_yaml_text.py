"""Broken YAML and JSON are named with file, line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kubedcos.config.yaml_text import folder_problems, read_mapping, syntax_problem
from kubedcos.errors import InvalidInput


@pytest.mark.parametrize(
    ("text", "place", "seen"),
    [
        ("a: [1\nb: 2\n", "f:2:2", "expected ',' or ']'"),
        ("a: 1\nb: 2\na: 3\n", "f:3:1", "the key 'a' stands here twice"),
        ("x:\n  - {a: 1, a: 2}\n", "f:2:12", "the key 'a' stands here twice"),
        ('{"a": ', "f:1:7", "expected the node content"),
        ("[" * 5000, "f", "nested too deeply"),
    ],
)
def test_the_place_is_named(text: str, place: str, seen: str) -> None:
    problem = syntax_problem(text, "f")
    assert problem is not None
    assert problem.where == place
    assert seen in problem.seen


@pytest.mark.parametrize(
    "text",
    [
        "a: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n",
        "a: &x {b: 1}\nc: {<<: *x, <<: *x}\nd: &y [*y]\n",
        "---\na: 1\n---\na: 2\n",
        "",
    ],
)
def test_what_ansible_reads_passes(text: str) -> None:
    assert syntax_problem(text, "f") is None


def test_a_whole_inventory_is_looked_through(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "hosts.yml").write_text("all: {}\n")
    (tmp_path / "group_vars/all.yml").write_text("a: [\n")
    (tmp_path / "group_vars/agents.json").write_text("{")
    (tmp_path / "group_vars/secret.yml").write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    (tmp_path / "group_vars/latin.yml").write_bytes(b"a: \xff\n")
    (tmp_path / "aws.sh").write_text("a: [")
    wanted = ["agents.json", "all.yml", "latin.yml"]
    for given in (tmp_path, tmp_path / "hosts.yml"):
        places = [problem.where.split(":")[0] for problem in folder_problems(given)]
        assert [Path(place).name for place in places] == wanted


@pytest.mark.parametrize(
    ("seen", "make"),
    [
        (": found No such file or directory; wanted a YAML file", lambda _: None),
        (": found Is a directory; wanted a YAML file", Path.mkdir),
        (": found 'utf-8' codec can't decode byte 0xff", lambda path: path.write_bytes(b"\xff")),
        (":2:1: found ", lambda path: path.write_text("a: [1\n")),
        (": found list; wanted a mapping", lambda path: path.write_text("[1]\n")),
    ],
)
def test_a_file_that_holds_no_mapping_is_named(
    tmp_path: Path, seen: str, make: Callable[[Path], object]
) -> None:
    path = tmp_path / "given.yml"
    make(path)
    with pytest.raises(InvalidInput) as caught:
        read_mapping(path)
    assert str(caught.value).startswith(f"{path}{seen}")
