"""The process that stands beside one command task, from its start to its end.

It outlives the agent, so it uses the standard library only and keeps below 15 MB: there is one of
them for every task on the machine. The agent talks to it through a Unix socket; what happened to
the task is in a journal that both can find again.
"""
