"""linux/capabilities: which capabilities a container starts with, and can ever get. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kubedcos.embedded.agent.isolators.preparation import ContainerRefused, Preparation, Wish
from kubedcos.mesos.messages import CAPABILITIES, CapabilityInfo

Names = tuple[str, ...]


def names_of(info: CapabilityInfo | None) -> Names | None:
    """The names in the order of their numbers, each once; None for no set at all."""
    return None if info is None else _sorted(info.capabilities)


def _sorted(names: Iterable[str]) -> Names:
    return tuple(sorted(set(names) & {*CAPABILITIES}, key=CAPABILITIES.index))


def flags_fault(effective: Names | None, bounding: Names | None) -> str | None:
    """Why an agent with these flags would not start, or None."""
    if effective is not None and bounding is not None and set(effective) - set(bounding):
        return "Allowed capabilities are not a subset of the bounding capabilites"
    return None


def prepare(
    into: Preparation, wish: Wish, *, effective: Names | None, bounding: Names | None
) -> None:
    """Choose between what the container wants and what the agent's flags give.

    Args:
        into: what is added to.
        wish: of the container.
        effective: `--effective_capabilities`.
        bounding: `--bounding_capabilities`.

    Raises:
        ContainerRefused: more is wanted than is allowed.
    """
    linux = wish.container.linux_info if wish.container else None
    if linux is not None and linux.capability_info is not None:
        if linux.effective_capabilities is not None:
            raise ContainerRefused(
                "Only one of 'capability_info' or 'effective_capabilities' is allowed"
            )
        wanted = names_of(linux.capability_info)
    else:
        wanted = names_of(linux.effective_capabilities) if linux is not None else None
    bound = names_of(linux.bounding_capabilities) if linux is not None else None
    if bound is not None and bounding is not None and set(bound) - set(bounding):
        raise ContainerRefused(
            f"Bounding capabilities '{_shown(bound)}', but only '{_shown(bounding)}' are allowed"
        )
    wanted = effective if wanted is None else wanted
    bound = bounding if bound is None else bound
    bound = wanted if bound is None else bound
    if wanted is not None and bound is not None and set(wanted) - set(bound):
        raise ContainerRefused(
            f"Requested capabilities '{_shown(wanted)}', but only '{_shown(bound)}' are allowed"
        )
    into.effective, into.bounding = wanted, bound


def _shown(names: Names) -> str:
    return f"{{ {', '.join(names)} }}"
