import os
from pathlib import Path

import pytest

from kubedcos.embedded.files import FileProblem, Files


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    root = tmp_path / "sandbox"
    (root / "d").mkdir(parents=True)
    (root / "f").write_text("sub\n")
    (root / "link").symlink_to("/etc/passwd")
    (root / "inner").symlink_to("f")
    (tmp_path / "secret").write_text("secret")
    return root


@pytest.fixture
def files(sandbox: Path) -> Files:
    return Files({str(sandbox): sandbox, "/frameworks/f/executors/e/runs/latest": sandbox})


def status_of(files: Files, path: str) -> tuple[int, str]:
    with pytest.raises(FileProblem) as caught:
        files.read(path, 0, 10)
    return caught.value.status, str(caught.value)


def test_browse_both_paths(files: Files, sandbox: Path) -> None:
    entries = files.browse(f"{sandbox}/")
    assert [Path(entry["path"]).name for entry in entries] == ["d", "f", "inner", "link"]
    assert entries[1] == {
        **entries[1],
        "path": f"{sandbox}/f",
        "size": 4,
        "nlink": 1,
        "mode": "-rw-r--r--",
    }
    virtual = files.browse("/frameworks/f/executors/e/runs/latest")
    assert virtual[0]["path"] == "/frameworks/f/executors/e/runs/latest/d"


def test_a_file_has_no_entries(files: Files, sandbox: Path) -> None:
    assert files.browse(f"{sandbox}/f") == []
    assert files.browse(f"{sandbox}/d/../f") == []


@pytest.mark.parametrize("way", ["link", "../secret", "d/../../secret", "../../../../etc/passwd"])
def test_no_way_out(files: Files, sandbox: Path, way: str) -> None:
    depth = len(sandbox.parts)
    way = way.replace("../../../../", "../" * depth)
    path = f"{sandbox}/{way}"
    assert status_of(files, path) == (400, f"'{path}' is inaccessible.\n")


def test_links_inside_are_followed(files: Files, sandbox: Path) -> None:
    assert files.read(f"{sandbox}/inner", 0, None) == (b"sub\n", 0, 4)


@pytest.mark.parametrize("path", ["/etc", "/", "", "relative", "/frameworks"])
def test_what_is_not_attached_is_not_there(files: Files, path: str) -> None:
    assert status_of(files, path) == (404, "")


def test_reading(files: Files, sandbox: Path) -> None:
    path = f"{sandbox}/f"
    assert files.read(path, 2, 1) == (b"b", 2, 4)
    assert files.read(path, None, None) == (b"", 4, 4)
    assert files.read(path, -1, 9) == (b"", 4, 4)
    assert files.read(path, 9999, 5) == (b"", 9999, 4)
    assert files.read(path, 0, -1) == (b"sub\n", 0, 4)
    assert files.read(path, 0, 0) == (b"", 0, 4)
    assert status_of(files, f"{sandbox}/d") == (400, "Cannot read a directory.\n")
    assert status_of(files, f"{sandbox}/nope") == (404, "")


def test_one_answer_is_bounded(files: Files, sandbox: Path) -> None:
    (sandbox / "big").write_bytes(b"x" * 200_000)
    assert len(files.read(f"{sandbox}/big", 0, None)[0]) == 65536


def test_download(files: Files, sandbox: Path) -> None:
    assert files.download(f"{sandbox}/f") == sandbox / "f"
    for path, status, text in (
        (f"{sandbox}/d", 400, "Cannot download a directory.\n"),
        (f"{sandbox}/nope", 404, "404 Not Found."),
        (f"{sandbox}/link", 400, f"'{sandbox}/link' is inaccessible.\n"),
    ):
        with pytest.raises(FileProblem) as caught:
            files.download(path)
        assert (caught.value.status, str(caught.value)) == (status, text)


@pytest.mark.parametrize(
    "name", ["../secret", "d/../../secret", "\x00", "f\x00", "x" * 5000, "d/" * 3000, "\udcff"]
)
def test_odd_names_lead_nowhere(files: Files, sandbox: Path, name: str) -> None:
    assert status_of(files, f"{sandbox}/{name}")[0] in {400, 404}


def test_nobody_waits_for_the_other_end_of_a_pipe(files: Files, sandbox: Path) -> None:
    os.mkfifo(sandbox / "pipe")
    assert files.read(f"{sandbox}/pipe", 0, 10) == (b"", 0, 0)
