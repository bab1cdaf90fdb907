"""Versions that hold, where a failure is one of versions: `create --mend`, and remedies that name them."""
