"""The process that stands beside a command task, or beside groups of tasks, from start to end.

It outlives the agent, so it uses the standard library only and keeps below 15 MB: there is one of
them for every command task and every pod on the machine. The agent talks to it through a Unix
socket; what happened to the tasks is in a journal that both can find again.
"""
