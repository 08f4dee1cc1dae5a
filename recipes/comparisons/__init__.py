"""Comparisons on the same clips: ablations, classical coders, tokenizers, likelihood tests.

Each is a command of its own, with its table beside it.
"""
