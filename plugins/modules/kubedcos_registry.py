"""Ansible module: hold images in a registry, pushed from OCI archives on the same host."""

from __future__ import annotations

import hashlib
import json
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = r"""
module: kubedcos_registry
short_description: Hold images in a registry
description:
  - Pushes images from archives in OCI layout (as C(kubedcos artifacts) writes them) into a registry
    that speaks the distribution API. What the registry has already is not sent again.
  - The name in the registry is the reference without its registry host, so that a mirror answers
    under the images' own names.
options:
  url:
    description: Base URL of the registry.
    type: str
    required: true
  images:
    description: The images.
    type: list
    elements: dict
    required: true
    suboptions:
      reference:
        description: Full reference with tag, such as C(registry.k8s.io/pause:3.10.1).
        type: str
        required: true
      archive:
        description: Path of the archive on this host.
        type: path
        required: true
      digest:
        description: Digest of the image's manifest (C(sha256:...)).
        type: str
        required: true
  timeout:
    description: Seconds without any data after which a request is given up.
    type: int
    default: 60
attributes:
  check_mode:
    support: full
    description: Says what would be pushed.
author:
  - The kubedcos authors
"""

EXAMPLES = r"""
- name: Hold the pause image
  kubedcos_registry:
    url: http://127.0.0.1:5000
    images:
      - reference: registry.k8s.io/pause:3.10.1
        archive: /srv/kubedcos/artifacts/sha256/7f3c.../pause.tar
        digest: sha256:1d0a...
"""

RETURN = r"""
pushed:
  description: References that were (in check mode, would be) pushed.
  type: list
  returned: always
"""

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)


class PushError(Exception):
    """What went wrong, in words for the operator."""


def repository_and_tag(reference):
    """Name in the registry and tag of a reference; `pause:3` is Docker's `library/pause:3`.

    Raises:
        PushError: the reference has no tag.
    """
    first, slash, rest = reference.partition("/")
    host = slash and ("." in first or ":" in first or first == "localhost")
    path = rest if host else reference
    if "/" not in path and (not host or first == "docker.io"):
        path = f"library/{path}"
    name, colon, tag = path.rpartition(":")
    if not colon or "@" in reference:
        raise PushError(f"{reference}: wanted a reference with a tag, such as example.org/web:1")
    return name, tag


class Registry:
    """The few calls of the distribution API that a push needs."""

    def __init__(self, url, timeout):
        self._url = url.rstrip("/")
        self._timeout = timeout
        # The site's own registry: a proxy for the internet would not reach it.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _call(self, method, url, data=None, headers=None):
        request = urllib.request.Request(  # noqa: S310  the operator's own URL
            url, data=data, headers=headers or {}, method=method
        )
        return self._opener.open(request, timeout=self._timeout)

    def digest_of(self, name, tag):
        """Digest behind a tag; empty when there is none."""
        accept = {"Accept": ", ".join(MANIFEST_TYPES)}
        try:
            with self._call(
                "HEAD", f"{self._url}/v2/{name}/manifests/{tag}", None, accept
            ) as reply:
                return reply.headers.get("Docker-Content-Digest", "")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return ""
            raise

    def has_blob(self, name, digest):
        """Whether the repository has the blob."""
        try:
            with self._call("HEAD", f"{self._url}/v2/{name}/blobs/{digest}"):
                return True
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return False
            raise

    def put_blob(self, name, digest, size, stream):
        """Upload one blob in one piece."""
        with self._call("POST", f"{self._url}/v2/{name}/blobs/uploads/", b"") as reply:
            location = urllib.parse.urljoin(f"{self._url}/", reply.headers["Location"])
        separator = "&" if "?" in location else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        url = f"{location}{separator}digest={urllib.parse.quote(digest)}"
        self._call("PUT", url, stream, headers).close()

    def put_manifest(self, name, tag, media_type, content):
        """Publish a manifest under a tag."""
        headers = {"Content-Type": media_type}
        self._call("PUT", f"{self._url}/v2/{name}/manifests/{tag}", content, headers).close()


def push(registry, name, tag, image):
    """Send what the registry lacks of one image.

    Raises:
        PushError: the archive is not what it should be.
    """
    try:
        with tarfile.open(image["archive"]) as archive:
            manifest = _blob(archive, image["digest"]).read()
            seen = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
            if seen != image["digest"]:
                raise PushError(
                    f"{image['archive']}: manifest has {seen}; wanted {image['digest']}"
                )
            document = json.loads(manifest)
            for part in [document["config"], *document["layers"]]:
                if not registry.has_blob(name, part["digest"]):
                    content = _blob(archive, part["digest"])
                    registry.put_blob(name, part["digest"], part["size"], content)
            registry.put_manifest(name, tag, document["mediaType"], manifest)
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        if isinstance(error, urllib.error.URLError):
            raise
        raise PushError(
            f"{image['archive']}: {error}; wanted an archive in OCI layout that holds "
            f"{image['digest']}"
        ) from error


def _blob(archive, digest):
    return archive.extractfile("blobs/sha256/" + digest.removeprefix("sha256:"))


def run(module):
    """Push what is missing; returns the result for Ansible."""
    registry = Registry(module.params["url"], module.params["timeout"])
    pushed = []
    for image in module.params["images"]:
        name, tag = repository_and_tag(image["reference"])
        try:
            if registry.digest_of(name, tag) == image["digest"]:
                continue
            pushed.append(image["reference"])
            if not module.check_mode:
                push(registry, name, tag, image)
        except urllib.error.URLError as error:
            if module.check_mode and not isinstance(error, urllib.error.HTTPError):
                pushed.append(image["reference"])  # a registry that is not there yet holds nothing
                continue
            raise PushError(
                f"{image['reference']}: registry {module.params['url']} answered: {error}"
            ) from error
    return {"changed": bool(pushed), "pushed": pushed}


def main():
    """Entry point for Ansible."""
    image = {
        "reference": {"type": "str", "required": True},
        "archive": {"type": "path", "required": True},
        "digest": {"type": "str", "required": True},
    }
    module = AnsibleModule(
        argument_spec={
            "url": {"type": "str", "required": True},
            "images": {"type": "list", "elements": "dict", "required": True, "options": image},
            "timeout": {"type": "int", "default": 60},
        },
        supports_check_mode=True,
    )
    missing = [i["archive"] for i in module.params["images"] if not Path(i["archive"]).is_file()]
    if missing and not module.check_mode:
        module.fail_json(msg=f"no such archive: {', '.join(missing)}")
    try:
        module.exit_json(**run(module))
    except PushError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
