"""One wheel, once: unpacked, verified, compiled, described, and kept in the store."""
