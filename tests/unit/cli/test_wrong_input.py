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


def refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    """Ended as wrong input does, with nothing on stdout and these words on stderr."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert "defect" not in done.stderr
    for words in said:
        assert words in done.stderr


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
    refused(kubedcos(*words, path), f"{path}: found 'utf-8' codec can't decode", "UTF-8 text")


def test_a_manifest_with_other_keys_is_told_the_right_ones(tmp_path: Path) -> None:
    path = tmp_path / "given.yml"
    path.write_text("component: []\n")
    refused(kubedcos("artifacts", "list", "--manifest", path), "Did you mean components?")


def test_a_front_is_told_what_its_settings_lack(tmp_path: Path) -> None:
    path = tmp_path / "front.json"
    path.write_text('{"port": 8444}')
    refused(kubedcos("scheduler", "front", "--config", path), f"{path}: listen: found nothing")


def test_a_bundle_that_is_a_folder(tmp_path: Path) -> None:
    refused(kubedcos("artifacts", "load", tmp_path), f"{tmp_path}: found Is a directory")


@pytest.mark.parametrize("words", [("preflight",), ("cluster", "check")], ids=" ".join)
def test_an_inventory_without_hosts_passes_nothing(tmp_path: Path, words: tuple[str, ...]) -> None:
    path = tmp_path / "hosts.yml"
    path.write_text("all: {hosts: {}}\n")
    refused(kubedcos(*words, "-i", path), f"inventory {path}: found no hosts; wanted at least one")
    refused(kubedcos(*words, "-i", tmp_path / "nosuch"), "nosuch: found nothing")


@pytest.mark.parametrize(
    "words", [("preflight",), ("cluster", "check"), ("lab", "status")], ids=" ".join
)
def test_of_several_inventories_none_is_passed_over(words: tuple[str, ...]) -> None:
    refused(
        kubedcos(*words, "-i", "inventories/sample", "-i", "/nowhere"),
        "--inventory: found inventories/sample and /nowhere; wanted one file or folder",
    )


def test_an_archive_that_is_none_is_refused_before_hosts_are_asked(tmp_path: Path) -> None:
    refused(kubedcos("lab", "load-image", tmp_path / "nosuch.tar"), "nosuch.tar")


def test_a_port_that_is_none_or_taken() -> None:
    refused(kubedcos("lab", "simulate", "--port", "99999"), "--port")
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
