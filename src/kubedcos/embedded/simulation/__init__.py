"""Agents without machines: they speak to the embedded master's own code, and tasks are timers.

A cluster of thousands in one process (`kubedcos lab simulate`), or a small one in virtual time for
tests: whatever event loop runs it decides what a second is.
"""
