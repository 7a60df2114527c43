"""A Mesos master, agent and Mesos-DNS for machines where the real ones are not installed.

They speak Mesos' HTTP API v1 and take Mesos' flags, for one machine or a lab. What they do not
support they refuse with an error that says so.
"""
