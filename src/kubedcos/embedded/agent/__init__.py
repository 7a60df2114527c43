"""The embedded Mesos agent: `python -m kubedcos.embedded.agent` with Mesos' own flags."""
