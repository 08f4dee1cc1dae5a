"""Measuring: timing, memory, records, the machine, work to compare with."""
