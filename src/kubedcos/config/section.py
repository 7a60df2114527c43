"""What all parts of a cluster's options share: their base, and types with their rules."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    """A part of the options: nothing unknown, nothing converted, nothing changed later."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


def _thousandths(value: float) -> float:
    if round(value, 3) != value:
        raise ValueError("at most three decimals, as Mesos counts CPUs")
    return value


def _absolute(value: str) -> str:
    if not value.startswith("/"):
        raise ValueError("an absolute path")
    return value


def _role_name(value: str) -> str:
    if value and not re.match(
        r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", value
    ):
        raise ValueError("a Mesos role: letters, digits, '_', '.' and '-', levels apart by '/'")
    return value


Cpus = Annotated[float, Field(ge=0.01, le=1024), AfterValidator(_thousandths)]
Mebibytes = Annotated[int, Field(ge=32)]
Path = Annotated[str, AfterValidator(_absolute)]
RoleName = Annotated[str, AfterValidator(_role_name)]
