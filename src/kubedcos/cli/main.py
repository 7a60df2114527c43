"""Entry point of `kubedcos`: finds the command group, and turns every failure into a sentence."""

from __future__ import annotations

import importlib
import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from kubedcos.errors import ExitCode, KubedcosError

# name: (module with `app` or, for a single command, `command`; what `kubedcos --help` says of it)
GROUPS: dict[str, tuple[str, str]] = {
    "demo": ("kubedcos.cli.demo", "Everything on this machine: up, down."),
    "lab": ("kubedcos.cli.lab", "Hosts for one machine: up, down, exec, images; simulate."),
    "artifacts": ("kubedcos.cli.artifacts", "Binaries and images: list, build, verify, bundle."),
    "cluster": ("kubedcos.cli.cluster", "Kubernetes clusters: create, update, scale, delete."),
    "status": ("kubedcos.cli.status", "How every cluster stands; --watch, --wait 10m."),
    "plan": ("kubedcos.cli.plan", "What is done in which order, how far it is; steer it."),
    "pod": ("kubedcos.cli.pod", "Pod instances and their Mesos tasks; restart, replace, pause."),
    "logs": ("kubedcos.cli.logs", "What a task says, from its Mesos sandbox."),
    "explain": ("kubedcos.cli.explain", "What an option of a cluster means."),
    "kubeconfig": ("kubedcos.cli.kubeconfig", "Print a kubeconfig that works from here."),
    "kubectl": ("kubedcos.cli.kubectl", "Run kubectl against a cluster."),
    "doctor": ("kubedcos.cli.doctor", "Look for what is wrong, and say what helps."),
    "preflight": ("kubedcos.cli.preflight", "Check an inventory and its hosts; change nothing."),
    "scheduler": ("kubedcos.cli.scheduler", "The framework scheduler itself (runs on masters)."),
}


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application, with only the group that `arguments` ask for imported.

    The other groups stand in it by name and summary, which is all that ``--help`` shows; importing
    them all would make each call pay for what it does not use.
    """
    app = typer.Typer(
        name="kubedcos",
        help="One Mesos cluster out of machines in several data centres, and Kubernetes on it.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        # Boxes would cost more than everything else together: rich's Markdown and its lexers.
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    completing = "_KUBEDCOS_COMPLETE" in os.environ
    asked = next((word for word in arguments if not word.startswith("-")), "")
    for name, (module, summary) in GROUPS.items():
        if name == asked or completing:
            found = importlib.import_module(module)
            if hasattr(found, "app"):
                _shorten_summaries(found.app)
                app.add_typer(found.app, name=name, help=summary)
            else:
                app.command(name, help=summary)(found.command)
        else:
            app.command(name, help=summary)(_never)
    return app


def _shorten_summaries(group: typer.Typer) -> None:
    """Have a list of commands say the first clause of each: a whole sentence is cut off there."""
    for command in group.registered_commands:
        if command.callback is not None and command.callback.__doc__:
            sentence = command.callback.__doc__.partition("\n")[0]
            command.short_help = sentence.partition(";")[0].rstrip(".") + "."
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _shorten_summaries(inner.typer_instance)


def _version(asked: bool) -> None:
    if asked:
        from kubedcos import __version__

        typer.echo(__version__)
        raise typer.Exit


def _root(
    _version_asked: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and end.", is_eager=True, callback=_version
        ),
    ] = False,
) -> None:
    pass


def _never() -> None:
    """Stands for a group that was not asked for."""
    raise AssertionError("a command group was run without being imported")


def main() -> None:
    """Run the command line of this process and exit with its code.

    No traceback reaches a user; KUBEDCOS_DEBUG=1 shows it.
    """
    debug = os.environ.get("KUBEDCOS_DEBUG", "") not in {"", "0"}
    _prepare_stdout()
    try:
        build(sys.argv[1:])(prog_name="kubedcos")
    except KubedcosError as error:
        if debug:
            traceback.print_exc()
        print(f"kubedcos: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        # What the machine refuses (a full disk, a file of somebody else's) is no defect of ours.
        if debug:
            traceback.print_exc()
        what = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        print(f"kubedcos: {what}. KUBEDCOS_DEBUG=1 shows where", file=sys.stderr)
        sys.exit(ExitCode.FAILED)
    except Exception as error:
        if debug:
            traceback.print_exc()
        text = f"{type(error).__name__}: {error}"
        print(f"kubedcos: defect: {text}. KUBEDCOS_DEBUG=1 shows where", file=sys.stderr)
        sys.exit(ExitCode.FAILED)


def _prepare_stdout() -> None:
    """Have every answer written or refused: no locale and no closed stdout is a defect."""
    if sys.stdout is None:
        # Each write fails then, as the shell's own programs' do.
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


if __name__ == "__main__":
    main()
