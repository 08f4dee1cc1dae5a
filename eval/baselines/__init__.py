"""Other tokenizers and codecs to compare with."""
