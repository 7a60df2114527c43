"""Values that a role would refuse are found before any role has run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubedcos.topology.inputs import input_problems

SPECS: dict[str, dict[str, Any]] = {"size": {"type": "int"}, "password": {"no_log": True}}


class Templated(Mapping[str, Any]):
    """Variables whose template has no value, as Ansible shows them."""

    def __getitem__(self, name: str) -> Any:
        raise ValueError("'nosuch' is undefined\nand more")

    def __iter__(self) -> Iterator[str]:
        return iter(["size"])

    def __len__(self) -> int:
        return 1


def refusals(_name: str, _spec: object, value: object) -> list[str]:
    return [] if isinstance(value, int) else ["a number"]


def test_a_wrong_value_is_named_once_for_all_its_hosts() -> None:
    hostvars: dict[str, dict[str, Any]]
    hostvars = {"a": {"size": "two"}, "b": {"size": "two"}, "c": {"size": 2, "other": "x"}}
    (problem,) = input_problems(hostvars, ["a", "b", "c"], SPECS, refusals)
    assert problem.where == "variable size (host a, b)"
    assert (problem.seen, problem.wanted) == ("'two'", "a number")


def test_a_template_without_a_value_is_named() -> None:
    (problem,) = input_problems({"a": Templated()}, ["a"], SPECS, refusals)
    assert (problem.where, problem.seen) == ("variable size (all hosts)", "'nosuch' is undefined")


def test_a_secret_is_not_shown() -> None:
    (problem,) = input_problems({"a": {"password": "geheim"}}, ["a"], SPECS, refusals)
    assert "geheim" not in str(problem)
