"""What is typed wrong, and what the machine refuses, ends as a sentence that names the place."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = (sys.executable, "-m", "kubedcos.cli.main")


def kubedcos(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *map(str, words)],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )


def refusal(*words: object) -> str:
    """What is said on stderr; the program ended as with wrong input, and stdout is empty."""
    done = kubedcos(*words)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "defect" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("artifacts", "list", "--manifest"),
        ("cluster", "create"),
        ("scheduler", "check", "--config"),
        ("scheduler", "front", "--config"),
        ("preflight", "--vars"),
    ],
    ids=" ".join,
)
def test_a_file_that_cannot_be_read(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "given.yml"
    path.write_bytes(b"\xff\xfe\x00")
    said = refusal(*words, path)
    assert f"{path}: found 'utf-8' codec can't decode" in said
    assert "UTF-8 text" in said


def test_a_manifest_with_other_keys_is_told_the_right_ones(tmp_path: Path) -> None:
    path = tmp_path / "given.yml"
    path.write_text("component: []\n")
    assert "Did you mean components?" in refusal("artifacts", "list", "--manifest", path)


def test_a_front_is_told_what_its_settings_lack(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text('{"port": 8444}')
    said = refusal("scheduler", "front", "--config", path)
    assert f"{path}: listen: found nothing" in said


def test_a_bundle_that_is_a_folder(tmp_path: Path) -> None:
    assert f"{tmp_path}: found Is a directory" in refusal("artifacts", "load", tmp_path)


@pytest.mark.parametrize("words", [("preflight",), ("cluster", "check")], ids=" ".join)
def test_an_inventory_without_hosts_passes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all: {hosts: {}}\n")
    said = refusal(*words, "-i", path)
    assert f"inventory {path}: found no hosts; wanted at least one" in said
    assert "nosuch: found nothing" in refusal(*words, "-i", tmp_path / "nosuch")


@pytest.mark.parametrize(
    "words", [("preflight",), ("cluster", "check"), ("lab", "status")], ids=" ".join
)
def test_of_several_inventories_none_is_passed_over(words: tuple[str, ...]) -> None:
    said = refusal(*words, "-i", "inventories/sample", "-i", "/nowhere")
    wanted = "wanted one file or folder"
    assert f"--inventory: found inventories/sample and /nowhere; {wanted}" in said


def test_an_archive_that_is_none_is_refused_before_hosts_are_asked(tmp_path: Path) -> None:
    assert "nosuch.tar" in refusal("lab", "load-image", tmp_path / "nosuch.tar")


def test_a_port_that_is_none_or_taken() -> None:
    assert "--port" in refusal("lab", "simulate", "--port", "99999")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = kubedcos("lab", "simulate", "--agents", "1", "--port", port)
    assert done.returncode == 1
    assert f"kubedcos: cannot listen on 127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize(
    ("stdout", "why"), [("/dev/full", "No space left on device"), ("&-", "Bad file descriptor")]
)
def test_an_answer_that_cannot_be_written(stdout: str, why: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"$@" >{stdout}', "sh", *PROGRAM, "cluster", "schema"],
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr == f"kubedcos: cannot write the answer to stdout: {why}\n"


def test_what_the_machine_refuses_is_no_defect(tmp_path: Path) -> None:
    code = (
        "from kubedcos.cli import main as m\n"
        f"m.build = lambda _: lambda **__: open({str(tmp_path)!r})\n"
        "m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"kubedcos: {tmp_path}: Is a directory. ")


def test_signs_that_the_terminal_lacks_are_replaced() -> None:
    code = (
        "from kubedcos.cli import main as m, output\n"
        "m.build = lambda _: lambda **__: output.print_answer('├─ etcd')\n"
        "m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "ascii:strict"},
    )
    assert (done.returncode, done.stdout) == (0, b"?? etcd\n"), done.stderr
