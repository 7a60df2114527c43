"""Frozen data that several layers share; no behaviour that needs the world."""
