"""Lossless compression of codes by a language model: probabilities, arithmetic coding, files."""
