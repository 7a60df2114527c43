"""Ansible module: read a plan of a cluster, or wait until a phase of it is complete."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kubedcos_plan
short_description: Read a plan of a cluster, or wait until a phase of it is complete
description:
  - Asks the framework scheduler. Without O(phase) it says at once which phases are not complete;
    with it, it returns when that phase is. When time runs out it fails with what the scheduler
    itself gives as the reason.
options:
  url:
    description: The scheduler's API; of several addresses separated by commas, the one that leads.
    type: str
    required: true
  ca_pem:
    description: Certificate authority of the API.
    type: str
    required: true
  token:
    description: Token of an operator.
    type: str
    required: true
  cluster:
    description: The cluster.
    type: str
    required: true
  plan:
    description: The plan.
    type: str
    default: deploy
  phase:
    description: The phase to wait for.
    type: str
    default: ""
  timeout:
    description: Seconds to wait.
    type: int
    default: 600
attributes:
  check_mode:
    support: full
    description: Changes nothing anyway.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Wait for etcd
  kubedcos_plan:
    url: "{{ context.url }}"
    ca_pem: "{{ context.ca_pem }}"
    token: "{{ context.token }}"
    cluster: kubernetes
    phase: etcd
"""

RETURN = r"""
status:
  description: Status of the plan.
  type: str
  returned: always
incomplete:
  description: Phases that are not complete, in their order.
  type: list
  returned: always
"""

POLL_SECONDS = 1.0


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nobody elsewhere: the token would go along."""

    def redirect_request(self, *_):
        """Follow none."""


class Refused(Exception):
    """The scheduler that leads says no; asking again would not help."""


def read(opener, params):
    """The plan, as the API of the scheduler that leads shows it.

    Raises:
        Refused: with the scheduler's words.
        OSError, ValueError, HTTPException: none answers now.
    """
    said = OSError("no address")
    for url in params["url"].split(","):
        request = urllib.request.Request(  # noqa: S310  the operator's own URL
            f"{url.strip().rstrip('/')}/v1/clusters/{params['cluster']}/plans/{params['plan']}",
            headers={"Authorization": f"Bearer {params['token']}"},
        )
        try:
            with opener.open(request, timeout=10) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            if error.code in (401, 404, 422):
                raise Refused(refusal(error)) from error
            said = error
        except OSError as error:
            # It stands by, or is away: another one leads.
            said = error
    raise said


def refusal(error):
    """What the scheduler says of a request that it refuses."""
    try:
        return f"{error.code}: {json.load(error)['error']}"
    except (OSError, ValueError, LookupError, TypeError):
        return f"{error.code} {error.reason}"


def reasons(phase):
    """What the steps of a phase wait for, in the scheduler's own words."""
    return "; ".join(
        f"{step['name']} is {step['status']}" + (f": {step['reason']}" if step["reason"] else "")
        for step in phase["steps"]
        if step["status"] != "COMPLETE"
    )


def phase_of(module, plan):
    """The phase that is asked for."""
    wanted = module.params["phase"]
    for phase in plan["phases"]:
        if phase["name"] == wanted:
            return phase
    names = ", ".join(phase["name"] for phase in plan["phases"])
    return module.fail_json(msg=f"plan {plan['name']} has no phase {wanted}; wanted one of {names}")


def answer(plan):
    """What the module returns."""
    incomplete = [phase["name"] for phase in plan["phases"] if phase["status"] != "COMPLETE"]
    return {"changed": False, "status": plan["status"], "incomplete": incomplete}


def run(module):
    """Ask until it is complete or time is over."""
    try:
        context = ssl.create_default_context(cadata=module.params["ca_pem"])
    except ssl.SSLError as error:
        module.fail_json(msg=f"ca_pem: found {error}; wanted a certificate in PEM")
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=context),
        NoRedirect(),
    )
    deadline = time.monotonic() + module.params["timeout"]
    said = "nothing yet"
    while True:
        try:
            plan = read(opener, module.params)
            phase = phase_of(module, plan) if module.params["phase"] else None
            if phase is None or phase["status"] == "COMPLETE":
                module.exit_json(**answer(plan))
            said = reasons(phase) or f"it is {phase['status']}"
        except Refused as error:
            module.fail_json(msg=f"the scheduler refuses: {error}")
        except (OSError, ValueError, http.client.HTTPException) as error:
            # The scheduler may be restarting; it continues where it was.
            said = f"the scheduler does not answer: {error}"
        if time.monotonic() >= deadline:
            what = f"phase {module.params['phase']}" if module.params["phase"] else "plan"
            module.fail_json(
                msg=f"{what} of {module.params['cluster']} was not complete after "
                f"{module.params['timeout']} s: {said}"
            )
        time.sleep(POLL_SECONDS)


def main():
    """Entry point for Ansible."""
    run(
        AnsibleModule(
            argument_spec={
                "url": {"type": "str", "required": True},
                "ca_pem": {"type": "str", "required": True},
                "token": {"type": "str", "required": True, "no_log": True},
                "cluster": {"type": "str", "required": True},
                "plan": {"type": "str", "default": "deploy"},
                "phase": {"type": "str", "default": ""},
                "timeout": {"type": "int", "default": 600},
            },
            supports_check_mode=True,
        )
    )


if __name__ == "__main__":
    main()
