"""Harness of the benchmarks: contestants, timing in turns, power laws, records.

Reference work stands in where there is no peer.
"""
