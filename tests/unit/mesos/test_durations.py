"""When masters know that an agent is lost, by their flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from kubedcos.mesos.durations import agent_lost_seconds


@pytest.mark.parametrize(
    ("flags", "seconds"),
    [
        ([], 120),
        ([{"agent_ping_timeout": "5secs", "max_agent_ping_timeouts": 3}], 50),
        ([{"agent_ping_timeout": "1mins"}, {"agent_ping_timeout": "30secs"}], 210),
        ([{"max_agent_ping_timeouts": 3}, ["--agent_ping_timeout=1.5mins", "--no-x"]], 390),
    ],
)
def test_an_agent_is_lost_after_its_pings_and_the_one_before_them(
    flags: Sequence[Mapping[str, object] | Sequence[str]], seconds: float
) -> None:
    assert agent_lost_seconds(*flags) == seconds


def test_a_flag_without_a_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="'15' is no duration such as 15secs"):
        agent_lost_seconds({"agent_ping_timeout": "15"})
