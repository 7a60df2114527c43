"""kubedcos: one Mesos cluster out of machines in several data centres, and Kubernetes on it."""

__version__ = "0.1.0"
