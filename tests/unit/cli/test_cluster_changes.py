"""How a change is shown to people."""

from __future__ import annotations

from typing import Any

from kubedcos.cli.cluster_changes import page


def planned(**more: Any) -> dict[str, Any]:
    return {
        "changed": True,
        "configuration": 2,
        "changes": [
            {
                "option": "node.mem_mb",
                "old": 1024,
                "new": 2048,
                "changeable": "free",
                "restarts": ["kube-node/kubelet"],
            }
        ],
        "steps": [
            {"doing": "restart", "pod_instance": "kube-node-0", "tasks": ["kubelet"]},
            {"doing": "remove", "pod_instance": "kube-node-4", "tasks": ["kubelet", "coredns"]},
        ],
        **more,
    }


def test_options_are_shown_with_both_values_and_what_restarts() -> None:
    text = page(planned())
    assert "node.mem_mb   1024 -> 2048   free         kube-node/kubelet" in text
    assert "restart    kube-node-0: kubelet" in text
    assert "remove     kube-node-4: kubelet, coredns" in text


def test_a_change_without_steps_says_so() -> None:
    assert page(planned(steps=[])).endswith("No step has to run.")


def test_long_lists_of_steps_are_cut_with_their_number() -> None:
    step = {"doing": "restart", "pod_instance": "kube-node-0", "tasks": ["kubelet"]}
    assert page(planned(steps=[step] * 25)).endswith("and 5 more")


def test_no_change_names_the_configuration() -> None:
    assert page(planned(changed=False)) == "nothing to change: it is configuration 2"
