"""Hosts for one machine: podman containers that Ansible reaches by SSH like any other machine."""
