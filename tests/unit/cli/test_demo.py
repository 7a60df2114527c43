import json
import re
from pathlib import Path

import pytest

from kubedcos.cli import contexts, demo
from kubedcos.cli.stages import Recap
from kubedcos.errors import InvalidInput


def test_each_playbook_that_the_site_imports_is_a_stage(tmp_path: Path) -> None:
    site = tmp_path / "site.yml"
    site.write_text(
        "- name: A\n  ansible.builtin.import_playbook: preflight.yml\n"
        "- import_playbook: hosts.yml\n"
    )
    stages = demo.plan(Path("inv"), None, demo.playbooks(site))
    assert [stage.title for stage in stages] == [
        "artefacts",
        "hosts of the lab",
        "playbook preflight",
        "playbook hosts",
        "web application",
    ]


def test_variables_reach_every_play_and_the_choice_of_artefacts(tmp_path: Path) -> None:
    variables = tmp_path / "vars.yml"
    variables.write_text("kubernetes_version: 1.35.4\n")
    stages = demo.plan(Path("inv"), variables, [Path("a.yml"), Path("b.yml")])
    plays = [stage.argv for stage in stages if stage.title.startswith("playbook")]
    assert all(f"@{variables}" in argv for argv in plays)
    assert list(stages[0].argv)[-2:] == ["--kubernetes", "1.35.4"]


def test_broken_variables_are_refused_before_anything_runs(tmp_path: Path) -> None:
    variables = tmp_path / "vars.yml"
    variables.write_text("a: [\n")
    with pytest.raises(InvalidInput, match=re.escape(str(variables))):
        demo.plan(Path("inv"), variables, [])


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
    contexts.logins().mkdir(parents=True)
    for name in ("lab-k1.yaml", "site-k1.yaml"):
        (contexts.logins() / name).write_text("secret")
    context(tmp_path, "lab", "https://10.1.0.10:8443")
    context(tmp_path, "site", "https://10.9.0.10:8443")
    (tmp_path / "context").write_text("lab\n")

    assert contexts.remove_of({"10.1.0.10"}) == ["lab"]

    assert contexts.current().name == "site"
    assert [path.name for path in contexts.logins().iterdir()] == ["site-k1.yaml"]
    assert not (tmp_path / "context").exists()


def test_several_contexts_need_a_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEDCOS_CONFIG", str(tmp_path))
    context(tmp_path, "a", "https://10.1.0.10:8443,https://10.1.0.11:8443")
    context(tmp_path, "b", "https://10.2.0.10:8443")
    with pytest.raises(InvalidInput, match="one of a, b"):
        contexts.current()
    monkeypatch.setenv("KUBEDCOS_CONTEXT", "a")
    assert contexts.current().urls == ("https://10.1.0.10:8443", "https://10.1.0.11:8443")


def test_a_broken_context_names_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEDCOS_CONFIG", str(tmp_path))
    context(tmp_path, "a", "https://x")
    (tmp_path / "contexts/a.json").write_text("{}")
    with pytest.raises(InvalidInput, match=r"a\.json"):
        contexts.current()
