"""The benchmark: `scripts/bench` is its entry, docs/benchmark.md says what it does. Standard library only."""
