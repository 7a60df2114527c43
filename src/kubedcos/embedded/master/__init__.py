"""The embedded Mesos master: `python -m kubedcos.embedded.master`."""
