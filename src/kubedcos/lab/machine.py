"""The machine as it was before the first lab, so that the last one leaves it like that.

What containers may change for the whole machine: kernel settings that have no namespace (kubelet
sets some), forwarding (podman sets it), and the firewall chains that podman leaves behind. The
record lives in /run: a reboot sets everything back anyway.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubedcos.lab.program import Runner, run

RECORD = Path("/run/kubedcos/machine.json")

SETTINGS = (
    "fs/file-max",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
    "fs/nr_open",
    "fs/protected_fifos",
    "fs/protected_hardlinks",
    "fs/protected_regular",
    "fs/protected_symlinks",
    "kernel/core_pattern",
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/pid_max",
    "kernel/sysrq",
    "net/ipv4/conf/all/accept_redirects",
    "net/ipv4/conf/default/accept_redirects",
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv6/conf/default/forwarding",
    "net/netfilter/nf_conntrack_max",
    "vm/max_map_count",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "vm/swappiness",
)
# A host needs some seven inotify instances, and the usual 128 are for all of root's processes: the
# systemd that gets none stops in the middle of its start without a word.
LEAST = {
    "fs/inotify/max_user_instances": 2048,
    "fs/inotify/max_user_watches": 524288,
}
_CHAIN = re.compile(r"^:(NETAVARK\S*) ", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Found:
    """What was there: kernel settings by path below /proc/sys, firewall chains and tables."""

    settings: Mapping[str, str]
    chains: Sequence[str]
    tables: Sequence[str]


def look(root: Path = Path("/proc/sys"), *, runner: Runner = run) -> Found:
    """Read the machine's present state."""
    settings = {}
    for name in SETTINGS:
        try:
            settings[name] = (root / name).read_text().strip()
        except OSError:
            continue
    return Found(settings, _chains(runner), _tables(runner))


def remember(record: Path = RECORD, *, runner: Runner = run) -> None:
    """Record the present state, unless a lab has done so before."""
    if record.exists():
        return
    found = look(runner=runner)
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".part")
    partial.write_text(
        json.dumps(
            {
                "settings": dict(found.settings),
                "chains": list(found.chains),
                "tables": list(found.tables),
            }
        )
    )
    partial.replace(record)


def raise_limits(root: Path = Path("/proc/sys"), *, tell: Callable[[str], None]) -> list[str]:
    """Raise kernel limits that many hosts on one machine exceed; `restore` sets them back.

    Returns:
        What was raised.
    """
    raised = []
    for name, least in LEAST.items():
        path = root / name
        try:
            if int(path.read_text()) < least:
                path.write_text(str(least))
                raised.append(name)
        except (OSError, ValueError) as error:
            tell(f"could not raise {name} to {least}: {error}")
    return raised


def restore(
    record: Path = RECORD,
    root: Path = Path("/proc/sys"),
    *,
    others_need_network: bool,
    tell: Callable[[str], None],
    runner: Runner = run,
) -> list[str]:
    """Set back what differs from the record, and forget the record.

    Args:
        record: where the state was written down.
        root: where the kernel's settings are.
        others_need_network: containers of others run on podman networks; forwarding and podman's
            own firewall chains stay as they are.
        tell: hears of settings that could not be set back.
        runner: runs programs.

    Returns:
        What was set back.
    """
    if not record.exists():
        return []
    document = json.loads(record.read_text())
    done = []
    now = look(root, runner=runner)
    for name, value in document["settings"].items():
        if now.settings.get(name, value) == value:
            continue
        if others_need_network and name.startswith("net/"):
            continue
        try:
            (root / name).write_text(value)
        except OSError as error:
            tell(f"could not set {name} back to {value!r}: {error}")
            continue
        done.append(name)
    if not others_need_network:
        done += _remove_chains(set(document["chains"]), runner)
        done += _remove_tables(set(document["tables"]), runner)
    record.unlink()
    return done


def _chains(runner: Runner) -> list[str]:
    """Podman's chains, as ``table/CHAIN``."""
    found = []
    for table in ("filter", "nat"):
        saved = runner(["iptables-save", "-t", table], check=False).stdout
        found += [f"{table}/{name}" for name in _CHAIN.findall(saved)]
    return found


def _tables(runner: Runner) -> list[str]:
    """Nftables tables, as ``family name``."""
    answer = runner(["nft", "-j", "list", "tables"], check=False)
    try:
        entries = json.loads(answer.stdout)["nftables"]
    except (ValueError, KeyError):
        return []
    return [f"{e['table']['family']} {e['table']['name']}" for e in entries if "table" in e]


def _remove_chains(kept: set[str], runner: Runner) -> list[str]:
    """Remove podman's chains that were not there before, after the rules that jump to them."""
    gone = [chain for chain in _chains(runner) if chain not in kept]
    for table in ("filter", "nat"):
        names = {chain.split("/", 1)[1] for chain in gone if chain.startswith(f"{table}/")}
        if not names:
            continue
        lines = [f"*{table}"]
        for rule in runner(["iptables-save", "-t", table], check=False).stdout.splitlines():
            words = rule.split()
            if rule.startswith("-A ") and names & set(words[1:]):
                lines.append(f"-D {rule.removeprefix('-A ')}")
        lines += [f"-X {name}" for name in sorted(names)]
        runner(["iptables-restore", "--noflush"], stdin="\n".join([*lines, "COMMIT", ""]))
    return gone


def _remove_tables(kept: set[str], runner: Runner) -> list[str]:
    """Remove the tables that podman's firewall program made and left without a rule."""
    gone = []
    for name in _tables(runner):
        if name in kept or name not in {"ip filter", "ip nat", "ip6 filter", "ip6 nat"}:
            continue
        listed = runner(["nft", "-j", "list", "table", *name.split()], check=False).stdout
        if '"rule"' not in listed and '"policy": "drop"' not in listed:
            runner(["nft", "delete", "table", *name.split()])
            gone.append(name)
    return gone
