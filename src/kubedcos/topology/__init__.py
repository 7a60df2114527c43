"""What an inventory means: hosts, regions, overlays, and the addresses that follow from them.

Everything here is a pure function over frozen data: no file, no network, no clock.
"""
