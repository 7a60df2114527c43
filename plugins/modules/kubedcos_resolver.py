"""Ansible module: point a host's resolver at a server of ours, with a way back."""

from __future__ import annotations

import errno
import json
import os
import socket
import struct
import tempfile
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kubedcos_resolver
short_description: Read, replace or restore /etc/resolv.conf
description:
  - V(read) tells which name servers the host had before us. V(present) keeps a copy of what was
    there, waits until the new server answers, and only then replaces it. V(absent) puts the copy
    back.
  - Text that is not ours and appears later, from a DHCP client say, becomes the new copy.
options:
  state:
    description: What to do.
    type: str
    choices: [read, present, absent]
    default: present
  content:
    description: Text for V(present); its first line must be the mark.
    type: str
    default: ""
  servers:
    description: Addresses that must answer by UDP and TCP before the change.
    type: list
    elements: str
    default: []
  path:
    description: The resolver's configuration.
    type: path
    default: /etc/resolv.conf
  saved:
    description: Where the copy is kept.
    type: path
    default: /var/lib/kubedcos/resolv.conf.saved.json
  timeout:
    description: Seconds to wait for the servers.
    type: int
    default: 30
attributes:
  check_mode:
    support: full
    description: Says what would change.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Learn the resolvers of before
  kubedcos_resolver:
    state: read
  register: __dns_before
"""

RETURN = r"""
nameservers:
  description: Name servers of before us, without local stubs.
  type: list
  returned: always
search:
  description: Search domains of before us.
  type: list
  returned: always
text:
  description: What O(path) held when the module began; empty for a link, whatever it points at.
  type: str
  returned: always
"""

MARK = "# Managed by kubedcos (role dns)"
# systemd-resolved shows its stub in resolv.conf and the real servers here.
RESOLVED = Path("/run/systemd/resolve/resolv.conf")


class ResolverError(Exception):
    """What stands in the way, in words for the operator."""


def current(path):
    """What is at the path: a link with its target, a file with its text, or nothing."""
    if path.is_symlink():
        text = path.read_text() if path.exists() else ""
        return {"link": str(path.readlink()), "text": text}
    if path.exists():
        return {"link": "", "text": path.read_text()}
    return None


def is_ours(found):
    """Whether the text carries our mark."""
    return found is not None and found["text"].startswith(MARK)


def before_us(path, saved):
    """What is or was there that is not ours; None when nothing is known."""
    found = current(path)
    if found is not None and not is_ours(found):
        return found
    try:
        return json.loads(saved.read_text())
    except FileNotFoundError:
        return None


def parse(text):
    """Name servers and search domains of a resolv.conf."""
    servers, search = [], []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver" and words[1] not in servers:
            servers.append(words[1])
        elif len(words) > 1 and words[0] in ("search", "domain"):
            search = [word for word in words[1:] if word != "."]
    return servers, search


def upstreams(found):
    """Name servers that answer for the rest of the world, and search domains."""
    servers, search = parse(found["text"]) if found else ([], [])
    real = [server for server in servers if not server.startswith("127.") and server != "::1"]
    if not real and RESOLVED.exists():
        real = [s for s in parse(RESOLVED.read_text())[0] if not s.startswith("127.")]
    return real, search


def query():
    """A question for localhost, which our server answers without asking others."""
    header = struct.pack(">HHHHHH", os.getpid() & 0xFFFF, 0x0100, 1, 0, 0, 0)
    return header + b"\x09localhost\x00" + struct.pack(">HH", 1, 1)


def answers(server, seconds):
    """Whether the server answers by UDP and by TCP."""
    question = query()
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.settimeout(seconds)
            udp.connect((server, 53))
            udp.send(question)
            if udp.recv(4096)[:2] != question[:2]:
                return False
        with socket.create_connection((server, 53), timeout=seconds) as tcp:
            tcp.sendall(struct.pack(">H", len(question)) + question)
            return tcp.recv(4096)[2:4] == question[:2]
    except OSError:
        return False


def wait_for(servers, timeout):
    """Wait until all servers answer; ResolverError when the time is up."""
    deadline = time.monotonic() + timeout
    for server in servers:
        while not answers(server, 1):
            if time.monotonic() > deadline:
                raise ResolverError(
                    f"{server} does not answer DNS queries after {timeout} s; wanted an answer by "
                    "UDP and TCP. The host keeps its resolver."
                )
            time.sleep(0.2)


def replace(path, text):
    """Write by rename; in place where the file is a mount point of its own."""
    descriptor, name = tempfile.mkstemp(prefix=".resolv.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w") as sink:
            sink.write(text)
        fresh.chmod(0o644)
        fresh.rename(path)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        path.write_text(text)
    finally:
        fresh.unlink(missing_ok=True)


def save(path, found):
    """Keep what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found, indent=1))


def restore(path, found):
    """Put back what was there."""
    if found["link"]:
        path.unlink(missing_ok=True)
        path.symlink_to(found["link"])
    else:
        replace(path, found["text"])


def run(module):
    """Do it; returns the result for Ansible."""
    state = module.params["state"]
    path, saved = Path(module.params["path"]), Path(module.params["saved"])
    before = before_us(path, saved)
    servers, search = upstreams(before)
    found = current(path)
    text = found["text"] if found and not found["link"] else ""
    result = {"changed": False, "nameservers": servers, "search": search, "text": text}
    if state == "present":
        text = module.params["content"]
        if not text.startswith(MARK):
            raise ResolverError(f"content begins with {text[:40]!r}; wanted {MARK!r}")
        if found == {"link": "", "text": text}:
            return result
        result["changed"] = True
        result["diff"] = {"before": found["text"] if found else "", "after": text}
        if not module.check_mode:
            wait_for(module.params["servers"], module.params["timeout"])
            if found is not None and not is_ours(found):
                save(saved, found)
            if found and found["link"]:
                path.unlink()
            replace(path, text)
    elif state == "absent" and is_ours(found):
        if before is None:
            raise ResolverError(f"{saved} is missing; wanted the copy to put back at {path}")
        result["changed"] = True
        result["diff"] = {"before": found["text"], "after": before["text"]}
        if not module.check_mode:
            restore(path, before)
            saved.unlink(missing_ok=True)
    return result


def main():
    """Entry point for Ansible."""
    module = AnsibleModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["read", "present", "absent"],
                "default": "present",
            },
            "content": {"type": "str", "default": ""},
            "servers": {"type": "list", "elements": "str", "default": []},
            "path": {"type": "path", "default": "/etc/resolv.conf"},
            "saved": {"type": "path", "default": "/var/lib/kubedcos/resolv.conf.saved.json"},
            "timeout": {"type": "int", "default": 30},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module))
    except (ResolverError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
