"""Volumes of containers: of the host, of the sandbox, persistent ones on every kind of disk."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from .conftest import Play
from .container_lab import (
    Lab,
    container,
    host_path,
    kill,
    needs_root,
    outputs,
    persistent,
    run,
    start_again,
    until_written,
    volume,
)

pytestmark = needs_root


@pytest.mark.contract(behaviour="container-volumes")
def test_volumes(play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace) -> None:
    host, point = lab.directory / "host", lab.directory / "point"
    for path in (host, point):
        path.mkdir()
    (host / "file").write_text("of the host\n")
    forced = lab.directory / "forced/deep"
    tasks = {
        "relative": (
            "cat data/file; echo new > data/new; test ! -e " + str(point / "file"),
            container(volumes=[volume("data", host_path=str(host))]),
        ),
        "absolute": (
            f"cat {point}/file",
            container(volumes=[volume(str(point), **host_path(str(host)))]),
        ),
        "read-only": (
            f"cat {point}/file; touch {point}/no || echo refused",
            container(volumes=[volume(str(point), "RO", **host_path(str(host)))]),
        ),
        "one-file": (
            "cat data/one",
            container(volumes=[volume("data/one", host_path=str(host / "file"))]),
        ),
        "self": (
            f"echo hello > {point}/x; cat mine/x",
            container(
                volumes=[
                    volume(
                        str(point),
                        source={
                            "type": "SANDBOX_PATH",
                            "sandbox_path": {"type": "SELF", "path": "mine"},
                        },
                    )
                ]
            ),
        ),
        "forced": (
            "echo made > it/x",
            container(volumes=[volume("it", host_path=str(forced))]),
        ),
    }

    async def story(master: Any) -> None:
        agent_process.start(
            master, *lab.flags(f"--host_path_volume_force_creation={lab.directory}/forced")
        )
        await master.registered()
        await run(master, wire, tasks)
        found = await outputs(master, agent_process, tasks)
        assert found == {
            "relative": "of the host\n",
            "absolute": "of the host\n",
            "read-only": "of the host\nrefused\n",
            "one-file": "of the host\n",
            "self": "hello\n",
            "forced": "",
        }
        assert (host / "new").read_text() == "new\n"
        assert (forced / "x").read_text() == "made\n"
        assert list(point.iterdir()) == [], "mounts stay inside the containers"
        await lab.until_nothing_is_left()

    play(story)


@pytest.mark.contract(behaviour="volumes")
def test_persistent_volumes_on_all_disks(
    play: Play, agent_process: Any, lab: Lab, wire: SimpleNamespace
) -> None:
    roots = {name: lab.directory / name for name in ("path-disk", "mount-disk")}
    for root in roots.values():
        root.mkdir()
    path = {"source": {"type": "PATH", "path": {"root": str(roots["path-disk"])}}}
    mount = {"source": {"type": "MOUNT", "mount": {"root": str(roots["mount-disk"])}}}
    volumes = [
        persistent("on-root", "a"),
        persistent("on-path", "b", **path),
        persistent("on-mount", "c", **mount),
    ]
    places = [
        lab.directory / "work/volumes/roles/lab/on-root",
        roots["path-disk"] / "volumes/roles/lab/on-path",
        roots["mount-disk"],
    ]
    read_only = persistent("on-root", "a", "RO")
    write = "for v in a b c; do echo kept > $v/file; done; stat -c %U a; exec sleep 600"

    async def story(master: Any) -> None:
        agent_process.start(master, *lab.flags())
        await master.registered()
        assert await master.send("CHECKPOINT_RESOURCES", resources=volumes) == 202
        parts = {"resources": volumes, "command": {"user": "nobody"}}
        await run(master, wire, {"writer": (write, parts)})
        assert await until_written(agent_process, "writer", 1) == "nobody\n"
        for place in places:
            assert (place / "file").read_text() == "kept\n"
        seen = await agent_process.get(
            master, "/files/read?path=/frameworks/f-1/executors/writer/runs/latest/a/file&offset=0"
        )
        assert seen["data"] == "kept\n", "operators see the volume in the sandbox"
        agent_process.kill()
        await start_again(master, agent_process, *lab.flags())
        await kill(master, "writer")
        await lab.until_nothing_is_left()
        reader = ("cat a/file; touch a/no || echo refused", {"resources": [read_only]})
        await run(master, wire, {"reader": reader})
        found = await outputs(master, agent_process, ["reader"])
        assert found["reader"] == "kept\nrefused\n"
        await lab.until_nothing_is_left()
        assert await master.send("CHECKPOINT_RESOURCES", resources=[]) == 202
        assert not places[0].exists()
        assert not places[1].exists()
        assert list(places[2].iterdir()) == []

    play(story)
