"""Many bundles, nightly: what is to be made, whether anything changed, and how it takes its place."""
