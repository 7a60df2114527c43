"""Where 1.11 speaks otherwise than the Mesos of the recordings, 1.12.0-dev.

`git diff 1.11.0..HEAD -- src/master include/mesos/v1` of Mesos has all of it.
"""

from __future__ import annotations

import re

from .client import Http, Json

FOREIGN_ROLE = "Offer constraints specify `role_constraints` for a role"
"""1.11 takes these (MESOS-10176)."""


def is_1_11(master: Http) -> bool:
    """Whether this master is of that release."""
    version: str = master.get("/version").json["version"]
    return version.startswith("1.11.")


def in_its_words(master: Http, recorded: str) -> str:
    """A recorded text as this master says it."""
    if not is_1_11(master):
        return recorded
    for new, old in (
        (r"Suppressed roles \{ (.*) \} are not contained in the set of roles", _SUPPRESSED),
        (r"'UpdateFramework' call is not valid: Offer constraints (are not valid: )", _CONSTRAINTS),
        (r"^Offer constraints are not valid: ", ""),
    ):
        recorded = re.sub(new, old, recorded)
    return recorded


def capabilities(master: Http, recorded: list[Json]) -> list[Json]:
    """Recorded capabilities of a master as this one lists them in its v1 API.

    1.11 has QUOTA_V2, but no such name in `include/mesos/v1/mesos.proto`: it lists it without.
    """
    if not is_1_11(master):
        return recorded
    return [{} if entry == {"type": "QUOTA_V2"} else entry for entry in recorded]


_SUPPRESSED = r"Suppressed role '\1' is not contained in the list of roles"
_CONSTRAINTS = r"'UpdateFramework.offer_constraints' \1"
