"""Parts of `recipes.comparisons.adapt`: tokenizers on the same speech for one small language model.

Their settings, the codec trained for each, the language model, and what it speaks.
"""
