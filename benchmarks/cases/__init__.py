"""Benchmarks and cost curves, one subject a file, and the registry of all."""
