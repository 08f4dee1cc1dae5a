"""Text before tokens: tokenizers, lexicon, letter-to-sound rules, normalization, sentences."""
