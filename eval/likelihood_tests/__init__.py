"""Pairs of recordings of which a language model should find one likelier.

`published` reads known tests, `build` makes pairs of any recordings, `judge` computes accuracies.
"""
