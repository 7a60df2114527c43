import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kubedcos.cli.main import GROUPS, build


def kubedcos(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kubedcos.cli.main", *arguments],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "100", **environment},
    )


def test_help_names_every_group_in_full_and_has_no_colour_in_a_pipe() -> None:
    shown = kubedcos("--help", COLUMNS="80")
    assert shown.returncode == 0
    assert all(f" {name} " in shown.stdout for name in GROUPS)
    assert "\x1b" not in shown.stdout
    assert "..." not in shown.stdout.partition("Commands:")[2]


@pytest.mark.parametrize(
    "group", ["demo", "lab", "artifacts", "cluster", "plan", "pod", "scheduler"]
)
def test_a_list_of_commands_cuts_no_sentence(group: str) -> None:
    shown = CliRunner().invoke(build([group]), [group, "--help"], env={"COLUMNS": "80"})
    commands = shown.stdout.partition("Commands:")[2].strip()
    assert commands
    assert "..." not in commands
    assert commands.endswith(".")


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from kubedcos.cli import main; main.build(['--help'])\n"
        "heavy = {'yaml', 'cryptography', 'fastapi', 'ansible', 'paramiko', 'httpx2', 'kazoo'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == "[]"


def test_version_goes_to_stdout() -> None:
    shown = kubedcos("--version")
    assert (shown.returncode, shown.stdout.count(".")) == (0, 2)


@pytest.mark.parametrize(
    "arguments",
    [("nonsense",), ("lab", "nonsense"), ("lab", "up", "--nonsense"), ("lab", "exec")],
)
def test_wrong_usage_is_code_2_on_stderr(arguments: tuple[str, ...]) -> None:
    shown = kubedcos(*arguments)
    assert shown.returncode == 2
    assert shown.stdout == ""
    assert "Traceback" not in shown.stderr


def test_a_misspelt_option_is_answered_with_the_right_one() -> None:
    assert "--json" in kubedcos("lab", "status", "--jsn").stderr


def test_wrong_input_is_a_sentence_and_code_2() -> None:
    shown = kubedcos("lab", "up", "-i", "/nowhere/at/all")
    assert shown.returncode == 2
    assert "inventory /nowhere/at/all: found nothing" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_debug_shows_the_traceback() -> None:
    shown = kubedcos("lab", "up", "-i", "/nowhere/at/all", KUBEDCOS_DEBUG="1")
    assert "Traceback" in shown.stderr
    assert shown.returncode == 2


def test_a_defect_is_told_in_one_line() -> None:
    code = "from kubedcos.cli import main as m; m.build = lambda _: 1 / 0; m.main()"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert shown.stderr.count("\n") == 1
    assert "ZeroDivisionError" in shown.stderr


def test_a_reader_that_leaves_early_is_no_error() -> None:
    program = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m kubedcos.cli.main cluster schema | head -n 1"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert program.stdout == "{\n"
    assert program.stderr == ""


def test_the_schema_is_json_and_nothing_else() -> None:
    assert "properties" in json.loads(kubedcos("cluster", "schema").stdout)


def test_without_a_context_every_command_says_where_one_comes_from(tmp_path: Path) -> None:
    for words in (("plan", "list"), ("pod", "list"), ("cluster", "list"), ("kubeconfig",)):
        shown = kubedcos(*words, KUBEDCOS_CONFIG=str(tmp_path))
        assert shown.returncode == 2
        assert "make demo" in shown.stderr


def test_help_is_quick() -> None:
    def cpu_seconds() -> float:
        """Not the clock's: what else the machine does is none of this test's business."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        kubedcos("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_seconds() for _ in range(3)) < 0.35
