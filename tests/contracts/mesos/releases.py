"""Where 1.11 speaks otherwise than the Mesos of the recordings, 1.12.0-dev.

`git diff 1.11.0..HEAD -- src/master` of Mesos has all of it.
"""

from __future__ import annotations

import re

from .client import Http

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


_SUPPRESSED = r"Suppressed role '\1' is not contained in the list of roles"
_CONSTRAINTS = r"'UpdateFramework.offer_constraints' \1"
