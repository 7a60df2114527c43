"""The configurations of a cluster at the DC/OS SDK's paths.

What the SDK calls an id is our configurations' number, as text. The content is the cluster's
options, which hold no secrets; the SDK answers with its own service specification.
"""

# No `from __future__ import annotations`: FastAPI reads annotations that name local variables.

import json
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends

from kubedcos.api import configurations
from kubedcos.api.configurations import Configurations
from kubedcos.api.hosted import Hosted, no_such
from kubedcos.state.records import ConfigurationRecord
from kubedcos.state.store import Store


def add(router: APIRouter, find: Callable[..., Hosted], store: Store) -> None:
    """Add the routes."""

    def known(hosted: Annotated[Hosted, Depends(find)]) -> Configurations:
        return configurations.load(store, hosted.options.name)

    @router.get("/configurations")
    async def ids(found: Annotated[Configurations, Depends(known)]) -> list[str]:
        """Ids of the configurations that the cluster has and had, the first one first."""
        return _ids(found)

    @router.get("/configurations/target")
    async def target(found: Annotated[Configurations, Depends(known)]) -> dict[str, Any]:
        """Options that the cluster is to have."""
        return _options(_target(found))

    @router.get("/configurations/targetId")
    async def target_id(found: Annotated[Configurations, Depends(known)]) -> list[str]:
        """The id of the configuration that the cluster is to have, alone in a list."""
        return [str(_target(found).number)]

    @router.get("/configurations/{configuration}")
    async def one(
        configuration: str, found: Annotated[Configurations, Depends(known)]
    ) -> dict[str, Any]:
        """Options of one configuration."""
        if configuration not in _ids(found):
            raise no_such("configuration", configuration, _ids(found))
        return _options(found.get(int(configuration)))


def _ids(found: Configurations) -> list[str]:
    return [str(number) for number in found.by_number]


def _target(found: Configurations) -> ConfigurationRecord:
    """The target.

    Raises:
        Unknown: there is none; the cluster was deleted this moment.
    """
    if found.target is None:
        raise no_such("configuration", "target", [])
    return found.target


def _options(record: ConfigurationRecord) -> dict[str, Any]:
    options: dict[str, Any] = json.loads(record.options)
    return options
