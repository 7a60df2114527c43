"""Mesos' fetcher: brings a command's URIs into its sandbox, through a cache of the agent."""
