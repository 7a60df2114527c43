import io
import os
import select
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kubedcos.cli import stages as stages_module
from kubedcos.cli.stages import (
    Part,
    Recap,
    Stage,
    StageFailed,
    StageRefused,
    Stages,
    clock_text,
    detail_of,
)
from kubedcos.errors import ExitCode, InvalidInput, Problem


def stages(tmp_path: Path, screen: io.StringIO) -> Stages:
    return Stages(tmp_path / "logs", first=3, total=9, screen=screen)


def python(code: str) -> list[str]:
    return [sys.executable, "-u", "-c", code]


def test_one_sees_which_of_how_many_stages_is_under_way(tmp_path: Path) -> None:
    screen = io.StringIO()
    run = stages(tmp_path, screen)
    run.run(Stage("artefacts", python("print('hello')")))
    run.run(Stage("hosts", python("print('hello')")))

    assert screen.getvalue().splitlines() == [
        "stage 3 of 9 · artefacts · 0:00",
        "stage 3 of 9 · artefacts · 0:00 · done",
        "stage 4 of 9 · hosts · 0:00",
        "stage 4 of 9 · hosts · 0:00 · done",
    ]


def test_work_within_this_program_is_a_stage_and_its_error_ends_it(tmp_path: Path) -> None:
    screen = io.StringIO()
    run = stages(tmp_path, screen)
    done: list[str] = []
    run.run(Stage("hosts", work=lambda: done.append("looked")))
    assert done == ["looked"]

    def refuse() -> None:
        raise InvalidInput([Problem("host a1", "gone", "there", id="lab")])

    with pytest.raises(InvalidInput, match="gone"):
        run.run(Stage("more hosts", work=refuse))
    assert screen.getvalue().splitlines() == [
        "stage 3 of 9 · hosts · 0:00",
        "stage 3 of 9 · hosts · 0:00 · done",
        "stage 4 of 9 · more hosts · 0:00",
        "stage 4 of 9 · more hosts · 0:00 · failed",
    ]


def test_output_goes_to_a_log_of_the_stage(tmp_path: Path) -> None:
    stages(tmp_path, io.StringIO()).run(
        Stage("playbook hosts", python("import sys; print('out'); print('err', file=sys.stderr)"))
    )
    assert (tmp_path / "logs/03-playbook-hosts.log").read_text() == "out\nerr\n"


def test_a_failed_stage_shows_the_end_of_its_log_and_where_it_is(tmp_path: Path) -> None:
    code = "print('x' * 5); print('the cause'); raise SystemExit(7)"
    with pytest.raises(StageFailed) as caught:
        stages(tmp_path, io.StringIO()).run(Stage("hosts", python(code)))
    assert "the cause" in str(caught.value)
    assert str(tmp_path / "logs/03-hosts.log") in str(caught.value)
    assert "code 7" in str(caught.value)


ONE_RUN = Stage(
    "first",
    [],
    looks=True,
    then=[Part("second", frozenset({"Agents"})), Part("third", frozenset({"Names", "Overlay"}))],
)


def one_run(*lines: str, status: int = 0) -> Stage:
    code = "\n".join(f"print({line!r})" for line in lines) + f"\nraise SystemExit({status})"
    return replace(ONE_RUN, argv=python(code))


def test_one_program_goes_through_several_stages(tmp_path: Path) -> None:
    screen = io.StringIO()
    plays = ("PLAY [Look] ***", "PLAY [Agents] ***", "PLAY [Names] ***", "PLAY [Overlay] ***")
    stages(tmp_path, screen).run(one_run(*plays))

    assert screen.getvalue().splitlines() == [
        "stage 3 of 9 · first · 0:00",
        "stage 3 of 9 · first · 0:00 · done",
        "stage 4 of 9 · second · 0:00",
        "stage 4 of 9 · second · 0:00 · done",
        "stage 5 of 9 · third · 0:00",
        "stage 5 of 9 · third · 0:00 · done",
    ]
    assert len(list((tmp_path / "logs").iterdir())) == 1


@pytest.mark.parametrize("plays", [["PLAY [Names] ***"], []])
def test_stages_without_an_announcement_are_passed_over(plays: list[str], tmp_path: Path) -> None:
    screen = io.StringIO()
    stages(tmp_path, screen).run(one_run(*plays))
    assert [line for line in screen.getvalue().splitlines() if line.endswith("done")] == [
        "stage 3 of 9 · first · 0:00 · done",
        "stage 4 of 9 · second · 0:00 · done",
        "stage 5 of 9 · third · 0:00 · done",
    ]


