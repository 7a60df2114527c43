"""Whether a lease is held by the component that we started. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from kubedcos.kubernetes.grants import Grant
from kubedcos.scheduler.workload import Readiness

_CLOCK_SKEW = 5.0


def judge_lease(lease: Mapping[str, Any], grant: Grant | None, now: float) -> Readiness:
    """Whether a Lease (JSON) is fresh, and acquired by the task of `grant` since it started.

    Args:
        lease: as the API gives it.
        grant: what the task was given; None when it is not known.
        now: seconds since 1970.
    """
    spec = lease.get("spec", {})
    holder = spec.get("holderIdentity") or ""
    if not holder or "renewTime" not in spec:
        return Readiness(ready=False, reason="nobody holds the lease yet")
    age = now - _seconds(spec["renewTime"])
    if age > spec.get("leaseDurationSeconds", 15) + _CLOCK_SKEW:
        return Readiness(ready=False, reason=f"the lease of {holder} was renewed {age:.0f} s ago")
    if grant is None or not grant.used_at:
        return Readiness(ready=False, reason="the task has not asked for its keys yet")
    # Identity is host name, underscore, random: another start on the same host differs in time.
    if holder.rpartition("_")[0].lower() != grant.node:
        return Readiness(ready=False, reason=f"the lease is held by {holder}")
    if _seconds(spec.get("acquireTime", spec["renewTime"])) < grant.used_at - _CLOCK_SKEW:
        return Readiness(ready=False, reason="the lease is still that of an earlier start")
    return Readiness(ready=True)


def judge_standby(
    lease: Mapping[str, Any], others: Collection[Grant], healthy: bool | None, now: float
) -> Readiness:
    """Whether a component that does not lead stands by for one that does.

    Args:
        lease: as the API gives it.
        others: what the other instances were given.
        healthy: what Mesos' health check says of this one; None before it ran.
        now: seconds since 1970.
    """
    leaders = [judge_lease(lease, other, now) for other in others]
    if not any(leader.ready for leader in leaders):
        return next(iter(leaders), Readiness(ready=False, reason="nobody holds the lease yet"))
    if healthy is None:
        return Readiness(ready=False, reason="stands by; its health was not checked yet")
    if not healthy:
        return Readiness(ready=False, reason="stands by, and is not healthy")
    return Readiness(ready=True)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
