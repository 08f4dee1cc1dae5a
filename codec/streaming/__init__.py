"""Recordings of any length by overlapping windows, and decoding while codes arrive."""
