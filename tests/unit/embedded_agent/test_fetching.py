"""The fetcher against a web server on loopback."""

import asyncio
import gzip
import http.server
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

from kubedcos.embedded.agent.fetching.cache import Cache
from kubedcos.embedded.agent.fetching.fetcher import Fetcher, FetchFailed, Job
from kubedcos.embedded.agent.fetching.rules import base_name, problem_of
from kubedcos.embedded.agent.main import size_of
from kubedcos.mesos.messages import Uri


def archive(*members: tuple[str, bytes], mode: str = "w:gz", links: tuple[str, ...] = ()) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode=mode) as tar:  # type: ignore[call-overload]
        for link in links:
            name, _, target = link.partition("->")
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o4755
            tar.addfile(info, io.BytesIO(content))
    return data.getvalue()


class Web:
    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.seen: list[tuple[str, str]] = []
        self.gate: threading.Event | None = None
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                web.seen.append((self.command, self.path))
                if self.path == "/moved":
                    self.send_response(302)
                    self.send_header("Location", "/plain")
                    self.end_headers()
                    return
                body = web.content.get(self.path)
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                if self.command == "GET":
                    if web.gate is not None:
                        web.gate.wait(10)
                    self.wfile.write(body or b"")

            do_GET = do_HEAD = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def web() -> Iterator[Web]:
    web = Web()
    thread = threading.Thread(target=web.server.serve_forever)
    thread.start()
    yield web
    web.server.shutdown()
    thread.join()
    web.server.server_close()


Sandbox = Callable[..., Job]


@pytest.fixture
def job(tmp_path: Path) -> Sandbox:
    def make(name: str, *uris: Uri) -> Job:
        sandbox = tmp_path / name
        sandbox.mkdir()
        return Job(name, uris, sandbox)

    return make


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    return Fetcher(tmp_path / "cache", 1000, size_of, stall_timeout=5)


def fetch(fetcher: Fetcher, *jobs: Job) -> list[Any]:
    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*map(fetcher.fetch, jobs), return_exceptions=True)

    return asyncio.run(all_of_them())


def test_plain_executable_and_renamed(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    web.content = {"/run.sh": b"#!/bin/sh\n", "/plain": b"text"}
    done = job(
        "a",
        Uri(f"{web.url}/run.sh", executable=True),
        Uri(f"{web.url}/plain", output_file="sub/renamed"),
        Uri(f"{web.url}/moved"),
    )
    assert fetch(fetcher, done) == [None]
    assert (done.sandbox / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (done.sandbox / "sub/renamed").read_bytes() == b"text"
    assert (done.sandbox / "moved").stat().st_mode & 0o777 == 0o644
    assert fetcher.succeeded == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar.gz", archive(("dir/inside", b"x"))),
        ("a.tgz", archive(("dir/inside", b"x"))),
        ("a.tar", archive(("dir/inside", b"x"), mode="w")),
        ("a.tar.xz", archive(("dir/inside", b"x"), mode="w:xz")),
        ("a.tbz2", archive(("dir/inside", b"x"), mode="w:bz2")),
    ],
)
def test_archives_are_unpacked_and_stay(
    fetcher: Fetcher, job: Sandbox, web: Web, name: str, content: bytes
) -> None:
    web.content[f"/{name}"] = content
    done = job("a", Uri(f"{web.url}/{name}"))
    assert fetch(fetcher, done) == [None]
    assert (done.sandbox / "dir/inside").read_bytes() == b"x"
    assert (done.sandbox / "dir/inside").stat().st_mode & 0o7777 == 0o755
    assert (done.sandbox / name).exists()


