"""Two bundles or locks, compared."""
