"""Mesos on the wire: messages, framing, resource arithmetic, detector and framework client.

Nothing outside this package knows how Mesos spells things; `kubedcos.embedded` shares the wire
types and nothing else.
"""