def test_zip_and_gz(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as content:
        content.writestr("zipped.txt", "z")
    web.content = {"/a.zip": data.getvalue(), "/b.gz": gzip.compress(b"g")}
    done = job("a", Uri(f"{web.url}/a.zip"), Uri(f"{web.url}/b.gz"))
    assert fetch(fetcher, done) == [None]
    assert (done.sandbox / "zipped.txt").read_text() == "z"
    assert (done.sandbox / "b").read_text() == "g"


def test_not_extracted_when_not_wanted_or_executable(
    fetcher: Fetcher, job: Sandbox, web: Web
) -> None:
    web.content["/a.tar.gz"] = archive(("inside", b"x"))
    done = job("a", Uri(f"{web.url}/a.tar.gz", extract=False))
    other = job("b", Uri(f"{web.url}/a.tar.gz", executable=True))
    assert fetch(fetcher, done, other) == [None, None]
    assert not (done.sandbox / "inside").exists()
    assert not (other.sandbox / "inside").exists()


@pytest.mark.parametrize(
    "content",
    [
        archive(("../../evil", b"x")),
        archive(("way/evil", b"x"), links=("way->../..",)),
    ],
)
def test_an_archive_cannot_leave_the_sandbox(
    fetcher: Fetcher, job: Sandbox, web: Web, tmp_path: Path, content: bytes
) -> None:
    web.content["/a.tar.gz"] = content
    (failure,) = fetch(fetcher, job("a", Uri(f"{web.url}/a.tar.gz")))
    assert isinstance(failure, FetchFailed)
    assert not [*tmp_path.parent.glob("evil"), *tmp_path.glob("**/evil")]


@pytest.mark.parametrize(
    ("uri", "in_the_log"),
    [
        ("{url}/missing", "received HTTP return code 404"),
        ("{url}/bad.tar.gz", "Unrecognized archive format"),
        ("http://127.0.0.1:1/x", "Error downloading resource"),
        ("nosuch://host/x", "does not support the URI scheme 'nosuch'"),
        ("no/such/file", "A relative path was passed for the resource"),
        ("/no/such/file", "no such file"),
    ],
)
def test_failures_have_one_text_and_a_log(
    fetcher: Fetcher, job: Sandbox, web: Web, uri: str, in_the_log: str
) -> None:
    web.content["/bad.tar.gz"] = b"no archive"
    failing = job("cid", Uri(uri.format(url=web.url)))
    (failure,) = fetch(fetcher, failing)
    assert str(failure) == ("Failed to fetch all URIs for container 'cid': exited with status 1")
    assert in_the_log in (failing.sandbox / "stderr").read_text()
    assert fetcher.failed == 1


def test_local_files(fetcher: Fetcher, job: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("here")
    (tmp_path / "local").chmod(0o600)
    done = job("a", Uri(f"{tmp_path}/local"), Uri(f"file://{tmp_path}/local", output_file="other"))
    assert fetch(fetcher, done) == [None]
    assert (done.sandbox / "local").read_text() == (done.sandbox / "other").read_text() == "here"
    assert (done.sandbox / "local").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (Uri("http://h/plain' x"), "Illegal characters in URI"),
        (
            Uri("http://h/p", output_file="/etc/x"),
            "URI output file must be within the sandbox directory",
        ),
        (
            Uri("http://h/p", output_file="../x"),
            "URI output file must be within the sandbox directory",
        ),
        (Uri("http://host"), "Malformed URI (missing path): http://host"),
        (Uri("http://host/"), "Malformed URI (missing path): http://host/"),
    ],
)
def test_refused_before_anything_is_fetched(
    fetcher: Fetcher, job: Sandbox, uri: Uri, text: str
) -> None:
    (failure,) = fetch(fetcher, job("a", uri))
    assert str(failure) == f"Could not fetch: {text}"


def test_names() -> None:
    assert base_name("http://h/a/b.tgz") == "b.tgz"
    assert base_name("/srv/x") == "x"
    assert problem_of(Uri("http://h/x", output_file="a/b")) is None


