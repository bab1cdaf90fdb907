"""Runs on the target's own Python (3.7 and later): the standard library only."""
