"""Compares two bundles or locks, and writes the result as text, Markdown and JSON."""