def test_the_cache_asks_the_server_once(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    web.content["/plain"] = b"text"
    first, second = (job(name, Uri(f"{web.url}/plain", cache=True)) for name in "ab")
    assert fetch(fetcher, first) == [None]
    assert web.seen == [("HEAD", "/plain"), ("GET", "/plain")]
    assert fetch(fetcher, second) == [None]
    assert len(web.seen) == 2
    (first.sandbox / "plain").write_text("spoilt by the task")
    third = job("c", Uri(f"{web.url}/plain", cache=True))
    fetch(fetcher, third)
    assert (third.sandbox / "plain").read_bytes() == b"text"
    assert fetcher.cache.used == 4


def test_simultaneous_fetches_share_one_download(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    web.content = {"/one": b"1", "/two": b"2"}
    one, two = (Uri(f"{web.url}/{name}", cache=True) for name in ("one", "two"))
    jobs = (job("a", one, two), job("b", two, one), job("c", one))
    assert fetch(fetcher, *jobs) == [None, None, None]
    assert sorted(web.seen) == [(way, path) for way in ("GET", "HEAD") for path in ("/one", "/two")]


def test_a_failed_download_is_not_kept(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    web.content["/plain"] = b"text"
    sizes = {f"{web.url}/gone": 5}

    async def size(uri: str) -> int | None:
        return sizes[uri]

    fetcher._size_of = size
    (failure,) = fetch(fetcher, job("a", Uri(f"{web.url}/gone", cache=True)))
    assert isinstance(failure, FetchFailed)
    assert fetcher.cache.used == 0


def test_an_archive_from_the_cache_leaves_only_its_content(
    fetcher: Fetcher, job: Sandbox, web: Web
) -> None:
    web.content["/a.tar.gz"] = archive(("inside", b"x"))
    done = job("a", Uri(f"{web.url}/a.tar.gz", cache=True))
    assert fetch(fetcher, done) == [None]
    assert (done.sandbox / "inside").exists()
    assert not (done.sandbox / "a.tar.gz").exists()


def test_the_cache_evicts_the_least_recently_used() -> None:
    cache = Cache(100)
    for name in ("a", "b"):
        entry, _ = cache.reserve("", name, name, 40)
        entry.ready = True
    cache.find("", "a")
    _, victims = cache.reserve("", "c", "c", 40)
    assert victims == ["c2-b"]
    assert cache.find("", "a") is not None


def test_what_is_in_use_or_under_way_stays() -> None:
    cache = Cache(100)
    pending, _ = cache.reserve("", "a", "a", 60)
    with pytest.raises(ValueError, match="do not fit"):
        cache.reserve("", "b", "b", 60)
    pending.ready, pending.readers = True, 1
    with pytest.raises(ValueError, match="do not fit"):
        cache.reserve("", "b", "b", 60)
    pending.readers = 0
    assert cache.reserve("", "b", "b", 60)[1] == ["c1-a"]


def test_too_big_for_the_cache_goes_around_it(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    web.content["/big"] = b"x" * 2000
    done = job("a", Uri(f"{web.url}/big", cache=True))
    assert fetch(fetcher, done) == [None]
    assert (done.sandbox / "big").stat().st_size == 2000
    assert fetcher.cache.used == 0


def test_users_do_not_share(fetcher: Fetcher, tmp_path: Path, web: Web) -> None:
    web.content["/plain"] = b"text"
    for user in ("one", "two"):
        (tmp_path / user).mkdir()
        uris = (Uri(f"{web.url}/plain", cache=True),)
        assert fetch(fetcher, Job(user, uris, tmp_path / user, user)) == [None]
    assert fetcher.cache.used == 8


def test_a_cancelled_fetch_ends_its_process(fetcher: Fetcher, job: Sandbox, web: Web) -> None:
    web.content["/slow"] = b"x"
    web.gate = threading.Event()
    waiting = job("a", Uri(f"{web.url}/slow"))

    async def cancel() -> None:
        task = asyncio.create_task(fetcher.fetch(waiting))
        await until(lambda: web.seen)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    web.gate.set()
