"""Other tokenizers and codecs to compare with: k-means, neural and classical ones.

`token_streams` makes a stream of tokens of several codebooks, and a codec of a tokenizer.
"""
