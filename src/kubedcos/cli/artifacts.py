"""``kubedcos artifacts``: binaries and images, from their sources to the hosts."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from kubedcos.cli.output import Format, JsonOption, OutputOption, chosen, show
from kubedcos.errors import ExitCode, InvalidInput, Problem

if TYPE_CHECKING:
    from kubedcos.artifacts.build import Builder
    from kubedcos.artifacts.export import Pair
    from kubedcos.artifacts.manifest import Artifact
    from kubedcos.artifacts.sources import SourceKind

app = typer.Typer(no_args_is_help=True)

NamesArgument = Annotated[list[str] | None, typer.Argument(help="Names; without any, all.")]
ForOption = Annotated[str, typer.Option("--for", help="The manifest's set of versions.")]
KubernetesOption = Annotated[
    str | None, typer.Option("--kubernetes", help="Another Kubernetes version than the set's.")
]
ManifestOption = Annotated[
    Path | None,
    typer.Option("--manifest", envvar="KUBEDCOS_MANIFEST", help="The manifest to go by."),
]
SourcesOption = Annotated[
    str,
    typer.Option(
        "--sources",
        envvar="KUBEDCOS_ARTIFACT_SOURCES",
        help="Source kinds, preferred first: release,mirror,go,debian,image,python.",
    ),
]
MirrorOption = Annotated[
    str,
    typer.Option(
        "--mirror", envvar="KUBEDCOS_ARTIFACT_MIRROR", help="Base address of the site's mirror."
    ),
]


@app.command("list")
def list_(
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
    manifest: ManifestOption = None,
) -> None:
    """List what the manifest has, with licence, sum, sources, and whether it is here."""
    builder = _builder(manifest)
    rows = []
    for artifact in builder.manifest.all:
        record = builder.present(artifact)
        rows.append(
            {
                "name": artifact.name,
                "version": artifact.version,
                "platform": artifact.platform,
                "kind": artifact.kind,
                "licence": artifact.licence,
                "homepage": artifact.homepage,
                "sha256": record.sha256 if record else artifact.sha256,
                "sums": {str(kind): sha256 for kind, sha256 in artifact.sums.items()},
                "sources": [_source(source) for source in artifact.sources],
                "state": "verified" if record else "missing",
                "size": record.size if record else None,
                "reference": artifact.reference,
                "path": str(builder.store.file(record)) if record else "",
                "short": (record.sha256 if record else artifact.sha256)[:12],
                "from": ", ".join(source.kind for source in artifact.sources),
            }
        )
    wanted = chosen(output, as_json)
    if wanted in {Format.JSON, Format.YAML}:
        rows = [{k: v for k, v in row.items() if k not in {"short", "from"}} for row in rows]
    show(
        rows,
        wanted,
        columns=[
            ("NAME", "name"),
            ("VERSION", "version"),
            ("PLATFORM", "platform"),
            ("LICENCE", "licence"),
            ("SHA256", "short"),
            ("SOURCES", "from"),
            ("STATE", "state"),
        ],
        wide=[("KIND", "kind"), ("SIZE", "size"), ("PATH", "path")],
    )


@app.command()
def build(
    names: NamesArgument = None,
    for_: ForOption = "lab",
    kubernetes: KubernetesOption = None,
    sources: SourcesOption = "",
    mirror: MirrorOption = "",
    manifest: ManifestOption = None,
    keep_caches: Annotated[
        bool,
        typer.Option("--keep-caches", help="Keep Go's caches after a build (some 8 GB)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make artefacts available here; what is here and verified is not made again."""
    builder = _builder(manifest, sources, mirror)
    outcome = builder.build(_selected(builder, names, for_, kubernetes))
    if outcome.compiled and not keep_caches:
        builder.prune()
    show(
        {
            "changed": bool(outcome.made),
            "made": list(outcome.made),
            "artifacts": [
                {**asdict(record), "path": str(builder.store.file(record))}
                for record in outcome.records
            ],
        },
        chosen(Format.TABLE, as_json),
        text=f"{len(outcome.records)} artefacts verified, {len(outcome.made)} of them made now",
    )


@app.command()
def verify(
    names: NamesArgument = None,
    for_: ForOption = "lab",
    kubernetes: KubernetesOption = None,
    manifest: ManifestOption = None,
    output: OutputOption = Format.TABLE,
    as_json: JsonOption = False,
) -> None:
    """Hash every artefact again. Exit code 1: one is spoilt; 4: one is missing."""
    from kubedcos.artifacts.verify import Verdict
    from kubedcos.artifacts.verify import verify as look

    builder = _builder(manifest)
    findings = look(builder.store, _selected(builder, names, for_, kubernetes), builder.present)
    show(
        [
            {
                "name": finding.artifact.name,
                "version": finding.artifact.version,
                "verdict": str(finding.verdict),
                "wanted": finding.wanted,
                "seen": finding.seen,
            }
            for finding in findings
        ],
        chosen(output, as_json),
        columns=[
            ("NAME", "name"),
            ("VERSION", "version"),
            ("VERDICT", "verdict"),
            ("FOUND SHA256", "seen"),
        ],
        wide=[("WANTED SHA256", "wanted")],
    )
    verdicts = {finding.verdict for finding in findings}
    if Verdict.SPOILT in verdicts:
        raise typer.Exit(ExitCode.FAILED)
    if Verdict.MISSING in verdicts:
        raise typer.Exit(ExitCode.INCOMPLETE)


