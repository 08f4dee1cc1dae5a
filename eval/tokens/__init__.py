"""Statistics of code sequences: codebook use, n-grams, likelihood, diversity."""
