"""Options of clusters in an inventory: completed from it, and held against it."""

from __future__ import annotations

from typing import Any

from kubedcos.topology.clusters import complete, form_problems, overlay_problems

OVERLAYS = [
    {"name": "kubernetes", "subnet": "10.1.0.0/16", "prefix": 24, "vtep_subnet": "10.3.0.0/24"},
    {"name": "apps", "subnet": "10.2.0.0/16", "prefix": 25, "vtep_subnet": "10.3.1.0/24"},
]


def completed(options: dict[str, Any]) -> Any:
    found = complete(
        [options],
        overlays=OVERLAYS,
        host_networks={"dc-a": "10.9.0.0/24"},
        service_networks={"kubernetes": "10.96.0.0/16"},
        artifact_url="http://b:8080",
    )
    assert isinstance(found, list)
    return found[0]


def test_networks_follow_from_the_inventory() -> None:
    assert completed({"name": "kubernetes"}) == {
        "name": "kubernetes",
        "network": {
            "other_cidrs": {
                "vtep-kubernetes": "10.3.0.0/24",
                "vtep-apps": "10.3.1.0/24",
                "overlay-apps": "10.2.0.0/16",
                "hosts-dc-a": "10.9.0.0/24",
            },
            "pod_cidr": "10.1.0.0/16",
            "node_prefix": 24,
            "service_cidr": "10.96.0.0/16",
        },
        "artifacts": {"url": "http://b:8080"},
    }


def test_what_a_cluster_says_itself_stands_above() -> None:
    found = completed({"name": "k", "network": {"overlay": "apps", "service_cidr": "10.97.0.0/16"}})
    assert found["network"]["pod_cidr"] == "10.2.0.0/16"
    assert found["network"]["service_cidr"] == "10.97.0.0/16"
    assert completed({"network": "big"})["network"] == "big"


def test_what_is_no_list_of_mappings_stays_and_is_named() -> None:
    for given in ("kubernetes", ["kubernetes"], 7):
        assert complete(given) == given
        (problem,) = form_problems(given)
        assert problem.id == "clusters-invalid"
        assert form_problems(None) == []


def test_two_clusters_of_one_name() -> None:
    (problem,) = form_problems([{"name": "k"}, {"name": "j"}, {"name": "k"}])
    assert (problem.where, problem.id) == ("cluster k", "cluster-name-duplicate")


def test_an_overlay_that_is_not_there() -> None:
    (problem,) = overlay_problems("cluster k", {"overlay": "podz"}, OVERLAYS)
    assert (problem.seen, problem.wanted) == ("'podz'", "one of kubernetes, apps")
    (problem,) = overlay_problems("cluster k", None, [])
    assert problem.id == "cluster-overlay-unknown"


def test_a_network_of_pods_that_is_not_the_overlays() -> None:
    (problem,) = overlay_problems("cluster k", {"pod_cidr": "10.7.0.0/16"}, OVERLAYS)
    assert problem.id == "cluster-pod-network"
    assert problem.wanted.startswith("10.1.0.0/16")
    assert overlay_problems("cluster k", {"pod_cidr": "10.1.0.0/16"}, OVERLAYS) == []