@app.command()
def bundle(
    target: Annotated[Path, typer.Argument(help="The tar to write.")],
    for_: ForOption = "lab",
    kubernetes: KubernetesOption = None,
    sources: SourcesOption = "",
    mirror: MirrorOption = "",
    manifest: ManifestOption = None,
    debs: Annotated[
        Path | None, typer.Option("--debs", help="Folder of Debian packages to take along.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one tar for a site without internet."""
    from kubedcos.artifacts.bundle import write_bundle

    if debs is not None and not debs.is_dir():
        raise InvalidInput([Problem("--debs", str(debs), "a folder with .deb files")])
    builder, pairs, choice = _obtained(for_, kubernetes, sources, mirror, manifest)
    packages = sorted(debs.glob("*.deb")) if debs else []
    members = write_bundle(builder.store, pairs, choice, target, packages)
    size = target.stat().st_size
    show(
        {"bundle": str(target), "size": size, "members": members},
        chosen(Format.TABLE, as_json),
        text=f"{target}: {len(members)} files, {size / 1e6:.0f} MB; "
        f"at the other site: kubedcos artifacts load {target.name}",
    )


@app.command()
def load(
    bundle_file: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle.")],
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the artefacts of a bundle in, each verified; afterwards nothing needs the internet."""
    from kubedcos.artifacts.bundle import load_bundle

    builder = _builder(manifest)
    records = load_bundle(builder.store, builder.manifest, bundle_file)
    show(
        {"loaded": [asdict(record) for record in records]},
        chosen(Format.TABLE, as_json),
        text=f"{len(records)} artefacts loaded and verified",
    )


@app.command()
def export(
    destination: Annotated[Path, typer.Argument(help="Folder to bring in line.")],
    for_: ForOption = "lab",
    kubernetes: KubernetesOption = None,
    sources: SourcesOption = "",
    mirror: MirrorOption = "",
    manifest: ManifestOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the tree that the bootstrap host serves; says whether anything changed."""
    from kubedcos.artifacts.export import export_tree
    from kubedcos.kubernetes import launcher

    builder, pairs, choice = _obtained(for_, kubernetes, sources, mirror, manifest)
    extras = {launcher.FETCHED_NAME: launcher.source()}
    change = export_tree(builder.store, pairs, choice, destination, extras=extras)
    show(
        {"changed": bool(change), "added": list(change.added), "removed": list(change.removed)},
        chosen(Format.TABLE, as_json),
        text=f"changed: {len(change.added)} written, {len(change.removed)} removed"
        if change
        else "unchanged",
    )


@app.command()
def prune(as_json: JsonOption = False) -> None:
    """Remove Go's module and build caches; artefacts stay."""
    freed = _builder(None).prune()
    show({"freed": freed}, chosen(Format.TABLE, as_json), text=f"{freed / 1e9:.1f} GB freed")


@app.command()
def lock(manifest: ManifestOption = None, as_json: JsonOption = False) -> None:
    """Resolve the hosts' Python wheels anew and write them with their sums."""
    from kubedcos.artifacts.pylock import write_lock

    builder = _builder(manifest)
    root = builder.manifest.path.parent
    changed = write_lock(
        project=root / "pyproject.toml",
        constraints=root / "constraints.txt",
        target=builder.manifest.data / "python" / "requirements.txt",
        python="3.11",
    )
    text = "changed" if changed else "unchanged"
    show({"changed": changed}, chosen(Format.TABLE, as_json), text=text)


def _builder(manifest: Path | None, sources: str = "", mirror: str = "") -> Builder:
    import kubedcos
    from kubedcos.artifacts import manifest as manifests
    from kubedcos.artifacts.build import Builder
    from kubedcos.artifacts.progress import StreamProgress
    from kubedcos.artifacts.store import Store, cache_root

    # A killed run takes the programs that it started along.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return Builder(
        manifest=manifests.load(manifest or manifests.find()),
        store=Store.default(),
        cache=cache_root(),
        package=Path(kubedcos.__file__).parent,
        sources=_kinds(sources),
        mirror=_address(mirror),
        progress=StreamProgress(sys.stderr),
    )


def _address(mirror: str) -> str:
    try:
        parts = urlsplit(mirror)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if mirror and not fits:
        wanted = "an address such as http://mirror.example/kubedcos"
        raise InvalidInput([Problem("--mirror", repr(mirror), wanted, id="mirror-address")])
    return mirror


def _kinds(text: str) -> tuple[SourceKind, ...]:
    from kubedcos.artifacts.sources import DEFAULT_SOURCES, SourceKind

    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in set(SourceKind)]
    if unknown:
        raise InvalidInput(
            [
                Problem("--sources", word, "one of " + ", ".join(SourceKind), id="unknown-source")
                for word in unknown
            ]
        )
    return tuple(SourceKind(word) for word in words) or DEFAULT_SOURCES


def _selected(
    builder: Builder, names: list[str] | None, for_: str, kubernetes: str | None
) -> tuple[Artifact, ...]:
    among = builder.manifest.chosen(builder.manifest.choice(for_, kubernetes))
    known = {artifact.name for artifact in among}
    if unknown := [name for name in names or [] if name not in known]:
        raise InvalidInput(
            [
                Problem("artefact name", name, "one of " + ", ".join(sorted(known)))
                for name in unknown
            ]
        )
    wanted = [artifact for artifact in among if not names or artifact.name in names]
    return builder.manifest.with_needs(wanted, among)


def _obtained(
    for_: str, kubernetes: str | None, sources: str, mirror: str, manifest: Path | None
) -> tuple[Builder, list[Pair], dict[str, str]]:
    builder = _builder(manifest, sources, mirror)
    choice = dict(builder.manifest.choice(for_, kubernetes))
    among = builder.manifest.chosen(choice)
    outcome = builder.build(among)
    return builder, list(zip(among, outcome.records, strict=True)), choice


def _source(source: Any) -> dict[str, Any]:
    data: dict[str, Any] = source.model_dump(mode="json", exclude_defaults=True)
    return data
