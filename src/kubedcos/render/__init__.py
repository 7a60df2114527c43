"""Strict rendering of the shared templates, for the package and for the Ansible filters."""

from kubedcos.render.templates import Templates, render

__all__ = ["Templates", "render"]
