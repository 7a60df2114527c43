"""`config.json` of Mesos-DNS, as the role writes it, read by its consumer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from kubedcos.embedded.mesos_dns import config
from kubedcos.render import render

Golden = Callable[[str, str], None]

VALUES: dict[str, Any] = {
    "zk": "zk://10.89.1.10:2181/mesos",
    "masters": [],
    "domain": "mesos",
    "listener": "0.0.0.0",
    "port": 61053,
    "http_listener": "0.0.0.0",
    "http_port": 8123,
    "refresh_seconds": 2,
    "ttl": 5,
    "external_on": False,
    "resolvers": [],
    "ip_sources": ["netinfo", "mesos", "host"],
    "credential": {},
    "extra": {},
}


def test_config_of_the_lab(golden: Golden) -> None:
    golden("mesos_dns/config.json", render("mesos_dns/config.json.j2", VALUES))


def test_every_key_reaches_mesos_dns() -> None:
    text = render(
        "mesos_dns/config.json.j2",
        VALUES
        | {
            "domain": "dc.example",
            "masters": ["10.89.1.10:5050"],
            "resolvers": ["9.9.9.9"],
            "external_on": True,
            "credential": {"principal": "dns", "secret": "x"},
            "extra": {"enforceRFC952": True},
        },
    )
    read = config.parse(json.loads(text))
    assert read.zk == "zk://10.89.1.10:2181/mesos"
    assert read.masters == ("10.89.1.10:5050",)
    assert (read.domain, read.soa_mname) == ("dc.example", "ns1.dc.example.")
    assert (read.port, read.http_port, read.refresh_seconds, read.ttl) == (61053, 8123, 2, 5)
    assert read.resolvers == ("9.9.9.9",)
    assert (read.external_on, read.enforce_rfc952) == (True, True)
    assert (read.mesos_authentication, read.mesos_principal) == ("basic", "dns")
    assert read.ip_sources == ("netinfo", "mesos", "host")
