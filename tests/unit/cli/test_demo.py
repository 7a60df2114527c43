import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from kubedcos.cli import contexts, demo
from kubedcos.cli.stages import Recap
from kubedcos.errors import InvalidInput, Problem
from kubedcos.lab import inventory, lifecycle


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site of two playbooks, the first of which looks."""
    (tmp_path / "preflight.yml").write_text("- name: Look\n  hosts: all\n")
    (tmp_path / "hosts.yml").write_text(
        "- name: Base\n  hosts: all\n- name: Programs\n  hosts: x\n"
    )
    path = tmp_path / "site.yml"
    path.write_text(
        "- name: A\n  ansible.builtin.import_playbook: preflight.yml\n"
        "- import_playbook: hosts.yml\n"
    )
    return path


def test_each_playbook_that_the_site_imports_is_a_stage_of_one_run(site: Path) -> None:
    stages = demo.plan(Path("inv"), None, site)
    assert [title for stage in stages for title in stage.titles] == [
        "inventory",
        "artefacts",
        "hosts of the lab",
        "playbook preflight",
        "playbook hosts",
        "web application",
    ]
    (run,) = (stage for stage in stages if stage.then)
    assert list(run.argv)[-1] == str(site)
    assert run.then[0].plays == {"Base", "Programs"}


def test_the_image_of_the_hosts_is_made_while_artefacts_are(site: Path) -> None:
    beside = {stage.title: list(stage.beside)[1:] for stage in demo.plan(Path("inv"), None, site)}
    assert beside.pop("artefacts") == ["lab", "image", "--inventory", "inv"]
    assert not any(beside.values())


def test_variables_reach_every_play_and_the_choice_of_artefacts(site: Path, tmp_path: Path) -> None:
    variables = tmp_path / "vars.yml"
    variables.write_text("kubernetes_version: 1.35.4\n")
    stages = demo.plan(Path("inv"), variables, site)
    runs = [stage.argv for stage in stages if "ansible-playbook" in stage.argv[0]]
    assert len(runs) == 2
    assert all(f"@{variables}" in argv for argv in runs)
    (artefacts,) = (stage for stage in stages if stage.title == "artefacts")
    assert list(artefacts.argv)[-2:] == ["--kubernetes", "1.35.4"]


def test_broken_variables_are_refused_before_anything_runs(site: Path, tmp_path: Path) -> None:
    variables = tmp_path / "vars.yml"
    variables.write_text("a: [\n")
    with pytest.raises(InvalidInput, match=re.escape(str(variables))):
        demo.plan(Path("inv"), variables, site)


def test_a_site_that_imports_nothing_is_refused(tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text("[]\n")
    with pytest.raises(InvalidInput, match="imports"):
        demo.plan(Path("inv"), None, site)


def test_the_inventory_is_looked_at_before_anything_is_made(site: Path) -> None:
    first, *others = demo.plan(Path("inv"), None, site)
    assert first.looks
    assert list(first.argv)[-3:] == ["--tags", "inventory", str(site.parent / "preflight.yml")]
    assert [stage.title for stage in others if stage.looks] == ["playbook preflight"]


def test_where_the_hosts_run_already_the_preflight_of_the_site_is_enough(site: Path) -> None:
    stages = demo.plan(Path("inv"), None, site, look=False)
    assert not any(stage.beside for stage in stages)
    titles = [title for stage in stages for title in stage.titles]
    assert titles[0] == "artefacts"
    assert "playbook preflight" in titles


def test_a_subnet_that_is_taken_is_said_before_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = Problem("lab_networks.dc-a.subnet", "10.1.0.0/24", "another", id="lab-subnet-taken")

    def refuse(*_: object) -> None:
        raise InvalidInput([problem])

    def stages(*_: object, **__: object) -> None:
        raise AssertionError("a stage was begun")

    monkeypatch.setattr(inventory, "load", lambda _: SimpleNamespace(name="lab", hosts=()))
    monkeypatch.setattr(demo, "podman_here", lambda: None)
    monkeypatch.setattr(lifecycle, "refuse_conflicts", refuse)
    monkeypatch.setattr(demo, "Stages", stages)
    with pytest.raises(InvalidInput, match="lab_networks"):
        demo.up([tmp_path])


def test_whoever_interrupts_is_told_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Interrupted:
        def __init__(self, *_: object, **__: object) -> None: ...

        def run(self, _: object) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(inventory, "load", lambda _: SimpleNamespace(name="lab", hosts=()))
    monkeypatch.setattr(demo, "podman_here", lambda: None)
    monkeypatch.setattr(lifecycle, "refuse_conflicts", lambda *_: {})
    monkeypatch.setattr(demo, "Stages", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        demo.up([tmp_path])
    assert "`make demo` continues" in capsys.readouterr().err


def test_the_recap_has_a_line_for_each_host() -> None:
    assert demo.recap_lines({"m1": Recap(ok=3)}) == [
        "m1           : ok=3 changed=0 unreachable=0 failed=0"
    ]


def context(folder: Path, name: str, url: str) -> None:
    (folder / "contexts").mkdir(parents=True, exist_ok=True)
    text = json.dumps({"url": url, "ca_pem": "x", "token": "t"})
    (folder / "contexts" / f"{name}.json").write_text(text)


def test_contexts_of_removed_hosts_go_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEDCOS_CONFIG", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("lab", "lab-2", "site"):
        (contexts.logins() / name).mkdir(parents=True)
        (contexts.logins() / name / "k1.yaml").write_text("secret")
    context(tmp_path, "lab", "https://10.1.0.10:8443")
    context(tmp_path, "site", "https://10.9.0.10:8443")
    (tmp_path / "context").write_text("lab\n")

    assert contexts.remove_of({"10.1.0.10"}) == ["lab"]

    assert contexts.current().name == "site"
    left = sorted(path.parent.name for path in contexts.logins().glob("*/k1.yaml"))
    assert left == ["lab-2", "site"]
    assert not (tmp_path / "context").exists()


def test_several_contexts_need_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEDCOS_CONFIG", str(tmp_path))
    context(tmp_path, "a", "https://10.1.0.10:8443,https://10.1.0.11:8443")
    context(tmp_path, "b", "https://10.2.0.10:8443")
    with pytest.raises(InvalidInput, match="one of a, b"):
        contexts.current()
    monkeypatch.setenv("KUBEDCOS_CONTEXT", "a")
    assert contexts.current().urls == ("https://10.1.0.10:8443", "https://10.1.0.11:8443")


@pytest.mark.parametrize(
    "url", ["", "10.0.0.1", "http://10.0.0.1:8443", "https://", "https://x:y", "https://a,ftp://b"]
)
def test_a_context_whose_address_is_none_is_refused(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEDCOS_CONFIG", str(tmp_path))
    context(tmp_path, "a", url)
    with pytest.raises(InvalidInput, match=r"a\.json: url: found '.*wanted an address"):
        contexts.current()


def test_a_broken_context_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEDCOS_CONFIG", str(tmp_path))
    context(tmp_path, "a", "https://x")
    (tmp_path / "contexts/a.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"a\.json"):
        contexts.current()
