"""Benchmarks: every `bench_*.py` here has `run() -> list[Figure]`; `make bench` runs them all."""
