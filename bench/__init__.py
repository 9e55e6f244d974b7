"""Benchmarks: what `make bench` runs. Nothing here is a test."""
