"""What the service holds secret is known to whoever redacts what leaves it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from kubedcos import log
from kubedcos.api import daemon
from kubedcos.api.identity import Identity
from kubedcos.api.settings import DaemonSettings
from kubedcos.redaction import Redactor


def test_every_secret_of_the_settings_and_of_the_api_is_redacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[str | bytes] = []

    def set_up(_form: log.Form, _level: str, secrets: Iterable[str | bytes]) -> log.Recent:
        logged.extend(secrets)
        return log.Recent(log.logging.Formatter())

    monkeypatch.setattr(log, "set_up", set_up)
    names = ("mesos", "agent", "mesos-key", "zookeeper", "seal", "api-key")
    planted = {name: f"planted-secret-of-{name}" for name in names}
    files = {name: tmp_path / name for name in names}
    for name, path in files.items():
        path.write_text(f"{planted[name]}\n")
    settings = DaemonSettings.model_validate(
        {
            "mesos": {
                "masters": "m1:5050",
                "principal": "p",
                "secret_file": files["mesos"],
                "agent_secret_file": files["agent"],
                "key_file": files["mesos-key"],
            },
            "state": {
                "zookeeper": "10.0.0.1:2181",
                "password_file": files["zookeeper"],
                "seal_file": files["seal"],
            },
        }
    )
    shown = Identity("ca", tmp_path / "crt", files["api-key"], "operator-tok", "scrape-tok")
    house = daemon._house(settings, shown)
    assert set(house.secrets()) == {*planted.values(), "operator-tok", "scrape-tok"}
    assert logged == list(house.secrets())

    everything = " ".join([*planted.values(), "operator-tok", "scrape-tok"])
    assert Redactor(house.secrets()).text(everything).count("[redacted]") == len(names) + 2
    for secret in planted.values():
        assert secret not in str(house.settings)
        assert secret not in repr(house)
