"""Checks over a tree: facts in, findings out, a file a family."""
