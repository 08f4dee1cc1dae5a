"""Pairs of recordings of which a language model should prefer one."""
