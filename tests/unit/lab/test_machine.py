import json
import subprocess
from pathlib import Path
from typing import Any

from kubedcos.lab import machine


class Firewall:
    """Answers as iptables and nft do; remembers what it was told to remove."""

    def __init__(self) -> None:
        self.chains = {"nat": [":NETAVARK-X - [0:0]"], "filter": []}
        self.rules = {"nat": ["-A POSTROUTING -s 10.1.0.0/24 -j NETAVARK-X"], "filter": []}
        self.tables = ["ip nat", "inet theirs"]
        self.restored = ""

    def __call__(self, argv: Any, *, stdin: str | None = None, **_: Any) -> Any:
        out = ""
        match list(argv):
            case ["iptables-save", "-t", table]:
                out = "\n".join([f"*{table}", *self.chains[table], *self.rules[table], "COMMIT"])
            case ["iptables-restore", "--noflush"]:
                self.restored += stdin or ""
                self.chains["nat"], self.rules["nat"] = [], []
            case ["nft", "-j", "list", "tables"]:
                pairs = [name.split() for name in self.tables]
                out = json.dumps(
                    {"nftables": [{"table": {"family": f, "name": n}} for f, n in pairs]}
                )
            case ["nft", "delete", "table", *name]:
                self.tables.remove(" ".join(name))
        return subprocess.CompletedProcess(argv, 0, stdout=out, stderr="")


def settings(root: Path, **values: str) -> Path:
    for name, value in values.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def record(path: Path, found: dict[str, str]) -> Path:
    path.write_text(json.dumps({"settings": found, "chains": [], "tables": ["inet theirs"]}))
    return path


def test_what_containers_changed_is_set_back_and_the_rest_left_alone(tmp_path: Path) -> None:
    root = settings(
        tmp_path / "sys", net__ipv4__ip_forward="1", kernel__panic="10", vm__swappiness="1"
    )
    found = {"net/ipv4/ip_forward": "0", "kernel/panic": "10"}
    firewall = Firewall()
    path = record(tmp_path / "record", found)

    done = machine.restore(path, root, others_need_network=False, tell=print, runner=firewall)

    assert (root / "net/ipv4/ip_forward").read_text() == "0"
    assert (root / "vm/swappiness").read_text() == "1\n"
    assert "net/ipv4/ip_forward" in done
    assert "kernel/panic" not in done
    assert not path.exists()


def test_chains_and_tables_that_podman_left_are_removed_and_others_stay(tmp_path: Path) -> None:
    firewall = Firewall()
    path = record(tmp_path / "record", {})

    machine.restore(path, tmp_path, others_need_network=False, tell=print, runner=firewall)

    assert "-D POSTROUTING -s 10.1.0.0/24 -j NETAVARK-X\n-X NETAVARK-X\n" in firewall.restored
    assert firewall.tables == ["inet theirs"]


def test_a_table_that_was_there_before_stays_even_when_it_is_empty(tmp_path: Path) -> None:
    firewall = Firewall()
    path = tmp_path / "record"
    path.write_text(json.dumps({"settings": {}, "chains": [], "tables": ["ip nat"]}))

    machine.restore(path, tmp_path, others_need_network=False, tell=print, runner=firewall)

    assert "ip nat" in firewall.tables


def test_forwarding_and_firewall_stay_while_others_need_them(tmp_path: Path) -> None:
    root = settings(tmp_path / "sys", net__ipv4__ip_forward="1", kernel__panic="10")
    firewall = Firewall()
    path = record(tmp_path / "record", {"net/ipv4/ip_forward": "0", "kernel/panic": "0"})

    machine.restore(path, root, others_need_network=True, tell=print, runner=firewall)

    assert (root / "net/ipv4/ip_forward").read_text() == "1\n"
    assert (root / "kernel/panic").read_text() == "0"
    assert firewall.restored == ""


def test_the_first_record_is_the_one_that_counts(tmp_path: Path) -> None:
    path = record(tmp_path / "record", {"kernel/panic": "7"})
    machine.remember(path, runner=Firewall())
    assert json.loads(path.read_text())["settings"] == {"kernel/panic": "7"}


def test_without_a_record_nothing_is_touched(tmp_path: Path) -> None:
    firewall = Firewall()
    path = tmp_path / "none"
    assert (
        machine.restore(path, tmp_path, others_need_network=False, tell=print, runner=firewall)
        == []
    )
    assert firewall.tables == ["ip nat", "inet theirs"]


def test_limits_are_raised_where_they_are_low_and_never_lowered(tmp_path: Path) -> None:
    root = settings(
        tmp_path, fs__inotify__max_user_instances="128", fs__inotify__max_user_watches="99999999"
    )
    assert machine.raise_limits(root, tell=print) == ["fs/inotify/max_user_instances"]
    assert (root / "fs/inotify/max_user_instances").read_text() == "2048"
    assert machine.raise_limits(root, tell=print) == []
    assert set(machine.LEAST) <= set(machine.SETTINGS)