def test_the_stage_that_was_under_way_is_the_one_that_failed(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match=r"stage 4 of 9 \(second\) failed with code 2") as caught:
        stages(tmp_path, io.StringIO()).run(one_run("PLAY [Agents] ***", "[ERROR]: x", status=2))
    assert caught.value.exit_code == ExitCode.FAILED
    with pytest.raises(StageRefused, match=r"stage 3 of 9 \(first\) refuses"):
        stages(tmp_path, io.StringIO()).run(one_run("PLAY [Look] ***", "[ERROR]: x", status=2))


def test_a_terminal_without_a_width_is_an_ordinary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(stages_module.os, "get_terminal_size", lambda _: os.terminal_size((0, 0)))
    screen = Terminal()
    title = "a title that is longer than twenty columns"
    Stages(tmp_path, first=1, total=1, screen=screen).run(Stage(title, python("")))
    assert screen.getvalue().count(title) == 2, "once while it ran, once when it was done"


ANSIBLE = """\
TASK [preflight : Look at the host] ****
[ERROR]: Task failed: Failed to connect
Origin: tasks/main.yml:3:3
TASK [preflight : Check the hosts] *****
[ERROR]: Task failed: Action failed: 1 finding(s); nothing was changed.
host a1  [host-unreachable]
    seen    no connection

Origin: /srv/roles/preflight/tasks/main.yml:2:3
fatal: [m1 -> localhost]: FAILED! =>
PLAY RECAP ****
m1    : ok=1    changed=0    unreachable=0    failed=1
"""


def test_a_stage_that_looks_shows_all_findings_and_nothing_else(tmp_path: Path) -> None:
    code = f"print({ANSIBLE!r}); raise SystemExit(2)"
    with pytest.raises(StageRefused) as caught:
        stages(tmp_path, io.StringIO()).run(Stage("inventory", python(code), looks=True))
    assert str(caught.value).splitlines() == [
        "stage 3 of 9 (inventory) refuses the input:",
        "  1 finding(s); nothing was changed.",
        "  host a1  [host-unreachable]",
        "      seen    no connection",
    ]
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_stage_that_looks_and_dies_otherwise_shows_its_log(tmp_path: Path) -> None:
    code = "print('killed'); raise SystemExit(137)"
    with pytest.raises(StageFailed, match="killed") as caught:
        stages(tmp_path, io.StringIO()).run(Stage("inventory", python(code), looks=True))
    assert caught.value.exit_code == ExitCode.FAILED


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="no-such-program is not installed"):
        stages(tmp_path, io.StringIO()).run(Stage("x", ["no-such-program"]))


def test_a_program_beside_a_stage_has_ended_with_it_and_its_failure_is_not_the_stage_s(
    tmp_path: Path,
) -> None:
    ended = tmp_path / "ended"
    beside = python(f"import pathlib; pathlib.Path({str(ended)!r}).touch(); raise SystemExit(3)")
    screen = io.StringIO()
    stages(tmp_path, screen).run(Stage("artefacts", python("print('built')"), beside=beside))
    assert ended.exists()
    assert screen.getvalue().endswith("artefacts · 0:00 · done\n")


def test_a_stage_that_fails_ends_the_program_beside_it_and_what_that_started(
    tmp_path: Path,
) -> None:
    ready, alive = tmp_path / "ready", tmp_path / "alive"
    os.mkfifo(ready)
    os.mkfifo(alive)
    inner = (
        f"import time; alive = open({str(alive)!r}, 'w'); open({str(ready)!r}, 'w').close()\n"
        "time.sleep(60)"
    )
    beside = python(f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])")
    fails = python(f"open({str(ready)!r}).read(); raise SystemExit(1)")
    reader = os.open(alive, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(StageFailed):
        stages(tmp_path, io.StringIO()).run(Stage("artefacts", fails, beside=beside))
    with select.epoll() as ends:
        ends.register(reader, 0)
        assert [happened for _, happened in ends.poll(10)] == [select.EPOLLHUP]
    os.close(reader)


def test_changes_that_ansible_counted_add_up_over_playbooks(tmp_path: Path) -> None:
    line = "m1    : ok=5    changed=2    unreachable=0    failed=0    skipped=1"
    run = stages(tmp_path, io.StringIO())
    run.run(Stage("one", python(f"print({line!r})")))
    run.run(Stage("two", python(f"print({line!r})")))
    assert run.recaps == {"m1": Recap(ok=10, changed=4)}


def test_details_are_tasks_and_plain_sentences() -> None:
    assert detail_of("TASK [zookeeper : Install packages] *****") == "zookeeper : Install packages"
    assert detail_of("building the host image") == "building the host image"
    assert detail_of("PLAY RECAP ********") == ""
    assert detail_of("  indented") == ""


def test_times_are_minutes_and_seconds() -> None:
    assert [clock_text(s) for s in (0, 42.9, 60, 3601)] == ["0:00", "0:42", "1:00", "60:01"]
