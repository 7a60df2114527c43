"""The state of a host's file moves into ZooKeeper, when one scheduler becomes several."""

from __future__ import annotations

from kubedcos.api import identity
from kubedcos.api.leading import named, sealed_once, session
from kubedcos.api.settings import DaemonSettings
from kubedcos.api.workloads import ARTIFACTS, INDEX
from kubedcos.errors import InvalidInput, Problem, Refused
from kubedcos.kubernetes.vault import SECRET, FileSecretStore, SealedSecretStore
from kubedcos.state.seal import Seal, read_seal
from kubedcos.state.session import ZooKeeperSession
from kubedcos.state.sqlite import SqliteStore
from kubedcos.state.store import Change, Store

LEAD_SECONDS = 30.0


def move(settings: DaemonSettings) -> list[str] | None:
    """Move records, keys and the API's identity into ZooKeeper; names of the clusters that moved.

    None when this host has nothing to move.

    Nothing is removed: what was moved is renamed. An interrupted move is done again from its
    beginning and changes nothing that it has done.

    Raises:
        InvalidInput: the settings name no ZooKeeper.
        Refused: a scheduler leads there, or ZooKeeper has other state of the same clusters.
        StateError: the file or ZooKeeper cannot be read or written, or a scheduler uses the file.
    """
    if not settings.state.zookeeper:
        wanted = "zk://host:port,…/path"
        raise InvalidInput([Problem("settings: state.zookeeper", "nothing", wanted)])
    if not settings.database.exists():
        return None
    seal = read_seal(named(settings.state.seal_file), "settings: state.seal_file")
    file = SqliteStore(settings.database, wait_seconds=1.0)
    try:
        shared = session(settings)
        try:
            shared.start()
            moved = _move(settings, file, shared, seal)
        finally:
            shared.close()
    finally:
        file.close()
    for path in (settings.database, settings.secrets_dir):
        if path.exists():
            path.rename(path.with_name(f"{path.name}.moved"))
    return moved


def _move(
    settings: DaemonSettings, file: SqliteStore, shared: ZooKeeperSession, seal: Seal
) -> list[str]:
    leader = shared.leader()
    if leader:
        raise Refused(
            f"{leader} leads in {settings.state.zookeeper} already; wanted every scheduler stopped"
            f" before the state of {settings.database} is moved there"
        )
    shared.lead(LEAD_SECONDS)
    store = shared.store()
    moved = []
    for cluster in file.clusters():
        documents = _documents(settings, file, cluster)
        _refuse_other(store, cluster, documents, settings)
        folder = FileSecretStore(settings.secrets_dir / cluster / "vault")
        secrets = SealedSecretStore(store, cluster, seal)
        found = {name: folder.get(name) or b"" for name in folder.names()}
        changes = [Change(kind, key, value) for (kind, key), value in documents.items()]
        changes += [secrets.change(name, value) for name, value in found.items()]
        store.write(cluster, changes)
        moved.append(cluster)
    identity.share(settings.identity_dir, sealed_once(shared, seal))
    return moved


def _documents(
    settings: DaemonSettings, file: SqliteStore, cluster: str
) -> dict[tuple[str, str], bytes]:
    documents = dict(file.documents(cluster))
    index = settings.secrets_dir / cluster / INDEX
    if (ARTIFACTS, ARTIFACTS) not in documents and index.exists():
        documents[ARTIFACTS, ARTIFACTS] = index.read_bytes()
    return documents


def _refuse_other(
    store: Store, cluster: str, documents: dict[tuple[str, str], bytes], settings: DaemonSettings
) -> None:
    """Both may hold a cluster only if an interrupted move left the same in both."""
    if cluster not in store.clusters():
        return
    for (kind, key), value in documents.items():
        if kind != SECRET and store.read(cluster, kind).get(key) != value:
            raise Refused(
                f"cluster {cluster}: its {kind} {key} in {settings.database} differs from that in"
                f" {settings.state.zookeeper}; wanted a cluster in one of the two. Remove the one"
                " that is out of date"
            )
