"""Statistics of code sequences: codebook use, n-grams, likelihood, diversity.

They take arrays and counts, and know neither codecs nor language models.
"""
