"""Makes the workload of a cluster from its options: secrets, artefacts, ways into Mesos."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx2
from cryptography import x509

from kubedcos.api.hosted import Links
from kubedcos.api.identity import Identity
from kubedcos.api.settings import DaemonSettings
from kubedcos.clock import Clock
from kubedcos.config.cluster import ClusterOptions
from kubedcos.errors import InvalidInput, KubedcosError, Problem
from kubedcos.kubernetes.artifact_index import ArtifactIndex
from kubedcos.kubernetes.sandbox import AgentSandboxReader
from kubedcos.kubernetes.vault import Ca, SecretStore, Vault
from kubedcos.kubernetes.workload import ApiEndpoint, KubernetesWorkload
from kubedcos.mesos.tls import client_context
from kubedcos.state.store import Change, Store

INDEX = "artifacts.json"
ARTIFACTS = "artifacts"
"""Kind and key of the document with the index."""
FETCH_SECONDS = 20.0


class NoArtifacts(KubedcosError):
    """The artefact server does not answer."""


@dataclass(slots=True)
class ClusterWorkload:
    """A Kubernetes cluster with its folder, which goes when the cluster goes."""

    kubernetes: KubernetesWorkload
    vault: Vault
    folder: Path
    reader: AgentSandboxReader

    def certificates(self) -> Mapping[str, float]:
        """When the cluster's authorities expire."""
        found = {}
        for ca in Ca:
            parsed = x509.load_pem_x509_certificate(self.vault.authority(ca).certificate_pem)
            found[f"ca-{ca}"] = parsed.not_valid_after_utc.timestamp()
        return found

    def secrets(self) -> Iterable[bytes]:
        """Everything in the cluster's vault."""
        values = (self.vault.store.get(name) for name in self.vault.store.names())
        return [value for value in values if value]

    async def log_piece(
        self, address: str, task_id: str, file: str, offset: int, length: int
    ) -> tuple[str, int]:
        """A piece of a file of a task's sandbox; see `AgentSandboxReader.piece`."""
        return await self.reader.piece(address, task_id, file, offset, length)

    def forget(self) -> None:
        """Forget every key and file of the cluster."""
        self.vault.destroy()
        shutil.rmtree(self.folder, ignore_errors=True)


def maker(
    settings: DaemonSettings,
    shown: Identity,
    clock: Clock,
    store: Store,
    secrets: Callable[[str], SecretStore],
) -> Callable[[ClusterOptions, Links], Awaitable[ClusterWorkload]]:
    """A function that makes workloads with these settings.

    Args:
        settings: of the service.
        shown: who the API is, for tasks.
        clock: for dates of certificates and grants.
        store: where it is kept which artefacts a cluster was made from.
        secrets: where the keys of a cluster are kept, by its name.
    """

    async def make(options: ClusterOptions, links: Links) -> ClusterWorkload:
        """The workload of one cluster.

        Raises:
            InvalidInput: the artefact server lacks what the cluster needs.
            NoArtifacts: it does not answer.
        """
        folder = settings.secrets_dir / options.name
        vault = Vault(secrets(options.name), options.name, clock)
        mesos = settings.mesos
        tls = None
        if mesos.ca_file is not None:
            tls = client_context(mesos.ca_file, mesos.cert_file, mesos.key_file)
        kept = _kept_index(store, options.name, folder)
        known = kept or await _fetch(options.artifacts.url)
        reader = AgentSandboxReader(
            httpx2.AsyncClient(
                auth=_agent_credentials(settings),
                trust_env=False,
                verify=True if tls is None else tls,
            ),
            links.framework_id,
            options.mesos.agent_port,
            "http" if tls is None else "https",
        )
        kubernetes = KubernetesWorkload(
            options=options,
            vault=vault,
            index=ArtifactIndex.parse(options.artifacts.url, known),
            endpoint=ApiEndpoint(settings.api.urls(), shown.ca_pem, settings.api.front),
            reader=reader,
            clock=clock,
            alarm=links.alarm,
            lineage=links.lineage,
        )
        # What a cluster was made from stays, whatever the server has later.
        if kept is None:
            store.write(options.name, [Change(ARTIFACTS, ARTIFACTS, known)])
        return ClusterWorkload(kubernetes, vault, folder, reader)

    return make


def _kept_index(store: Store, cluster: str, folder: Path) -> bytes | None:
    """What the cluster was made from; a file has it where an earlier release made the cluster."""
    kept = store.read(cluster, ARTIFACTS).get(ARTIFACTS)
    if kept is None and (file := folder / INDEX).exists():
        kept = file.read_bytes()
    return kept


async def _fetch(url: str) -> bytes:
    """The index of the artefact server at `url`."""
    address = f"{url}/artifacts/index.json"
    try:
        async with httpx2.AsyncClient(trust_env=False, timeout=FETCH_SECONDS) as client:
            reply = await client.get(address)
    except httpx2.HTTPError as error:
        raise NoArtifacts(f"{address}: {error!r}") from error
    if reply.status_code != 200:
        raise NoArtifacts(f"{address}: answered {reply.status_code}")
    return bytes(reply.content)


def agent_logins(settings: DaemonSettings) -> tuple[tuple[str, str], ...]:
    """The login for agents, which masters know as well; none where agents ask for none."""
    found = _agent_credentials(settings)
    return () if found is None else (found,)


def _agent_credentials(settings: DaemonSettings) -> tuple[str, str] | None:
    """What agents' HTTP API asks for."""
    mesos = settings.mesos
    if mesos.agent_secret_file is None:
        return None
    try:
        secret = mesos.agent_secret_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            [
                Problem(
                    "settings: mesos.agent_secret_file",
                    str(error),
                    "a file that the service can read",
                    id="secret-file",
                )
            ]
        ) from error
    return mesos.agent_principal, secret
