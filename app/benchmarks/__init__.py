"""Benchmarks; each runs its peer in the same process, interleaved, and reports the ratio."""
